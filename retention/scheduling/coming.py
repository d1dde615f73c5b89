"""The slots that are to come: those that beats will open, and those that wait for their time because a clock was ahead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from retention.ledger import schedules, slots
from retention.ledger.slots import SlotState
from retention.policy.policy import Schedule
from retention.scheduling import cron
from retention.scheduling.cron import Occurrence, wall_time

if TYPE_CHECKING:
    from sqlalchemy import Connection


def coming(connection: Connection, policy: str, schedule: Schedule, now: datetime) -> Iterator[Occurrence]:
    """The slots of the policy after ``now`` (aware) that will run, in order and without end.

    Left out is what will not: a time up to which the schedule was looked at before, by a clock that was ahead, unless its
    slot was opened then and nobody has begun it; and a time that was opened when the schedule was in another zone.
    """
    early = [slot for slot in slots.in_state(connection, SlotState.DUE, policy) if slot.due_at > now]
    opened = (
        one
        for slot in early
        for one in cron.slots(schedule, after=slot.due_at - timedelta(minutes=1), until=slot.due_at)
    )
    seen = schedules.read(connection).get(policy)
    after = now if seen is None else max(now, seen.checked_until)
    since = wall_time(after, schedule.timezone).isoformat(timespec="minutes")
    there = slots.local_times(connection, policy, since=since)
    return chain(opened, (slot for slot in cron.slots(schedule, after=after) if slot.local_time not in there))
