"""What is newer, and which records of a group stay as its last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from retention.policy.decide import Fate, Record, decide
from retention.policy.keep_last import KeepLast, is_later
from retention.policy.period import Period
from retention.policy.policy import Retain

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        (date(2024, 1, 2), date(2024, 1, 1), True),
        (date(2024, 1, 1), date(2024, 1, 1), False),
        (datetime(2024, 1, 1, 0, 0, 0, 1), datetime(2024, 1, 1), True),
        (2, 1, True),
        (2, 1.0, False),
        ("2024-01-02 10:00:00", "2024-01-01 10:00:00", True),
        ("2024-01-02 10:00:00", "2024-01-01", False),
        ("2024-01-02T10:00:00", "2024-01-01 10:00:00", False),
        ("2024-01-02 10:00:00+08:00", "2024-01-01 10:00:00+08:00", True),
        ("2024-01-02 10:00:00+08:00", "2024-01-01 10:00:00+09:00", False),
        ("2024-01-02 10:00:00.0Z", "2024-01-01 10:00:00.00", False),
        ("2024-01-02 10:00+08:00", "2024-01-01 10:00:00.12", False),
        (b"2024-01-02", b"2024-01-01", False),
        (date(2024, 1, 2), None, False),
        (None, None, False),
    ],
)
def test_only_what_is_surely_later_is_newer(one: object, other: object, later: bool) -> None:
    assert is_later(one, other) is later


@pytest.mark.parametrize(("count", "stay"), [(1, {"a"}), (2, {"a", "b", "c"}), (3, {"a", "b", "c"})])
def test_the_newest_of_a_group_stay(
    count: int,
    stay: set[str],
    make_policy: Callable[..., Any],
    make_class: Callable[..., Any],
    make_set: Callable[..., Any],
) -> None:
    retain = Retain(period=Period(days=90), keep_last=KeepLast(count=count, per="account"))
    policies = make_set(make_policy("notes", "90 days", retain=retain))
    days = {"a": 9, "b": 8, "c": 8, "d": 7}
    records = {
        name: Record(values={"created_at": datetime(2024, 1, day), "account": 1}, tags=frozenset())
        for name, day in days.items()
    }
    beside = Record(values={"created_at": datetime(2025, 1, 1), "account": 2}, tags=frozenset())
    group = [*records.values(), beside]
    fates = {
        name: decide(record, make_class(), policies, AS_OF, False, group).judgements[0].fate
        for name, record in records.items()
    }
    assert {name for name, fate in fates.items() if fate is Fate.KEPT_LAST} == stay
    assert {name for name, fate in fates.items() if fate is Fate.DUE} == set(days) - stay
