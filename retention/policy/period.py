"""A retention period: so many months and days, so many hours, or forever."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

#: mean length of a Gregorian month in days: 400 years have 4,800 months and 146,097 days
DAYS_A_MONTH = Fraction(146097, 4800)
LONGEST_YEARS = 200
ACCEPTED = "write a number and a unit, as in 90 days, 5 years, 1 year 6 months, 36 hours or P5Y; or forever"

#: unit -> (rank, months, days, hours) of one; written largest first
_UNITS = {
    "year": (5, 12, 0, 0),
    "month": (4, 1, 0, 0),
    "week": (3, 0, 7, 0),
    "day": (2, 0, 1, 0),
    "hour": (1, 0, 0, 1),
}
_WORDS = re.compile(r"([0-9]+) +([a-z]+)((?: +[0-9]+ +[a-z]+)*)")
_PART = re.compile(r"([0-9]+) +([a-z]+)")
_ISO = re.compile(r"P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T([0-9]+)H)?")
#: the four years of one leap cycle, on which periods of different units are compared
LEAP_CYCLE = [date(2024, 1, 1) + timedelta(days=n) for n in range(1461)]


class PeriodError(ValueError):
    """A text that is no period: ``message`` says what is wrong with it, ``remedy`` what would be right."""

    def __init__(self, message: str, remedy: str = ACCEPTED) -> None:
        super().__init__(f"{message}, {remedy}")
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Period:
    """Calendar periods have months or days; exact ones have hours alone; ``forever`` has neither.

    Years are 12 months, weeks are 7 days. Never zero, never negative, at most 200 years.
    """

    months: int = 0
    days: int = 0
    hours: int = 0
    forever: bool = False

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read a period as officers write it (``5 years``, ``1 year 6 months``, ``36 hours``, ``P5Y``, ``forever``).

        Raises PeriodError for everything else, zero and more than 200 years included: nothing is guessed.
        """
        if text == "forever":
            return cls(forever=True)
        parts = _iso_parts(text) if re.match(r"P[0-9T]", text) else _word_parts(text)
        months = days = hours = 0
        for number, unit in parts:
            if not number.strip("0"):
                raise PeriodError(f'"{text}" counts zero {unit}s', "a period is at least 1 of each unit that it names")
            # no number of more than seven digits fits into 200 years, in any unit; int() of a very long one would fail
            digits = number.lstrip("0")
            count = int(digits) if len(digits) <= 7 else 10**7
            _, unit_months, unit_days, unit_hours = _UNITS[unit]
            months += count * unit_months
            days += count * unit_days
            hours += count * unit_hours
        if hours and (months or days):
            raise PeriodError(
                f'"{text}" mixes hours with longer units', "write hours alone, or days and longer units alone"
            )
        period = cls(months=months, days=days, hours=hours)
        if period.length > LONGEST_YEARS * 12 * DAYS_A_MONTH:
            raise PeriodError(f'"{_short(text)}" is over {LONGEST_YEARS} years', "write a shorter period, or forever")
        return period

    def __str__(self) -> str:
        if self.forever:
            return "forever"
        years, months = divmod(self.months, 12)
        counts = ((years, "year"), (months, "month"), (self.days, "day"), (self.hours, "hour"))
        return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count)

    @property
    def length(self) -> Fraction | float:
        """Length in days, for ordering: a month counts 146097/4800 days, forever is infinite."""
        if self.forever:
            return float("inf")
        return self.months * DAYS_A_MONTH + self.days + Fraction(self.hours, 24)

    @property
    def exact(self) -> bool:
        """Whether the period is hours alone, counted between instants and not in local days."""
        return self.hours > 0

    def after(self, day: date) -> date | None:
        """``day`` plus this calendar period, largest unit first; None where that lies beyond year 9999, or forever.

        Months land on the same day number, or on the month's last day where there is none (29 February + 1 year is
        28 February). Never decreases as ``day`` grows. Raises ValueError for periods of hours, which have no days.
        """
        if self.exact:
            raise ValueError("a period of hours is counted between instants")
        if self.forever:
            return None
        month_index = day.year * 12 + day.month - 1 + self.months
        year, month = month_index // 12, month_index % 12 + 1
        if year > date.max.year:
            return None
        landed = date(year, month, min(day.day, monthrange(year, month)[1])).toordinal() + self.days
        return date.fromordinal(landed) if landed <= date.max.toordinal() else None

    def never_shorter_than(self, other: Period) -> bool:
        """Whether a record under this period is kept at least as long as under ``other``, from whatever day.

        Calendar periods are compared from every day of a leap cycle (2024 to 2027). Hours and days are compared with a
        day to spare, because a local day may have fewer or more than 24 hours and the day of the event is not counted.
        """
        if self.forever or self == other:
            return True
        if other.forever:
            return False
        if self.exact and other.exact:
            return self.hours >= other.hours
        if self.exact:
            return all(Fraction(self.hours, 24) >= _days(other, day) + 2 for day in LEAP_CYCLE)
        if other.exact:
            return all(_days(self, day) - 1 >= Fraction(other.hours, 24) for day in LEAP_CYCLE)
        return all(_days(self, day) >= _days(other, day) for day in LEAP_CYCLE)


def _days(period: Period, day: date) -> int:
    landed = period.after(day)
    assert landed is not None, "a leap cycle of this century plus at most 200 years lies before year 9999"
    return (landed - day).days


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _iso_parts(text: str) -> list[tuple[str, str]]:
    if "." in text or "," in text:
        raise PeriodError(f'"{_short(text)}" has a fraction', "write whole numbers, in a smaller unit where needed")
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        raise PeriodError(f'"{_short(text)}" is not an ISO 8601 period', "write P5Y, P1Y6M, P90D, P2W or PT36H")
    return [(number, unit) for number, unit in zip(match.groups(), _UNITS, strict=True) if number is not None]


def _word_parts(text: str) -> list[tuple[str, str]]:
    shown = _short(text)
    if re.fullmatch(r"0*[1-9][0-9]*", text):
        raise PeriodError(f'"{shown}" has no unit', f"write {shown} days, or whichever unit is meant")
    if re.fullmatch(r"0+", text):
        raise PeriodError(f'"{shown}" is no period')
    if re.search(r"(^|\s)[-−]\s*[0-9P]", text):
        raise PeriodError(f'"{shown}" is negative')
    if re.search(r"[0-9][.,/][0-9]|[½¼¾]", text):
        raise PeriodError(f'"{shown}" has a fraction', "write whole numbers, in a smaller unit where needed")
    if _WORDS.fullmatch(text) is None:
        raise PeriodError(f'"{shown}" is not a period')
    parts: list[tuple[str, str]] = []
    for number, word in _PART.findall(text):
        unit = word.removesuffix("s")
        if unit not in _UNITS or word == unit + "ss":
            raise PeriodError(f'"{word}" is not a unit of time', "write years, months, weeks, days or hours")
        if parts and _UNITS[unit][0] >= _UNITS[parts[-1][1]][0]:
            raise PeriodError(
                f'"{shown}" is out of order', "write each unit once, the largest first, as in 1 year 6 months"
            )
        parts.append((number, unit))
    return parts
