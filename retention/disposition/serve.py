"""Working on one shard of a run, and ending the run with its last one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from retention.disposition.claim import given_up_reason
from retention.disposition.execute import execute
from retention.disposition.held import read_holds, refuse_damaged
from retention.disposition.job import Disposed, Job
from retention.disposition.litter import remove_litter
from retention.disposition.plan import make_plan
from retention.disposition.windows import Windows
from retention.ledger import batches, chain, observations, runs, shards
from retention.ledger.observations import Observation
from retention.ledger.runs import Run, RunState
from retention.ledger.shards import Lease, ShardState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine
    from retention.policy.policy import Policy


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run has done so far, from its committed batches; ``state`` is finished unless it was interrupted."""

    run: str
    policy: str
    records: str
    state: str
    as_of: str
    planned: int
    deleted: int
    dependent_rows: int
    batches: int
    held: int
    #: of this process's part of the run; of a scheduled one, from its beginning to its end
    seconds: float
    reason: str | None = None

    def to_json(self) -> dict[str, object]:
        """The fields as `run --json` prints them."""
        return asdict(self)


def serve(
    engine: Engine, run: Run, lease: Lease, *, progress: Callable[[Disposed], None], go_on: Callable[[], bool]
) -> bool:
    """Work on the shard until everything due in it was done (True) or ``go_on`` says no; how far it came is written down.

    Raises RunTaken where the lease was lost, and what binding, archiving and deleting raise; then the shard is where it was
    before, and what was deleted is not met again.
    """
    refuse_damaged(engine)
    windows = Windows(_job(engine, run, lease, progress, go_on))
    try:
        execute(windows.job, windows)
    finally:
        windows.close()
    with engine.control.write() as connection:
        shards.advance(connection, lease, windows.cursor)
    return windows.exhausted


def complete(engine: Engine, run: Run, lease: Lease, seconds: Callable[[], float]) -> RunResult | None:
    """The shard is done; with the last one the run is finished, in the same transaction, and its result returned.

    Whoever dies before that leaves the shard open, and the next one to take it finds nothing to do and comes here. Raises
    RunTaken where the lease was lost.
    """
    held: tuple[int, Mapping[str, int]] | None = None
    while True:
        with engine.control.write() as connection:
            last = not any(
                one.state is ShardState.OPEN and one.number != lease.number for one in shards.of_run(connection, run.id)
            )
            if not last or held is not None:
                shards.done(connection, lease)
                if not last or held is None:
                    return None
                return _end(engine, connection, run, held, seconds())
        # both may take a while: not while everybody else waits to write
        _tidy_up(engine, run)
        held = _held(engine, run)


def _tidy_up(engine: Engine, run: Run) -> None:
    """Remove what killed processes left of the run, and of those that it took the place of: nobody can prepare a batch of a
    run that was cancelled, so what no batch row knows of it is litter too."""
    with engine.control.read() as connection:
        replaced = runs.cancelled_since_one_finished(connection, run.policy)
    for one in (*replaced, run):
        remove_litter(engine, one)


def _end(
    engine: Engine, connection: Connection, run: Run, held: tuple[int, Mapping[str, int]], seconds: float
) -> RunResult:
    """End a run of which no shard is open: finished, or failed where a shard was given up."""
    count, held_by = held
    given_up = [one for one in shards.of_run(connection, run.id) if one.state is ShardState.QUARANTINED]
    if count:
        body = {"run": run.id, "policy": run.policy, "records": count, "holds": dict(held_by)}
        chain.append(connection, kind="records.held", subject=run.id, body=body, at=engine.now())
    state = RunState.FAILED if given_up else RunState.FINISHED
    reason = "everything due was done"
    if given_up:
        reason = given_up_reason(given_up[0])
    else:
        facts = {"records": 0, "held": count, "oldest_expired_at": None}
        observations.record(connection, Observation(kind="debt", target=run.policy, at=engine.now(), facts=facts))
    done = replace(result(connection, run, seconds), held=count, state=state.value, reason=reason)
    runs.move(connection, run.id, state, reason=reason, at=engine.now(), result=done.to_json())
    return done


def result(connection: Connection, run: Run, seconds: float) -> RunResult:
    """What the run has done so far."""
    done = batches.committed(connection, run=run.id)
    current = runs.get(connection, run.id)
    plan = run.plan or {}
    return RunResult(
        run=run.id,
        policy=run.policy,
        records=run.records,
        state=current.state.value,
        as_of=run.as_of.isoformat(),
        planned=int(plan.get("due", 0)),
        deleted=sum(batch.rows for batch in done),
        dependent_rows=sum(batch.dependent_rows for batch in done),
        batches=len(done),
        held=int(plan.get("held", 0)),
        seconds=round(seconds, 3),
        reason=current.reason,
    )


def _job(
    engine: Engine, run: Run, lease: Lease, progress: Callable[[Disposed], None], go_on: Callable[[], bool]
) -> Job:
    policy: Policy = engine.project.policies.get(run.policy)
    store = None
    with engine.control.read() as connection:
        every = shards.of_run(connection, run.id)
        first = batches.next_number(connection, run.id, shard=lease.number, shards=len(every))
        archived = policy.archive is not None and batches.any_archived(connection, policy.archive.to)
    if policy.archive is not None:
        store = engine.store(policy.archive.to)
        store.ensure(expected=archived)
    return Job(
        engine=engine,
        run=run,
        shard=every[lease.number - 1],
        lease=lease,
        policy=policy,
        policies=engine.project.policies,
        bound=engine.deletable(policy.records),
        as_of=run.as_of,
        store=store,
        progress=progress,
        go_on=go_on,
        numbers=itertools.count(first, len(every)),
    )


def _held(engine: Engine, run: Run) -> tuple[int, Mapping[str, int]]:
    """The deletions that holds refused, in all and by hold: they are evidence too. Counted anew where a hold was placed
    since the plan was made."""
    plan = run.plan or {}
    if all(hold.placed_at <= run.created_at for hold in read_holds(engine).holds):
        return int(plan["held"]), plan["held_by"]
    now = make_plan(engine, [engine.project.policies.get(run.policy)], run.as_of).policies[0]
    return now.held, now.held_by
