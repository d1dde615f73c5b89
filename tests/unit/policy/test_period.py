"""Periods: what is read, what is printed, how they are ordered and compared. What is refused: tests/bad_policies."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.policy.period import Period, PeriodError


@pytest.mark.parametrize(
    ("text", "period", "printed"),
    [
        ("90 days", Period(days=90), "90 days"),
        ("1 day", Period(days=1), "1 day"),
        ("2 weeks", Period(days=14), "14 days"),
        ("5 years", Period(months=60), "5 years"),
        ("1 year 6 months", Period(months=18), "1 year 6 months"),
        ("1 year 2 months 3 weeks 4 days", Period(months=14, days=25), "1 year 2 months 25 days"),
        ("18 months", Period(months=18), "1 year 6 months"),
        ("36 hours", Period(hours=36), "36 hours"),
        ("P5Y", Period(months=60), "5 years"),
        ("P1Y6M", Period(months=18), "1 year 6 months"),
        ("P2W", Period(days=14), "14 days"),
        ("P90D", Period(days=90), "90 days"),
        ("PT36H", Period(hours=36), "36 hours"),
        ("200 years", Period(months=2400), "200 years"),
        ("73048 days", Period(days=73048), "73048 days"),
        ("007 days", Period(days=7), "7 days"),
        ("forever", Period(forever=True), "forever"),
    ],
)
def test_read_and_printed(text: str, period: Period, printed: str) -> None:
    assert Period.parse(text) == period
    assert str(period) == printed
    assert Period.parse(printed) == period


@given(st.text(max_size=30) | st.from_regex(r"[0-9P ]{0,6}[a-zYMWDTH ]{0,8}[0-9]{0,3}[a-z]{0,6}"))
def test_any_text_is_a_period_or_says_why_not(text: str) -> None:
    try:
        period = Period.parse(text)
    except PeriodError as error:
        assert error.message and error.remedy and str(error) == f"{error.message}, {error.remedy}"
    else:
        assert period.length > 0
        assert Period.parse(str(period)) == period


def test_order() -> None:
    texts = [
        "1 hour",
        "1 day",
        "36 hours",
        "28 days",
        "1 month",
        "31 days",
        "1 year",
        "366 days",
        "200 years",
        "forever",
    ]
    lengths = [Period.parse(text).length for text in texts]
    assert lengths == sorted(lengths)
    assert Period.parse("1 year").length == Fraction(146097, 400)


def test_days_beyond_the_calendar_and_hours_without_days() -> None:
    assert Period.parse("1 year").after(date(9999, 1, 1)) is None
    assert Period.parse("1 day").after(date(9999, 12, 31)) is None
    assert Period.parse("1 day").after(date(9999, 12, 30)) == date(9999, 12, 31)
    assert Period.parse("forever").after(date(2020, 1, 1)) is None
    with pytest.raises(ValueError, match="instants"):
        Period.parse("36 hours").after(date(2020, 1, 1))


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ("forever", "200 years"),
        ("forever", "forever"),
        ("1 year", "365 days"),
        ("366 days", "1 year"),
        ("1 month", "28 days"),
        ("31 days", "1 month"),
        ("12 months", "1 year"),
        ("5 years", "1826 days"),
        ("48 hours", "36 hours"),
        ("3 days", "48 hours"),
        ("120 hours", "3 days"),
    ],
)
def test_never_shorter(longer: str, shorter: str) -> None:
    assert Period.parse(longer).never_shorter_than(Period.parse(shorter))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("200 years", "forever"),
        ("365 days", "1 year"),
        ("1 year", "366 days"),
        ("30 days", "1 month"),
        ("1 month", "29 days"),
        ("36 hours", "48 hours"),
        ("2 days", "48 hours"),
        ("119 hours", "3 days"),
    ],
)
def test_sometimes_shorter(one: str, other: str) -> None:
    assert not Period.parse(one).never_shorter_than(Period.parse(other))
