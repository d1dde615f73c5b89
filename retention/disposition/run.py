"""A run of one policy: planned, checked against its limits, approved where the policy asks for it, done, reported."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.disposition.execute import execute
from retention.disposition.held import read_holds, refuse_damaged
from retention.disposition.job import Disposed, Job
from retention.disposition.owner import take_over
from retention.disposition.plan import PolicyPlan, make_plan
from retention.errors import InDoubt, InputError, Refused, RetentionError
from retention.ledger import batches, chain, runs
from retention.ledger.owner import this_process
from retention.ledger.runs import Run, RunKind, RunState

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
    #: of this process's part of the run
    seconds: float
    reason: str | None = None

    def to_json(self) -> dict[str, object]:
        """The fields as `run --json` prints them."""
        return asdict(self)


def check_as_of(engine: Engine, as_of: datetime) -> None:
    """Raise InputError for a run that would judge by a day that has not come: it would delete earlier than the law."""
    if as_of > engine.now() + timedelta(seconds=1):
        local = as_of.astimezone(engine.project.config.timezone)
        raise InputError(
            f"a run cannot be as of {local.isoformat()}: that lies in the future, so records would go too early",
            hint="`retention plan --as-of` shows what a later run will do",
        )


def begin(engine: Engine, policy: Policy, plan: PolicyPlan, as_of: datetime) -> Run:
    """Write the run down with its plan. It is then running, waiting for approval, or refused because of its limits.

    It takes the place of a plan that still waits for approval. Raises Refused where another run of the policy is not over.
    """
    now = engine.now()
    with engine.control.write() as connection:
        for other in runs.unfinished(connection, policy.name):
            if other.state is not RunState.AWAITING_APPROVAL:
                raise Refused(
                    f"run {other.id} of {policy.name} was begun meanwhile", hint="run again when it has ended"
                )
            runs.move(connection, other.id, RunState.CANCELLED, reason="a newer plan took its place", at=now)
        _record_policies(engine, connection, now)
        run = runs.create(
            connection,
            kind=RunKind.DISPOSITION,
            policy=policy.name,
            policy_digest=policy.digest,
            set_digest=engine.project.policies.digest,
            records=policy.records,
            as_of=as_of,
            requested_by=engine.person,
            plan=plan.to_json(),
            at=now,
        )
        exceeded = [use for use in plan.limits if use.exceeded]
        if exceeded:
            reason = "; ".join(
                f"limit {use.name} {use.written} allows {use.limit:,} records, the plan has {use.planned:,}"
                for use in exceeded
            )
            return runs.move(connection, run.id, RunState.REFUSED, reason=reason, at=now)
        if policy.approval:
            return runs.move(
                connection, run.id, RunState.AWAITING_APPROVAL, reason="the policy asks for approval", at=now
            )
        return runs.move(connection, run.id, RunState.RUNNING, reason="started", at=now)


def approve(engine: Engine, run_id: str, *, reason: str) -> Run:
    """Approve the plan of a waiting run; the next `retention run` does it. Raises Refused where it waits for none."""
    if not reason.strip():
        raise InputError("an approval needs a reason", hint="say --reason in words")
    with engine.control.write() as connection:
        run = runs.get(connection, run_id)
        if run.state is not RunState.AWAITING_APPROVAL:
            raise Refused(f"run {run_id} is {run.state.value}; it does not wait for approval")
        return runs.move(
            connection,
            run_id,
            RunState.APPROVED,
            reason=f"{engine.person}: {reason}",
            at=engine.now(),
            by=engine.person,
        )


def unfinished(engine: Engine, policy: Policy) -> Run | None:
    """The run of this policy that began and did not end, if it may go on: the same policies, its process gone.

    One that was planned under other policies, or would by now do more than was approved, is cancelled: what it was shown
    to do is no longer what it would do. Raises Refused while another living process works on it, and InDoubt while one
    of its batches is in doubt.
    """
    with engine.control.read() as connection:
        found = runs.unfinished(connection, policy.name)
    going_on = None
    for run in found:
        if run.state is RunState.AWAITING_APPROVAL:
            continue
        if not take_over(engine, run):
            raise _busy(run)
        with engine.control.write() as connection:
            doubts = batches.in_doubt(connection, run.id)
            if doubts:
                runs.leave(connection, run.id, this_process())
        if doubts:
            raise InDoubt(
                f"batch {doubts[0].id} is in doubt", hint="`retention recover` settles it, or says why it cannot"
            )
        reason = _outdated(engine, run, policy)
        if reason is None:
            going_on = run
            continue
        with engine.control.write() as connection:
            runs.move(connection, run.id, RunState.CANCELLED, reason=reason, at=engine.now(), owner=this_process())
    return going_on


def _outdated(engine: Engine, run: Run, policy: Policy) -> str | None:
    """Why the run may not go on as it was planned; None where it may."""
    if run.set_digest != engine.project.policies.digest:
        return "the policies changed meanwhile"
    if not policy.approval:
        return None
    with engine.control.read() as connection:
        done = batches.committed(connection, run=run.id)
    approved = run.plan or {}
    now = make_plan(engine, [policy], run.as_of).policies[0]
    for what, had, has in (
        ("records", approved["due"], sum(batch.rows for batch in done) + now.due),
        (
            "dependent rows",
            sum(approved["dependents"].values()),
            sum(batch.dependent_rows for batch in done) + sum(now.dependents.values()),
        ),
    ):
        if has > had:
            return f"{had:,} {what} were approved, and it would be {has:,} by now"
    return None


def _busy(run: Run) -> Refused:
    return Refused(
        f"run {run.id} of {run.policy} is being worked on by {run.owner}",
        hint="wait for it to end, or stop that process; then run again",
    )


def perform(engine: Engine, run: Run, *, progress: Callable[[Disposed], None], stop: threading.Event) -> RunResult:
    """Do a run that `begin` made or `unfinished` found, and return what it did. Interrupted, it stays unfinished.

    Whatever fails ends the run as failed, with the reason; the next run goes on with it. Raises that error.
    """
    started = time.monotonic()
    policy = engine.project.policies.get(run.policy)
    if not take_over(engine, run):
        raise _busy(run)
    if run.state is not RunState.RUNNING:
        with engine.control.write() as connection:
            run = runs.move(connection, run.id, RunState.RUNNING, reason="continued", at=engine.now())
    try:
        refuse_damaged(engine)
        execute(_job(engine, run, policy, progress, stop))
    except RetentionError as error:
        with engine.control.write() as connection:
            # as its owner: a run that another process took over meanwhile is not ours to end
            runs.move(connection, run.id, RunState.FAILED, reason=error.message, at=engine.now(), owner=this_process())
        raise
    seconds = time.monotonic() - started
    held, held_by = (0, {}) if stop.is_set() else _held(engine, run, policy)
    with engine.control.write() as connection:
        if stop.is_set():
            return _result(connection, run, seconds)  # the run stays as it is; the next one goes on with it
        if held:
            body = {"run": run.id, "policy": run.policy, "records": held, "holds": dict(held_by)}
            chain.append(connection, kind="records.held", subject=run.id, body=body, at=engine.now())
        reason = "everything due was done"
        done = replace(_result(connection, run, seconds), held=held, state=RunState.FINISHED.value, reason=reason)
        runs.move(
            connection,
            run.id,
            RunState.FINISHED,
            reason=reason,
            at=engine.now(),
            result=done.to_json(),
            owner=this_process(),
        )
        return done


def _job(engine: Engine, run: Run, policy: Policy, progress: Callable[[Disposed], None], stop: threading.Event) -> Job:
    store = None
    with engine.control.read() as connection:
        first = batches.last_number(connection, run.id) + 1
        archived = policy.archive is not None and batches.any_archived(connection, policy.archive.to)
    if policy.archive is not None:
        store = engine.store(policy.archive.to)
        store.ensure(expected=archived)
    return Job(
        engine=engine,
        run=run,
        owner=this_process(),
        policy=policy,
        policies=engine.project.policies,
        bound=engine.checked(policy.records),
        as_of=run.as_of,
        store=store,
        progress=progress,
        stop=stop,
        numbers=itertools.count(first),
    )


def _result(connection: Connection, run: Run, seconds: float) -> RunResult:
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


def _held(engine: Engine, run: Run, policy: Policy) -> tuple[int, Mapping[str, int]]:
    """The deletions that holds refused, in all and by hold: they are evidence too. Counted anew where a hold was placed
    since the plan was made."""
    plan = run.plan or {}
    if all(hold.placed_at <= run.created_at for hold in read_holds(engine).holds):
        return int(plan["held"]), plan["held_by"]
    now = make_plan(engine, [policy], run.as_of).policies[0]
    return now.held, now.held_by


def _record_policies(engine: Engine, connection: Connection, at: datetime) -> None:
    """Say in the ledger which policies are in force, where they are not those of the last run."""
    policies = engine.project.policies
    last = chain.newest(connection, last=1, kind="policies.changed")
    if last and last[0].facts["set_digest"] == policies.digest:
        return
    body = {
        "set_digest": policies.digest,
        "by": engine.person,
        "policies": {policy.name: policy.digest for policy in policies.policies},
        "periods": {policy.name: str(policy.retain.period) for policy in policies.policies},
    }
    chain.append(connection, kind="policies.changed", subject="policies", body=body, at=at)
