"""The slots of a schedule: its scheduled times, each once, by the clock on the wall.

croniter walks wall times without a zone, where no hour is missing or comes twice; `policy/calendar.py` says when each of
them is. So a time that comes twice is its first coming, one that a gap skips is the end of the gap, and nothing depends
on how croniter treats the jumps of a zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from croniter import croniter

from retention.policy.calendar import first_instant_of, instant_of
from retention.policy.policy import Schedule


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One slot of a schedule."""

    #: the instant, UTC
    due_at: datetime
    #: what a clock on the wall shows then, without zone; of two equal ones the first
    wall: datetime
    #: where the scheduled time was skipped by a jump of the clock, or comes twice
    jump: Literal["gap", "overlap"] | None

    @property
    def local_time(self) -> str:
        """``2026-10-01T02:00``: with the policy's name, the slot's identity."""
        return self.wall.isoformat(timespec="minutes")


def slots(schedule: Schedule, *, after: datetime, until: datetime | None = None) -> Iterator[Occurrence]:
    """The slots with ``after < due_at <= until`` (aware), in order; without end where ``until`` is None.

    Several times that one gap skips are one slot, at its end.
    """
    zone = schedule.timezone
    # The instant of a wall time never decreases with it, and that of the wall time at `after` is not later than `after`:
    # every slot to come has a later wall time, and the first one beyond `until` ends the search.
    walls = croniter(schedule.cron, wall_time(after, zone).replace(second=0, microsecond=0))
    last = after
    while True:
        try:
            wall = walls.get_next(datetime)
        except ValueError:  # no more before the calendar ends, in the year 9999
            return
        due_at = first_instant_of(wall, zone)
        if until is not None and due_at > until:
            return
        if due_at > last:
            last = due_at
            yield _occurrence(wall, due_at, zone)


def wall_time(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows at the aware ``moment``, without zone."""
    return moment.astimezone(zone).replace(tzinfo=None)


def _occurrence(wall: datetime, due_at: datetime, zone: ZoneInfo) -> Occurrence:
    shown = wall_time(due_at, zone)
    if shown != wall:
        return Occurrence(due_at=due_at, wall=shown, jump="gap")
    return Occurrence(due_at=due_at, wall=shown, jump="overlap" if instant_of(wall, zone) != due_at else None)
