"""What a worker does when it looks: it claims one item of work, and does it for at most a time slice.

An item is a slot whose run is to begin, or a shard of a run that a slot became. Nothing here depends on messages: what waits
stands in the control database, and whoever dies leaves it there for the next one.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from retention.disposition.claim import (
    MOST_ATTEMPTS,
    ClaimedShard,
    ClaimedSlot,
    claim,
    fail,
    give_up,
    in_window,
    waiting,
)
from retention.disposition.clock import NotYet
from retention.disposition.heartbeat import heartbeat
from retention.disposition.held import HoldPending
from retention.disposition.holding import confirm_pending
from retention.disposition.pace import Pace
from retention.disposition.plan import PolicyPlan, make_plan
from retention.disposition.recover import in_doubt, settle
from retention.disposition.run import outdated, overtaken, write_down
from retention.disposition.serve import complete, serve
from retention.errors import ControlFailed, EvidenceBroken, Failed, RetentionError
from retention.failpoint import failpoint
from retention.ledger import batches, runs, shards, slot_leases, slots
from retention.ledger.owner import end, new_owner
from retention.ledger.runs import Run, RunState, RunTaken
from retention.ledger.shards import Lease
from retention.ledger.slots import Slot, SlotState
from retention.sources import statements
from retention.trace import Tell, doing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from retention.disposition.engine import Engine
    from retention.holds.scope import Key
    from retention.policy.policy import Policy

#: records of one shard, about, due or not; and shards of one run at most
SHARD_RECORDS = 500_000
MOST_SHARDS = 64
#: seconds to wait after the first failure; four times as long after each further one, and less by up to a half
FIRST_WAIT = 30.0
#: seconds after which a source without room, or a pending hold, is asked about again
ASK_AGAIN = 30.0

_log = structlog.get_logger("retention.shift")


def claimable(engine: Engine) -> int:
    """How many items wait for a worker now. Raises ControlFailed."""
    with engine.control.read() as connection:
        return len(waiting(engine, connection))


def work(engine: Engine, *, seconds: float, stop: threading.Event) -> bool:
    """Claim one item and do it, a shard for at most ``seconds``; False where nothing waited. When ``stop`` is set, it ends
    after the batch in hand.

    What goes wrong with the item is written down with it, and does not keep others from being done. Raises ControlFailed
    where the control database is away: nothing can be done or written down then, and leases run out by themselves.
    """
    owner = new_owner()
    try:
        with engine.control.write() as connection:
            claimed = claim(engine, connection, owner)
        if isinstance(claimed, ClaimedSlot):
            slot = claimed.slot
            with doing("slot", slot=slot.id, policy=slot.policy) as tell, _told():
                _log.info("slot.taken", attempts=slot.attempts)
                _begin(engine, claimed, tell)
        elif claimed is not None:
            run, shard = claimed.run, claimed.lease.number
            with doing("slice", slot=claimed.slot, run=run.id, policy=run.policy, shard=shard), _told():
                _log.info("shard.taken")
                _work_on(engine, claimed, seconds, stop)
    except ControlFailed:
        end(owner)  # others wait until its lease runs out, this process need not
        raise
    return claimed is not None


@contextmanager
def _told() -> Iterator[None]:
    """Say of what is in hand that the control database failed: who catches it does not know any more what it was."""
    try:
        yield
    except ControlFailed as error:
        _log.error("control.failed", message=error.message)
        raise


def begin_slot(engine: Engine, slot: Slot, owner: str) -> Run | None:
    """Plan the slot's run and write it down: running, waiting for approval or refused. None where another began it.

    It takes the place of what is left of earlier runs of the policy. Raises RunTaken while somebody works on one of these,
    InDoubt where a batch of one is in doubt, and what planning raises.
    """
    policy = engine.project.policies.get(slot.policy)
    confirm_pending(engine)
    with engine.control.read() as connection:
        earlier = runs.unfinished(connection, policy.name)
        doubts = [batch for run in earlier for batch in batches.in_doubt(connection, run.id)]
        for run in earlier:
            shards.refuse_taken(connection, run.id, engine.now())
    for batch in doubts:
        settle(engine, batch)
    as_of = slot.due_at if policy.missed == "run all" else engine.now()
    plan, ends = _planned(engine, policy, as_of)
    failpoint("slot.planned")
    with engine.control.write() as connection:
        if not slot_leases.still_leased(connection, slot, owner):
            return None
        for run in runs.unfinished(connection, policy.name):
            shards.refuse_taken(connection, run.id, engine.now())
            reason = f"the run of slot {slot.local_time} took its place"
            runs.move(connection, run.id, RunState.CANCELLED, reason=reason, at=engine.now())
        made = write_down(engine, connection, policy, plan, as_of, ends)
        slots.move(connection, slot, SlotState.BEGUN, reason=f"run {made.id} began", at=engine.now(), run_id=made.id)
    _log.info("slot.begun", run=made.id, state=made.state.value, due=plan.due, shards=len(ends) + 1)
    return made


def _planned(engine: Engine, policy: Policy, as_of: datetime) -> tuple[PolicyPlan, list[Key]]:
    """The policy's plan, and where to cut its run into shards."""
    with doing("plan", policy=policy.name) as tell:
        plan = make_plan(engine, [policy], as_of).policies[0]
        tell(due=plan.due)
        return plan, _ends(engine, policy, plan)


def _begin(engine: Engine, claimed: ClaimedSlot, tell: Tell) -> None:
    slot, owner = claimed.slot, claimed.owner
    try:
        with heartbeat(engine, lambda connection, now: slot_leases.seen(connection, slot, owner, now)):
            made = begin_slot(engine, slot, owner)
        if made is not None:
            tell(run=made.id)
    except ControlFailed:
        raise
    except Exception as error:  # whatever it is: the slot is tried again later, and others are not kept from their turn
        _slot_failed(engine, claimed, error)


def _slot_failed(engine: Engine, claimed: ClaimedSlot, error: Exception) -> None:
    slot, reason = claimed.slot, _reason(error)
    counted = 0 if isinstance(error, RunTaken | HoldPending) else 1
    attempts = slot.attempts + counted
    _log.warning("slot.failed", attempts=attempts, error=reason, exc_info=_bug(error))
    with engine.control.write() as connection:
        if counted and (attempts >= MOST_ATTEMPTS or not _may_pass(error)):
            if slot_leases.still_leased(connection, slot, claimed.owner):
                reason = f"given up after {attempts} attempts: {reason}"
                slots.move(connection, slot, SlotState.QUARANTINED, reason=reason, at=engine.now())
            return
        later = engine.now() + (_backoff(attempts) if counted else timedelta(seconds=ASK_AGAIN))
        slot_leases.leave(connection, slot, claimed.owner, reason=reason, attempts=attempts, not_before=later)


def _work_on(engine: Engine, claimed: ClaimedShard, seconds: float, stop: threading.Event) -> None:
    run, lease = claimed.run, claimed.lease
    try:
        with heartbeat(engine, lambda connection, now: shards.seen(connection, run.id, lease.owner, now)) as lost:
            ready = _ready(engine, run, lease)
            if ready is not None:
                _slice(engine, ready, lease, seconds, lambda: stop.is_set() or lost.is_set())
    except RunTaken as error:
        _log.warning("shard.lost", error=error.message)
    except ControlFailed:
        raise
    except (
        Exception
    ) as error:  # whatever it is: the shard is tried again later, and others are not kept from their turn
        _log.warning("shard.failed", error=_reason(error), exc_info=_bug(error))
        _shard_failed(engine, run, lease, error)
    finally:
        with engine.control.write() as connection:
            shards.leave(connection, run.id, lease.owner)


def _ready(engine: Engine, run: Run, lease: Lease) -> Run | None:
    """The run, running, with nothing of the shard in doubt; None where it is not to go on, and was seen to."""
    policies = {policy.name: policy for policy in engine.project.policies.policies}
    policy = policies.get(run.policy)
    reason = overtaken(engine, run)
    if reason is None and policy is not None and run.state is RunState.APPROVED:
        # what a person approved is compared with what would be done, once, before anything of it is
        reason = outdated(engine, run, policy)
    if reason is not None:
        _plan_anew(engine, run, policy, reason)
        return None
    with engine.control.write() as connection:
        run = runs.get(connection, run.id)
        if run.state is RunState.APPROVED:
            run = runs.move(connection, run.id, RunState.RUNNING, reason="started", at=engine.now())
    for batch in in_doubt(engine, lease):
        settle(engine, batch)
    return run


def _plan_anew(engine: Engine, run: Run, policy: Policy | None, reason: str) -> None:
    """Cancel a run that is no longer what it would do, and let its slot have another one, where there is the policy still.

    What others have in hand of it is done or rolled back; from here on they can prepare nothing.
    """
    planned = None if policy is None else _planned(engine, policy, engine.now())
    with engine.control.write() as connection:
        if runs.get(connection, run.id).state is not run.state:
            return
        runs.move(connection, run.id, RunState.CANCELLED, reason=reason, at=engine.now())
        if policy is not None and planned is not None:
            plan, ends = planned
            made = write_down(engine, connection, policy, plan, engine.now(), ends)
            slot_leases.renew(connection, run.id, made.id, reason=f"{reason}: run {made.id}", at=engine.now())
    _log.warning("run.replaced", reason=reason)


def _slice(engine: Engine, run: Run, lease: Lease, seconds: float, stopped: Callable[[], bool]) -> None:
    policy = engine.project.policies.get(run.policy)
    began: list[float] = []

    def over() -> bool:
        # counted from the first batch on, so that each slice gets somewhere however long its preparations take
        began[:] = began or [time.monotonic()]
        return stopped() or time.monotonic() - began[0] >= seconds or not in_window(policy, engine.now())

    pace = Pace(engine, run, over=over, patient=False)
    done = serve(engine, run, lease, progress=lambda batch: None, go_on=pace)
    if done and not stopped():  # the end may count everything once more: who is told to stop leaves it to the next one
        ended = complete(engine, run, lease, lambda: (engine.now() - run.created_at).total_seconds())
        _log.info("shard.done")
        if ended is not None:
            _log.info("run.ended", state=ended.state, deleted=ended.deleted, batches=ended.batches, held=ended.held)
    elif pace.waits_for is not None:
        _log.info("shard.waits", reason=pace.waits_for)
        with engine.control.write() as connection:
            shards.wait(connection, lease, not_before=engine.now() + timedelta(seconds=ASK_AGAIN))


def _shard_failed(engine: Engine, run: Run, lease: Lease, error: Exception) -> None:
    if isinstance(error, HoldPending):
        # refused until it is in force, and it is not this run's failure; whoever placed it may have died
        confirm_pending(engine)
    with engine.control.write() as connection:
        if not shards.is_owned(connection, lease):
            return
        if isinstance(error, HoldPending | NotYet):  # the next one to take it sees to a run that was planned too early
            shards.wait(connection, lease, not_before=engine.now() + timedelta(seconds=ASK_AGAIN))
        elif not _may_pass(error):
            fail(engine, connection, run.id, _reason(error))
        else:
            attempts = shards.get(connection, run.id, lease.number).attempts + 1
            shard = shards.failed(connection, lease, _reason(error), not_before=engine.now() + _backoff(attempts))
            if attempts >= MOST_ATTEMPTS:
                give_up(engine, connection, shard)


def _ends(engine: Engine, policy: Policy, plan: PolicyPlan) -> list[Key]:
    """Where to cut the class's keys, so that several workers share the run; nowhere where the source has one writer."""
    bound = engine.checked(policy.records)
    count = min(-(-plan.matched // SHARD_RECORDS), MOST_SHARDS)
    if bound.source.one_writer or bound.shared or count < 2:
        return []
    step = -(-(plan.matched + plan.unmatched) // count)
    ends: list[Key] = []
    session = bound.source.session()
    try:
        session.begin(write=False)
        while len(ends) < count - 1:
            found = session.rows(statements.window_end(bound, after=ends[-1] if ends else None, rows=step))
            if not found:
                break
            ends.append(tuple(found[0]))
    finally:
        session.close()
    return ends


def _may_pass(error: Exception) -> bool:
    """Whether trying again can help: not where a rule, a file or broken evidence stands against it."""
    if isinstance(error, RetentionError):
        return isinstance(error, Failed) and not isinstance(error, EvidenceBroken)
    return True  # a mistake of ours, or of a library: it is tried as often as anything, then given up


def _backoff(attempts: int) -> timedelta:
    """How long to wait after so many failures; not the same for all, so that they do not come back at once."""
    return timedelta(seconds=FIRST_WAIT * 4 ** (attempts - 1) * random.uniform(0.5, 1.0))


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, RetentionError) else f"{type(error).__name__}: {error}"


def _bug(error: Exception) -> bool:
    return not isinstance(error, RetentionError)
