"""Clocks of SQLite, whose columns hold whatever they hold: ISO text or digits, as text or as bytes, or numbers.

SQL text instead of expressions, because one template says it more plainly. ``{c}`` is a column, quoted and qualified;
every value is a date, a time or a number that this module wrote out itself. `policy/moment.py` is the meaning.
A column is never compared with text that looks like a number: a numeric column would turn that into a number first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import sqlalchemy as sa

from retention.sources.clock_column import Bound, ClockColumn
from retention.sources.sql import Bool, raw

_D = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_M = f"{_D}[ T][0-9][0-9]:[0-9][0-9]"

#: characters of the zone at the end: 1 for Z, 6 for +HH:MM, 0
_ZONE = (
    "(CASE WHEN substr({c}, -1) = 'Z' THEN 1"
    " WHEN length({c}) > 16 AND substr({c}, -6) GLOB '[+-][0-9][0-9]:[0-9][0-9]' THEN 6 ELSE 0 END)"
)
#: what stands between HH:MM and the zone: nothing, :SS or :SS.fraction
_SECONDS = f"substr({{c}}, 17, length({{c}}) - 16 - {_ZONE})"
#: YYYY-MM-DD HH:MM:SS
_WALL = (
    "(substr({c}, 1, 10) || ' ' || substr({c}, 12, 5)"
    f" || CASE {_SECONDS} WHEN '' THEN ':00' ELSE substr({_SECONDS}, 1, 3) END)"
)
_MICROSECONDS = f"substr(substr({_SECONDS}, 5) || '000000', 1, 6)"

#: strftime puts dates right that do not exist ('2021-02-30' is '2021-03-02'): only what comes back unchanged is one
_REAL_DATE = "coalesce(strftime('%Y-%m-%d', {c}) = {c}, 0) AND substr({c}, 1, 4) >= '0001'"
_REAL_TIME = (
    f"coalesce(strftime('%Y-%m-%d %H:%M:%S', {_WALL}) = {_WALL}, 0)"
    " AND substr({c}, 1, 4) >= '0001' AND substr({c}, 12, 2) < '24'"
    f" AND ({_SECONDS} = '' OR {_SECONDS} GLOB ':[0-9][0-9]' OR (substr({_SECONDS}, 1, 4) GLOB ':[0-9][0-9].'"
    f" AND length({_SECONDS}) > 4 AND substr({_SECONDS}, 5) NOT GLOB '*[^0-9]*'))"
    f" AND ({_ZONE} < 6 OR (substr({{c}}, -5, 2) < '24' AND substr({{c}}, -2) < '60'))"
    # nothing after a NUL, where length() stops
    " AND length(CAST({c} AS BLOB)) = length({c})"
)

#: The two forms that applications write, told quickly: what datetime() gives back unchanged is YYYY-MM-DD HH:MM:SS, a
#: real time, without anything behind it; and the same with six digits of a second.
_WHOLE = "(datetime({c}) = {c} AND substr({c}, 12, 2) < '24' AND substr({c}, 1, 4) >= '0001')"
_MICRO = (
    "(length(CAST({c} AS BLOB)) = 26 AND substr({c}, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'"
    " AND datetime(substr({c}, 1, 19)) = substr({c}, 1, 19) AND substr({c}, 12, 2) < '24' AND substr({c}, 1, 4) >= '0001')"
)

#: UTC, with microseconds; beyond year 9999, its end
_INSTANT = (
    f"(CASE {_ZONE} WHEN 6 THEN coalesce(strftime('%Y-%m-%d %H:%M:%S', {_WALL},"
    " CASE substr({c}, -6, 1) WHEN '+' THEN '-' ELSE '+' END || substr({c}, -5)), '9999-12-31 23:59:59')"
    f" ELSE {_WALL} END || '.' || {_MICROSECONDS})"
)
_NAIVE = f"({_WALL} || '.' || {_MICROSECONDS})"

#: digits of each form, as text without affinity, and as the ISO text that they mean
_DIGIT = "[0-9]"
_DAY_OF_DIGITS = "substr({c}, 1, 4) || '-' || substr({c}, 5, 2) || '-' || substr({c}, 7, 2)"
_ISO_OF_DIGITS = {
    "YYYYMMDD": f"({_DAY_OF_DIGITS})",
    "YYYYMMDDHHMMSS": f"({_DAY_OF_DIGITS} || ' ' || substr({{c}}, 9, 2) || ':' || substr({{c}}, 11, 2)"
    " || ':' || substr({c}, 13))",
}
#: a number as its digits
_WHOLE_NUMBER = "CAST(CAST({c} AS INTEGER) AS TEXT)"


def holds(column: ClockColumn, *, dates: bool) -> Bool:
    """Whether there is a time; ``dates`` says whether a date alone is one."""
    numbers = ""
    if column.unit is not None:
        numbers = "WHEN 'integer' THEN 1 WHEN 'real' THEN abs({c}) < 9e999"
    elif column.format is not None and _digits_count(column, dates=dates):
        numbers = f"WHEN 'integer' THEN {_number_is_digits(column)} WHEN 'real' THEN {_number_is_digits(column)}"
    text = _text_holds(column, dates=dates)
    return raw(
        _filled(
            f"(CASE typeof({{c}}) WHEN 'text' THEN {text} WHEN 'blob' THEN {_as_text(text)} {numbers} ELSE 0 END)",
            column.text,
        )
    )


def _text_holds(column: ClockColumn, *, dates: bool) -> str:
    naive = column.zone is not None
    digits = ""
    if column.format is not None and _digits_count(column, dates=dates):
        digits = f" WHEN {_are_digits(column)} THEN 1"
    return (
        f"(CASE WHEN {_WHOLE} OR {_MICRO} THEN {int(naive)}"
        f" WHEN {{c}} GLOB '{_D}' THEN {f'({_REAL_DATE} AND length(CAST({{c}} AS BLOB)) = 10)' if dates else '0'}"
        f" WHEN {{c}} GLOB '{_M}*' THEN ({_REAL_TIME}{'' if naive else f' AND {_ZONE} > 0'})"
        f"{digits} ELSE 0 END)"
    )


def before(column: ClockColumn, bound: Bound) -> Bool:
    """Whether the time lies before the bound.

    A plain comparison comes first, so that an index serves it: text of the days up to two after the bound, bytes, and
    numbers.
    """
    wall, number = bound.wall(column.zone), bound.number(column.unit)
    digits = bound.digits(column.format, column.zone)
    parts = []
    bounds = [one for one in (bound.instant, wall, bound.day) if one is not None]
    if bounds:
        latest = max(one.date() if isinstance(one, datetime) else one for one in bounds)
        exact = _text_before(column, bound, wall, digits)
        above = _after(latest) if digits is None else _after_year(latest)
        parts.append(f"({{c}} >= '' AND {{c}} < {above} AND typeof({{c}}) = 'text' AND {exact})")
        parts.append(f"({{c}} >= x'' AND typeof({{c}}) = 'blob' AND {_as_text(exact)})")
    if number is not None:
        whole = math.ceil(number)
        parts.append(
            f"({{c}} < {whole} AND CASE typeof({{c}}) WHEN 'integer' THEN 1"
            f" WHEN 'real' THEN {{c}} < {_float(number)} AND {{c}} > -9e999 ELSE 0 END)"
        )
    elif digits is not None:
        number_of = f"typeof({{c}}) IN ('integer', 'real') AND {_number_is_digits(column)}"
        parts.append(f"({{c}} < {math.ceil(Fraction(digits))} AND {number_of})")
    return raw(_filled(f"({{c}} IS NOT NULL AND ({' OR '.join(parts)}))", column.text) if parts else "0")


def _text_before(column: ClockColumn, bound: Bound, wall: datetime | None, digits: str | None) -> str:
    of_digits = "" if digits is None else f" WHEN {_are_digits(column)} THEN substr({{c}}, 1) < '{digits}'"
    return (
        f"(CASE WHEN {_WHOLE} THEN {_plain(wall, 'auto')} WHEN {_MICRO} THEN {_plain(wall, 'microseconds')}"
        f" WHEN {{c}} GLOB '{_D}' THEN {_day(bound.day)} AND length(CAST({{c}} AS BLOB)) = 10"
        f" WHEN {{c}} GLOB '{_M}*' THEN (CASE WHEN {_ZONE} > 0 THEN {_text(_INSTANT, bound.instant)}"
        f" ELSE {_text(_NAIVE, wall)} END) AND {_REAL_TIME}{of_digits} ELSE 0 END)"
    )


def between(column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> sa.ColumnElement[str]:
    """The label of the last of ``edges`` (in order) that the time does not lie before, else ``below``; of records that
    are known to have a time there.

    The time is put into one form once, and that is compared; times as applications write them are compared as they are.
    """
    told = [(label, bound) for label, bound in edges if bound.instant is not None and bound.day is not None]
    counts = [(label, bound.number(column.unit)) for label, bound in told]
    numbers = [(label, repr(float(count))) for label, count in counts if count is not None]
    text = _text_between(column, told, below)
    number = _halved("{c}", numbers, below)
    if column.format is not None:
        digits = [
            (label, one) for label, bound in told if (one := bound.digits(column.format, column.zone)) is not None
        ]
        number = _halved("{c}", [(label, str(math.ceil(Fraction(one)))) for label, one in digits], below)
        of_digits = _halved("substr({c}, 1)", [(label, f"'{one}'") for label, one in digits], below)
        text = f"(CASE WHEN instr({{c}}, '-') = 0 THEN {of_digits} ELSE {text} END)"
    return raw(
        _filled(
            f"(CASE typeof({{c}}) WHEN 'text' THEN {text} WHEN 'blob' THEN {_as_text(text)} ELSE {number} END)",
            column.text,
        )
    )


def _text_between(column: ClockColumn, edges: Sequence[tuple[str, Bound]], below: str) -> str:
    walls = [(label, f"'{wall.isoformat(' ', 'auto')}'") for label, bound in edges if (wall := bound.wall(column.zone))]
    instants = [
        (label, f"'{at.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'auto')}'")
        for label, bound in edges
        if (at := bound.instant)
    ]
    days = [(label, f"'{bound.day.isoformat()}'") for label, bound in edges if bound.day]
    return (
        "(CASE WHEN length({c}) IN (19, 26) AND substr({c}, 11, 1) = ' ' AND substr({c}, -1) <> 'Z' THEN "
        + _halved("{c}", walls, below)
        + " WHEN length({c}) = 10 THEN "
        + _halved("{c}", days, below)
        + f" WHEN {_ZONE} > 0 THEN (SELECT {_halved('form.t', instants, below)} FROM (SELECT {_INSTANT} AS t LIMIT 1) AS form)"
        + f" ELSE (SELECT {_halved('form.t', walls, below)} FROM (SELECT {_NAIVE} AS t LIMIT 1) AS form) END)"
    )


def _halved(value: str, edges: Sequence[tuple[str, str]], below: str) -> str:
    if not edges:
        return f"'{below}'"
    middle = len(edges) // 2
    label, limit = edges[middle]
    lower, upper = _halved(value, edges[:middle], below), _halved(value, edges[middle + 1 :], label)
    return f"CASE WHEN {value} < {limit} THEN {lower} ELSE {upper} END"


def _as_text(template: str) -> str:
    """The same of bytes, as the text that they are."""
    return _filled(template, "CAST({c} AS TEXT)")


def _digits_count(column: ClockColumn, *, dates: bool) -> bool:
    """Whether digits are a time: dates where these count, times where the class has a zone."""
    return dates if column.format == "YYYYMMDD" else column.zone is not None


def _are_digits(column: ClockColumn) -> str:
    """Whether text is digits of the class's format that are a day or a time."""
    assert column.format is not None, "only a class with a format asks"
    length = len(column.format)
    return (
        f"({{c}} GLOB '{_DIGIT * length}' AND length(CAST({{c}} AS BLOB)) = {length} AND {_real_digits(column, '{c}')})"
    )


def _number_is_digits(column: ClockColumn) -> str:
    """The same of a number."""
    assert column.format is not None, "only a class with a format asks"
    glob = f"{_WHOLE_NUMBER} GLOB '{_DIGIT * len(column.format)}'"
    return f"({{c}} = CAST({{c}} AS INTEGER) AND {glob} AND {_real_digits(column, _WHOLE_NUMBER)})"


def _real_digits(column: ClockColumn, digits: str) -> str:
    """Whether they are a day and hour that there are: strftime puts right what is not."""
    assert column.format is not None, "only a class with a format asks"
    iso = _filled(_ISO_OF_DIGITS[column.format], digits)
    form = "%Y-%m-%d" if column.format == "YYYYMMDD" else "%Y-%m-%d %H:%M:%S"
    hours = "" if column.format == "YYYYMMDD" else f" AND substr({digits}, 9, 2) < '24'"
    return f"coalesce(strftime('{form}', {iso}) = {iso}, 0) AND substr({digits}, 1, 4) >= '0001'{hours}"


def _day(day: date | None) -> str:
    return "0" if day is None else f"({{c}} < '{day.isoformat()}' AND {_REAL_DATE})"


def _text(form: str, bound: datetime | None) -> str:
    if bound is None:
        return "0"
    naive = bound if bound.tzinfo is None else bound.astimezone(UTC).replace(tzinfo=None)
    return f"{form} < '{naive.isoformat(' ', 'microseconds')}'"


def _plain(wall: datetime | None, precision: str) -> str:
    """The comparison of text in one of the quick forms. A bound with a fraction is longer than text of whole seconds,
    and sorts behind the second that both begin with: as the times do."""
    return "0" if wall is None else f"{{c}} < '{wall.isoformat(' ', precision)}'"


def _after(day: date) -> str:
    """A text above every text whose local day lies before ``day`` in any zone; '~' is above every digit."""
    return f"'{(day + timedelta(days=2)).isoformat()}'" if day <= date.max - timedelta(days=2) else "'~'"


def _after_year(day: date) -> str:
    """The same, of text in ISO form and of digits."""
    return f"'{day.year:04}~'"


def _float(value: Fraction) -> str:
    nearest = float(value)
    return repr(nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf))


def _filled(template: str, column: str) -> str:
    return template.replace("{c}", column)
