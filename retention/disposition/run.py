"""A run of one policy: planned, checked against its limits, approved where the policy asks for it, done, reported."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.disposition.execute import execute
from retention.disposition.job import Disposed, Job
from retention.disposition.owner import take_over
from retention.disposition.plan import PolicyPlan
from retention.errors import InputError, Refused, RetentionError
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
        raise InputError(
            f"a run cannot be as of {as_of.isoformat()}: that lies in the future, so records would go too early",
            hint="`retention plan --as-of` shows what a later run will do",
        )


def begin(engine: Engine, policy: Policy, plan: PolicyPlan, as_of: datetime) -> Run:
    """Write the run down with its plan. It is then running, waiting for approval, or refused because of its limits."""
    now = engine.now()
    with engine.control.write() as connection:
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
        return runs.move(connection, run_id, RunState.APPROVED, reason=f"{engine.person}: {reason}", at=engine.now())


def unfinished(engine: Engine, policy: Policy) -> Run | None:
    """The run of this policy that began and did not end, if it may go on: the same policies, its process gone.

    One that was planned under other policies is cancelled: what it was shown to do is no longer what it would do.
    Raises Refused while another living process works on it.
    """
    with engine.control.read() as connection:
        found = runs.unfinished(connection, policy.name)
    going_on = None
    for run in found:
        if not take_over(engine, run):
            raise Refused(
                f"run {run.id} of {policy.name} is being worked on by {run.owner}",
                hint="wait for it to end, or stop that process; then run again",
            )
        if run.set_digest != engine.project.policies.digest:
            with engine.control.write() as connection:
                runs.move(
                    connection, run.id, RunState.CANCELLED, reason="the policies changed meanwhile", at=engine.now()
                )
        elif run.state is not RunState.AWAITING_APPROVAL:
            going_on = run
    return going_on


def perform(engine: Engine, run: Run, *, progress: Callable[[Disposed], None], stop: threading.Event) -> RunResult:
    """Do a run that `begin` made or `unfinished` found, and return what it did. Interrupted, it stays unfinished.

    Whatever fails ends the run as failed, with the reason; the next run goes on with it. Raises that error.
    """
    started = time.monotonic()
    policy = engine.project.policies.get(run.policy)
    if not take_over(engine, run):
        raise Refused(
            f"run {run.id} is being worked on by {run.owner}", hint="wait for it to end, or stop that process"
        )
    if run.state is not RunState.RUNNING:
        with engine.control.write() as connection:
            run = runs.move(connection, run.id, RunState.RUNNING, reason="continued", at=engine.now())
    try:
        execute(_job(engine, run, policy, progress, stop))
    except RetentionError as error:
        with engine.control.write() as connection:
            runs.move(connection, run.id, RunState.FAILED, reason=error.message, at=engine.now())
        raise
    seconds = time.monotonic() - started
    with engine.control.write() as connection:
        if stop.is_set():
            return _result(connection, run, seconds)  # the run stays as it is; the next one goes on with it
        _record_held(connection, run, engine.now())
        runs.move(
            connection,
            run.id,
            RunState.FINISHED,
            reason="everything due was done",
            at=engine.now(),
            result=_result(connection, run, seconds).to_json(),
        )
        return _result(connection, run, seconds)


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


def _record_held(connection: Connection, run: Run, at: datetime) -> None:
    """Deletions that holds refused are evidence too: how many of the run's records each hold kept."""
    plan = run.plan or {}
    if plan.get("held"):
        body = {"run": run.id, "policy": run.policy, "records": plan["held"], "holds": plan["held_by"]}
        chain.append(connection, kind="records.held", subject=run.id, body=body, at=at)


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
