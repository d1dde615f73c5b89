from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.errors import InputError
from retention.ledger.times import instant, stamp
from retention.ledger.values import from_json, key_text, may_lie_between, text_key, text_value, value_text

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.times().map(lambda moment: moment.replace(fold=0))  # no database has a fold
    | st.datetimes().map(lambda moment: moment.replace(fold=0))
    | st.datetimes(timezones=zones).map(lambda moment: moment.replace(fold=0))
)


def exact(value: object) -> tuple[type, str]:
    """1, 1.0, True and Decimal(1) are equal in Python; their type and spelling are not."""
    return type(value), repr(value)


@given(st.lists(values).map(tuple))
def test_keys_come_back_exactly(key: tuple[object, ...]) -> None:
    text = key_text(key)
    assert [exact(value) for value in text_key(text)] == [exact(value) for value in key]
    assert key_text(text_key(text)) == text
    assert "\n" not in text


@given(values, values)
def test_different_values_have_different_texts(one: object, other: object) -> None:
    assert (value_text(one) == value_text(other)) == (exact(one) == exact(other))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"),
        ("42", '"42"'),
        (True, "true"),
        (Decimal("1.20"), '{"decimal":"1.20"}'),
        (UUID(int=1), '{"uuid":"00000000-0000-0000-0000-000000000001"}'),
        (b"\x00\xff", '{"bytes":"00ff"}'),
        (date(2024, 2, 29), '{"date":"2024-02-29"}'),
        (datetime(2024, 2, 29, 1, tzinfo=UTC), '{"datetime":"2024-02-29T01:00:00+00:00"}'),
        (time(1, 2), '{"time":"01:02:00"}'),
        ("客户", '"客户"'),
    ],
)
def test_how_a_value_is_written(value: object, text: str) -> None:
    assert value_text(value) == text
    assert text_value(text) == value


@pytest.mark.parametrize("value", [object(), ["a"], {"a": 1}])
def test_what_is_no_value(value: object) -> None:
    with pytest.raises(InputError):
        key_text((value,))


@pytest.mark.parametrize("stored", [{}, {"decimal": 1}, {"shape": "round"}, {"date": "2024-01-01", "uuid": ""}, [1]])
def test_what_was_never_stored(stored: object) -> None:
    with pytest.raises(ValueError, match="is not a stored value"):
        from_json(stored)


@pytest.mark.parametrize(
    ("value", "least", "greatest", "expected"),
    [
        (9, 8, 10, True),
        (7, 8, 10, False),
        (11, 8, 10, False),
        (Decimal("8.5"), 8, 10, True),
        ("9", "10", "8", False),
        ("B", "A", "a", True),  # by codepoint, whatever the database's locale
        ("ä", "a", "z", False),
        ("9", 8, 10, True),
        (9, None, 10, True),
        (9, 8, None, True),
    ],
)
def test_ranges(value: object, least: object, greatest: object, expected: bool) -> None:
    assert may_lie_between(value, least, greatest) is expected


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones))
def test_stamps_come_back(moment: datetime) -> None:
    text = stamp(moment)
    assert len(text) == 27
    assert instant(text) == moment
    assert instant(text).tzinfo is UTC


@given(*[st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones)] * 2)
def test_stamps_have_the_order_of_the_instants(one: datetime, other: datetime) -> None:
    assert (stamp(one) < stamp(other)) == (one < other)


def test_a_naive_moment_has_no_stamp() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        stamp(datetime(2026, 1, 1))


@pytest.mark.parametrize("text", ["2026-10-01", "2026-10-01T00:00:00Z", "2026-10-01T00:00:00.000000+00:00", "soon"])
def test_other_texts_are_no_stamps(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text)
