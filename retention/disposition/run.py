"""A run of one policy: planned, checked against its limits, approved where the policy asks for it, done, reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.disposition import clock
from retention.disposition.heartbeat import heartbeat
from retention.disposition.job import Disposed
from retention.disposition.pace import Pace
from retention.disposition.plan import PolicyPlan, make_plan
from retention.disposition.serve import RunResult as RunResult
from retention.disposition.serve import complete, result, serve
from retention.errors import InDoubt, InputError, Refused, RetentionError
from retention.ledger import batches, chain, runs, shards
from retention.ledger.owner import new_owner
from retention.ledger.runs import Run, RunKind, RunState
from retention.trace import doing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine
    from retention.holds.scope import Key
    from retention.policy.policy import Policy


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
    with engine.control.write() as connection:
        for other in runs.unfinished(connection, policy.name):
            if other.state is not RunState.AWAITING_APPROVAL:
                raise Refused(
                    f"run {other.id} of {policy.name} was begun meanwhile", hint="run again when it has ended"
                )
            runs.move(connection, other.id, RunState.CANCELLED, reason="a newer plan took its place", at=engine.now())
        return write_down(engine, connection, policy, plan, as_of)


def write_down(
    engine: Engine, connection: Connection, policy: Policy, plan: PolicyPlan, as_of: datetime, ends: Sequence[Key] = ()
) -> Run:
    """`begin`, in a transaction of the caller's, who has seen to other runs; the run's keys are cut after each of ``ends``."""
    now = engine.now()
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
    shards.create(connection, run.id, ends)
    if policy.approval:
        return runs.move(connection, run.id, RunState.AWAITING_APPROVAL, reason="the policy asks for approval", at=now)
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

    One that was planned under other policies, or by a clock that was ahead, or that would by now do more than was approved,
    is cancelled: what it was shown to do is no longer what it would do. Raises Refused while another living process works on
    it, and InDoubt while one of its batches is in doubt.
    """
    with engine.control.read() as connection:
        found = runs.unfinished(connection, policy.name)
    going_on = None
    for run in found:
        if run.state is RunState.AWAITING_APPROVAL:
            continue
        with engine.control.read() as connection:
            shards.refuse_taken(connection, run.id, engine.now())
            doubts = batches.in_doubt(connection, run.id)
        if doubts:
            raise InDoubt(
                f"batch {doubts[0].id} is in doubt", hint="`retention recover` settles it, or says why it cannot"
            )
        reason = outdated(engine, run, policy)
        if reason is None:
            going_on = run
            continue
        with engine.control.write() as connection:
            shards.refuse_taken(connection, run.id, engine.now())
            runs.move(connection, run.id, RunState.CANCELLED, reason=reason, at=engine.now())
    return going_on


def outdated(engine: Engine, run: Run, policy: Policy) -> str | None:
    """Why the run may not go on as it was planned; None where it may."""
    reason = overtaken(engine, run)
    if reason is not None or not policy.approval:
        return reason
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


def overtaken(engine: Engine, run: Run) -> str | None:
    """Why the run may not go on, whatever it would do by now: other policies, or a clock that was ahead; None where it may."""
    if run.set_digest != engine.project.policies.digest:
        return "the policies changed meanwhile"
    return clock.why_too_early(run.as_of, engine.now())


def perform(engine: Engine, run: Run, *, progress: Callable[[Disposed], None], stop: threading.Event) -> RunResult:
    """Do a run that `begin` made or `unfinished` found, and return what it did. Interrupted, it stays unfinished.

    Whatever fails ends the run as failed, with the reason; the next run goes on with it. Raises that error, and RunTaken
    while another living process works on it.
    """
    started = time.monotonic()
    owner = new_owner()
    with engine.control.write() as connection:
        leases = shards.take_all(connection, run.id, owner, engine.now())
        shards.reopen(connection, run.id)
        if run.state is not RunState.RUNNING:
            run = runs.move(connection, run.id, RunState.RUNNING, reason="continued", at=engine.now())
    done: RunResult | None = None
    try:
        with heartbeat(engine, lambda connection, now: shards.seen(connection, run.id, owner, now)) as lost:
            pace = Pace(engine, run, over=lambda: stop.is_set() or lost.is_set(), patient=True)
            for lease in leases:
                if stop.is_set():
                    break
                try:
                    # who is told to stop leaves the end, which may count everything once more, to the next one
                    with doing("slice", run=run.id, policy=run.policy, shard=lease.number):
                        if serve(engine, run, lease, progress=progress, go_on=pace) and not stop.is_set():
                            done = complete(engine, run, lease, lambda: time.monotonic() - started)
                except RetentionError as error:
                    with engine.control.write() as connection:
                        if shards.still_leased(connection, lease):  # else it is not ours to end
                            runs.move(connection, run.id, RunState.FAILED, reason=error.message, at=engine.now())
                    raise
    finally:
        with engine.control.write() as connection:
            shards.leave(connection, run.id, owner)
    if done is None:
        with engine.control.read() as connection:
            return result(connection, run, time.monotonic() - started)
    return done


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
