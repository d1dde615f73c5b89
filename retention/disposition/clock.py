"""The clock, what was planned while it was ahead, and how demonstrations and tests set it forward.

A clock that runs ahead deletes earlier than the law. So ``RETENTION_CLOCK="7776000@HOST:PID:START"`` names the process that
set it (as `ledger/owner.py` names it) and counts only while that one lives: left behind in a shell, a unit or a file, it stops
everything.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from retention.errors import Refused
from retention.ledger.owner import is_alive, this_process

VARIABLE = "RETENTION_CLOCK"
#: how far the clocks of machines that share the work may differ
SKEW = timedelta(minutes=1)


class NotYet(Refused):
    """A run judges by a time that has not come: the clock was ahead when it was planned, and has been corrected."""

    code = "not-yet"


def why_too_early(as_of: datetime, now: datetime) -> str | None:
    """Why nothing may be deleted ``as_of`` (aware) that time, for a person; None where it has come."""
    if as_of <= now + SKEW:
        return None
    return (
        f"it was planned as of {as_of.isoformat(timespec='seconds')}, and that time has not come: the clock was ahead"
    )


def refuse_early(as_of: datetime, now: datetime) -> None:
    """Raise NotYet where nothing may be deleted ``as_of`` (aware) that time."""
    reason = why_too_early(as_of, now)
    if reason is not None:
        raise NotYet(
            f"nothing of the run is done: {reason}", hint="The next attempt plans it anew, as of its own time."
        )


def set_by_this_process(ahead: timedelta) -> dict[str, str]:
    """What to put into the environment of processes whose clock is to run ``ahead``, for as long as this one lives."""
    return {VARIABLE: f"{ahead.total_seconds():.0f}@{this_process()}"}


def now() -> datetime:
    """The real time, UTC, or what the clock was set to. Raises Refused where whoever set it is gone."""
    return datetime.now(UTC) + _ahead()


def _ahead() -> timedelta:
    text = os.environ.get(VARIABLE)
    if text is None:
        return timedelta(0)
    seconds, _, owner = text.partition("@")
    try:
        ahead = timedelta(seconds=float(seconds))
        alive = is_alive(owner, seen_at=None, now=datetime.now(UTC))
    except (ValueError, OverflowError):
        alive = False
    if not alive:
        raise Refused(
            f"the clock was set by {VARIABLE}={text!r}, and the process that it names is gone",
            hint=f"Unset {VARIABLE}: it is for demonstrations and tests alone.",
        )
    return ahead
