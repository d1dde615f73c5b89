from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Everything

RELEASED = datetime(2026, 10, 1, tzinfo=UTC)
GRACE = timedelta(days=30)


def hold(released_at: datetime | None) -> Hold:
    return Hold(
        id="H-1", matter="m", reason="r", placed_by="li", placed_at=datetime(2026, 9, 1, tzinfo=UTC), scope=Everything(),
        state=HoldState.IN_FORCE if released_at is None else HoldState.RELEASED, released_at=released_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("released_at", "now", "protects"),
    [
        (None, datetime(2999, 1, 1, tzinfo=UTC), True),
        (RELEASED, RELEASED, True),
        (RELEASED, RELEASED + GRACE - timedelta(microseconds=1), True),
        (RELEASED, RELEASED + GRACE, False),
    ],
)
def test_a_hold_protects_until_its_grace_is_over(released_at: datetime | None, now: datetime, protects: bool) -> None:
    assert hold(released_at).protects(now, GRACE) is protects
