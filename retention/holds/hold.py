"""A compliance hold: what may not be deleted, for which matter, placed by whom, until released."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from retention.holds.scope import Scope


class HoldState(Enum):
    """Literal states; the allowed edges are HOLD_EDGES, all others are refused."""

    #: written down, not yet confirmed by every source that it touches; deletions there are refused
    PENDING = "pending"
    #: confirmed by every source: nothing that it covers is deleted
    IN_FORCE = "in force"
    #: released; protects until the grace is over, so that a mistake can be undone
    RELEASED = "released"


HOLD_EDGES: frozenset[tuple[HoldState, HoldState]] = frozenset(
    {
        (HoldState.PENDING, HoldState.IN_FORCE),  # the last source confirmed
        (HoldState.PENDING, HoldState.RELEASED),  # given up before a source could be reached
        (HoldState.IN_FORCE, HoldState.RELEASED),  # somebody released it, with a reason
    }
)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """One hold. Times are aware, UTC."""

    id: str
    matter: str
    reason: str
    placed_by: str
    placed_at: datetime
    scope: Scope
    state: HoldState
    #: narrows to records whose class's `created` clock lies on these local days, both included
    first_day: date | None = None
    last_day: date | None = None
    released_by: str | None = None
    released_at: datetime | None = None
    release_reason: str | None = None

    def protects(self, now: datetime, grace: timedelta) -> bool:
        """Whether the hold blocks deletion at ``now``: until released, and for ``grace`` after its release."""
        return self.released_at is None or now < self.released_at + grace
