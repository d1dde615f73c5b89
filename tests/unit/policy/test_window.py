from __future__ import annotations

from datetime import datetime

import pytest

from retention.policy.window import RunWindow


@pytest.mark.parametrize(
    ("starts", "ends", "wall", "is_open"),
    [
        (60, 300, "00:59", False), (60, 300, "01:00", True), (60, 300, "04:59", True), (60, 300, "05:00", False),
        (1320, 120, "21:59", False), (1320, 120, "22:00", True), (1320, 120, "23:59", True),
        (1320, 120, "00:00", True), (1320, 120, "01:59", True), (1320, 120, "02:00", False),
        (1320, 0, "23:59", True), (1320, 0, "00:00", False),
    ],
)  # fmt: skip
def test_the_hours_of_a_window(starts: int, ends: int, wall: str, is_open: bool) -> None:
    window = RunWindow(starts=starts, ends=ends)
    assert window.is_open(datetime.fromisoformat(f"2026-10-01T{wall}:30")) is is_open
