"""The end of archive copies whose `keep` is over: under the same fence and the same holds as any deletion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from retention.archive.write import discard
from retention.disposition.archived import expected
from retention.disposition.held import read_holds, refuse_unconfirmed
from retention.disposition.held_copies import covering
from retention.disposition.owner import take_over
from retention.failpoint import failpoint
from retention.ledger import batches, runs
from retention.ledger.batches import Batch
from retention.ledger.runs import Run, RunKind, RunState
from retention.policy.calendar import local_day

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class DestructionPlan:
    """What of one archive is past its time: ``due`` goes, ``held`` is covered by a hold and stays."""

    archive: str
    due: tuple[Batch, ...]
    held: tuple[Batch, ...]
    #: a destruction that was interrupted and is finished first
    started: Run | None

    @property
    def rows(self) -> int:
        """Records in ``due``."""
        return sum(batch.rows for batch in self.due)


@dataclass(frozen=True, kw_only=True)
class Destroyed:
    """What a destruction run did."""

    run: str
    archive: str
    destroyed: int
    held: int

    def to_json(self) -> dict[str, object]:
        """The fields as `archive destroy --json` prints them."""
        return asdict(self)


def plan_destruction(engine: Engine, names: tuple[str, ...]) -> list[DestructionPlan]:
    """What of the named archives would be destroyed today (local day of the project's zone). Changes nothing."""
    today = local_day(engine.now(), engine.project.config.timezone)
    holds = read_holds(engine)
    plans = []
    for name in names:
        store = engine.store(name)
        with engine.control.read() as connection:
            past = batches.due_for_destruction(connection, name, today)
            started = runs.unfinished(connection, name, kind=RunKind.DESTRUCTION)
        held = tuple(batch for batch in past if covering(engine, store, batch, holds))
        plans.append(
            DestructionPlan(
                archive=name,
                due=tuple(batch for batch in past if batch not in held),
                held=held,
                started=started[0] if started else None,
            )
        )
    return plans


def destroy(engine: Engine, plan: DestructionPlan) -> Destroyed:
    """Destroy what is due and still not held when its turn comes. Interrupted, the next destruction finishes it.

    The manifest goes first: a batch without its manifest was decided on under the fence, and only its rest is removed.
    """
    run = plan.started or _begin(engine, plan)
    if not take_over(engine, run):
        raise runs.taken(run.id)
    done = held = 0
    with engine.control.read() as connection:
        promised = [batches.get(connection, str(batch_id)) for batch_id in (run.plan or {})["batches"]]
    for batch in promised:
        if batch.destroyed_at is not None:
            continue
        if _destroy_batch(engine, run, batch):
            done += 1
        else:
            held += 1
    result = Destroyed(run=run.id, archive=plan.archive, destroyed=done, held=held + len(plan.held))
    with engine.control.write() as connection:
        runs.move(
            connection,
            run.id,
            RunState.FINISHED,
            reason="everything due was done",
            at=engine.now(),
            result=result.to_json(),
        )
    return result


def _begin(engine: Engine, plan: DestructionPlan) -> Run:
    now = engine.now()
    with engine.control.write() as connection:
        run = runs.create(
            connection,
            kind=RunKind.DESTRUCTION,
            policy=plan.archive,
            policy_digest=engine.project.policies.digest,
            set_digest=engine.project.policies.digest,
            records="*",
            as_of=now,
            requested_by=engine.person,
            plan={"batches": [batch.id for batch in plan.due], "held": [batch.id for batch in plan.held]},
            at=now,
        )
        return runs.move(connection, run.id, RunState.RUNNING, reason="started", at=now)


def _destroy_batch(engine: Engine, run: Run, batch: Batch) -> bool:
    """Destroy one batch's files, or leave them because a hold covers them by now."""
    assert batch.archive is not None and batch.manifest is not None
    store = engine.store(batch.archive)
    source = batch.records.partition(".")[0]
    session = engine.source(source).session()
    try:
        # The class's fence, as for a deletion in the source: a hold that returns while this goes on has waited for it,
        # and one that returned before it is read here.
        session.begin(write=True)
        session.share_fence([batch.records])
        failpoint("destroy.after-fence")
        if store.exists(batch.manifest):
            holds = read_holds(engine)
            refuse_unconfirmed(holds, source)
            if covering(engine, store, batch, holds):
                return False
            store.remove(batch.manifest)
            failpoint("destroy.after-manifest")
        with engine.control.read() as connection:
            paths = [file.path for file in expected(connection, batch).files]
        discard(store, paths)
        failpoint("destroy.after-files")
        with engine.control.write() as connection:
            batches.destroyed(connection, batch.id, run.id, engine.now())
        return True
    finally:
        session.close()
