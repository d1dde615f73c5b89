"""Opening slots: what a schedule asked for since it was last looked at is written down, each time once.

Any number of beats may do this at once: the control database lets one write at a time, and a slot that stands there
already is not opened again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from retention.ledger import schedules, slots
from retention.ledger.owner import holds_lease
from retention.ledger.schedules import Checked
from retention.ledger.slots import Slot, SlotState
from retention.policy.calendar import first_instant_of
from retention.policy.policy import Policy, Schedule
from retention.scheduling import cron
from retention.scheduling.cron import Occurrence, wall_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.ledger.control import Control

#: a slot that has not begun by then does not run where its policy says `missed: skip`
LATE = timedelta(hours=1)
#: how old the row of a schedule may grow while nothing is due; a beat that starts looks through this much again
FRESH = timedelta(minutes=1)
#: slots of one policy that one transaction opens at most; the next tick goes on
MOST = 500


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What one look at the schedules changed."""

    #: slots that were written down, whatever their state
    opened: tuple[Slot, ...]
    #: policies whose schedule was seen ahead of the clock, and until when: the clock was wrong then, or is now
    ahead: tuple[tuple[str, datetime], ...]
    #: there is more to open: look again at once
    more: bool


def open_slots(control: Control, policies: Sequence[Policy], now: datetime) -> Opened:
    """Open every slot of the policies that ``now`` (aware) has reached. Raises ControlFailed."""
    with control.read() as connection:
        seen = schedules.read(connection)
        waiting = slots.in_state(connection, SlotState.DUE)
    until = {policy.name: ahead_until(seen.get(policy.name), now) for policy in policies}
    ahead = tuple((name, moment) for name, moment in until.items() if moment is not None)
    changing = [policy for policy in policies if _needs_writing(policy, seen.get(policy.name), waiting, now)]
    opened: list[Slot] = []
    more = False
    for policy in changing:  # a transaction each: others write between them
        with control.write() as connection:
            new, left = _open(connection, policy, now)
        opened += new
        more |= left
    return Opened(opened=tuple(opened), ahead=ahead, more=more)


def ahead_until(seen: Checked | None, now: datetime) -> datetime | None:
    """Until when no slot of a policy is opened, because its schedule was looked at by a clock that was ahead of ``now``
    (aware): by one that was wrong, or ``now`` is. None where the two agree."""
    return seen.checked_until if seen is not None and seen.checked_until > now + FRESH else None


def next_slot(policies: Sequence[Policy], now: datetime) -> datetime | None:
    """The instant of the first slot of any of the policies after ``now``; None where none is to come."""
    times = [slot.due_at for policy in policies for slot in islice(cron.slots(policy.schedule, after=now), 1)]
    return min(times, default=None)


def _needs_writing(policy: Policy, seen: Checked | None, waiting: Sequence[Slot], now: datetime) -> bool:
    """Whether anything about the policy's slots is to be written down: tested without the lock of those who write."""
    if seen is None or not _same(seen, policy.schedule) or now - seen.checked_until >= FRESH:
        return True
    if policy.missed == "skip" and any(_too_late(slot, now) for slot in waiting if slot.policy == policy.name):
        return True
    return next(cron.slots(policy.schedule, after=seen.checked_until, until=now), None) is not None


def _open(connection: Connection, policy: Policy, now: datetime) -> tuple[list[Slot], bool]:
    """Open what is due of one policy; whether there is more. The row is read again: another beat may have been here."""
    schedule = policy.schedule
    seen = schedules.read(connection).get(policy.name)
    if seen is None:
        seen = Checked(policy=policy.name, cron=schedule.cron, zone=schedule.timezone.key, checked_until=now, since=now)
        schedules.write(connection, seen)
        return [], False
    found, left = _reached(seen, schedule, now)
    opened = _write(connection, policy, found, now)
    _settle(connection, policy, now)
    if left:
        seen = replace(seen, checked_until=found[-1][1].due_at)
    elif _same(seen, schedule):
        seen = replace(seen, checked_until=now)
    else:
        seen = replace(seen, cron=schedule.cron, zone=schedule.timezone.key, checked_until=now, since=now)
    schedules.write(connection, seen)
    return opened, left


def _reached(seen: Checked, schedule: Schedule, now: datetime) -> tuple[list[tuple[str, Occurrence]], bool]:
    """The slots that ``now`` has reached, each with its zone; whether these are not yet all.

    A schedule that was changed holds until the change is seen, and the new one from then on. Where only the zone was
    changed, the clock on the wall goes on from what it showed: a time that it has jumped over is due at once, and one that
    comes again was opened before.
    """
    before = Schedule(cron=seen.cron, timezone=ZoneInfo(seen.zone))
    found = [(seen.zone, one) for one in islice(cron.slots(before, after=seen.checked_until, until=now), MOST + 1)]
    if len(found) > MOST:
        return found[:MOST], True
    if seen.cron == schedule.cron and seen.zone != schedule.timezone.key:
        jumped = first_instant_of(wall_time(now, before.timezone), schedule.timezone)
        found += [(schedule.timezone.key, one) for one in cron.slots(schedule, after=jumped, until=now)]
    return found, False


def _write(
    connection: Connection, policy: Policy, found: Sequence[tuple[str, Occurrence]], now: datetime
) -> list[Slot]:
    opened: list[Slot] = []
    for number, (zone, occurrence) in enumerate(found):
        state, reason = SlotState.DUE, None
        if policy.missed == "skip" and now - occurrence.due_at > LATE:
            state, reason = SlotState.SKIPPED, _SKIPPED
        elif policy.missed == "run once" and number < len(found) - 1:
            state, reason = SlotState.MISSED, f"the run of {found[-1][1].local_time} does its work"
        if slots.open_slot(
            connection,
            policy=policy.name,
            local_time=occurrence.local_time,
            zone=zone,
            due_at=occurrence.due_at,
            state=state,
            reason=reason,
            at=now,
        ):
            opened.append(slots.get(connection, policy.name, occurrence.local_time))
    return opened


_SKIPPED = "more than an hour late, and the policy skips such slots"


def _settle(connection: Connection, policy: Policy, now: datetime) -> None:
    """What becomes of slots that wait although their time has passed. One that a living process works on is left alone."""
    waiting = [slot for slot in slots.in_state(connection, SlotState.DUE, policy.name) if not _in_hand(slot, now)]
    if policy.missed == "skip":
        for slot in waiting:
            if _too_late(slot, now):
                slots.move(connection, slot, SlotState.SKIPPED, reason=_SKIPPED, at=now)
    elif policy.missed == "run once":
        for slot in waiting[:-1]:
            reason = f"the run of {waiting[-1].local_time} does its work"
            slots.move(connection, slot, SlotState.MISSED, reason=reason, at=now)


def _too_late(slot: Slot, now: datetime) -> bool:
    return now - slot.due_at > LATE and not _in_hand(slot, now)


def _in_hand(slot: Slot, now: datetime) -> bool:
    return holds_lease(slot.owner, seen_at=slot.owner_seen_at, now=now)


def _same(seen: Checked, schedule: Schedule) -> bool:
    return (seen.cron, seen.zone) == (schedule.cron, schedule.timezone.key)
