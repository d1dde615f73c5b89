"""Clocks of SQLite, whose columns hold whatever they hold: ISO text, or numbers since 1970.

SQL text instead of expressions, because one template says it more plainly. ``{c}`` is a column, quoted and qualified;
every value is a date, a time or a number that this module wrote out itself. `policy/moment.py` is the meaning.
A column is never compared with text that looks like a number: a numeric column would turn that into a number first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

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


def is_clock(column: str, *, dates: bool, naive: bool, numbers: bool) -> str:
    """Whether the column holds a time; ``naive`` and ``numbers`` say whether the class tells what those mean."""
    number = "WHEN 'integer' THEN 1 WHEN 'real' THEN abs({c}) < 9e999" if numbers else ""
    return _filled(
        "(CASE typeof({c}) WHEN 'text' THEN CASE"
        f" WHEN {_WHOLE} OR {_MICRO} THEN {int(naive)}"
        f" WHEN {{c}} GLOB '{_D}' THEN {f'({_REAL_DATE} AND length(CAST({{c}} AS BLOB)) = 10)' if dates else '0'}"
        f" WHEN {{c}} GLOB '{_M}*' THEN ({_REAL_TIME}{'' if naive else f' AND {_ZONE} > 0'})"
        f" ELSE 0 END {number} ELSE 0 END)",
        column,
    )


def before(
    column: str, *, instant: datetime | None, wall: datetime | None, day: date | None, number: Fraction | None
) -> str:
    """Whether the column's moment lies before the bound of its kind; None: not.

    A plain comparison comes first, so that an index serves it: text of the days up to two after the bound, and numbers.
    """
    parts = []
    bounds = [one for one in (instant, wall, day) if one is not None]
    if bounds:
        latest = max(one.date() if isinstance(one, datetime) else one for one in bounds)
        exact = (
            f"(CASE WHEN {_WHOLE} THEN {_plain(wall, 'auto')} WHEN {_MICRO} THEN {_plain(wall, 'microseconds')}"
            f" WHEN {{c}} GLOB '{_D}' THEN {_day(day)} AND length(CAST({{c}} AS BLOB)) = 10"
            f" WHEN {{c}} GLOB '{_M}*' THEN (CASE WHEN {_ZONE} > 0 THEN {_text(_INSTANT, instant)}"
            f" ELSE {_text(_NAIVE, wall)} END) AND {_REAL_TIME} ELSE 0 END)"
        )
        parts.append(f"({{c}} >= '' AND {{c}} < {_after(latest)} AND typeof({{c}}) = 'text' AND {exact})")
    if number is not None:
        whole = math.ceil(number)
        parts.append(
            f"({{c}} < {whole} AND CASE typeof({{c}}) WHEN 'integer' THEN 1"
            f" WHEN 'real' THEN {{c}} < {_float(number)} AND {{c}} > -9e999 ELSE 0 END)"
        )
    return _filled(f"({{c}} IS NOT NULL AND ({' OR '.join(parts)}))", column) if parts else "0"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A bound of each kind of clock, and what to say of a time that does not lie before it."""

    label: str
    instant: datetime
    wall: datetime | None
    day: date
    number: Fraction | None


def between(column: str, edges: Sequence[Edge], below: str) -> str:
    """The label of the last of ``edges`` (in order) that the column's time does not lie before, else ``below``; of records
    that are known to have a time there.

    The time is put into one form once, and that is compared; times as applications write them are compared as they are.
    """
    walls = [(edge.label, f"'{edge.wall.isoformat(' ', 'auto')}'") for edge in edges if edge.wall is not None]
    instants = [(e.label, f"'{e.instant.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'auto')}'") for e in edges]
    days = [(edge.label, f"'{edge.day.isoformat()}'") for edge in edges]
    numbers = [(edge.label, repr(float(edge.number))) for edge in edges if edge.number is not None]
    return _filled(
        "(CASE WHEN typeof({c}) <> 'text' THEN "
        + _halved("{c}", numbers, below)
        + " WHEN length({c}) IN (19, 26) AND substr({c}, 11, 1) = ' ' AND substr({c}, -1) <> 'Z' THEN "
        + _halved("{c}", walls, below)
        + " WHEN length({c}) = 10 THEN "
        + _halved("{c}", days, below)
        + f" WHEN {_ZONE} > 0 THEN (SELECT {_halved('form.t', instants, below)} FROM (SELECT {_INSTANT} AS t LIMIT 1) AS form)"
        + f" ELSE (SELECT {_halved('form.t', walls, below)} FROM (SELECT {_NAIVE} AS t LIMIT 1) AS form) END)",
        column,
    )


def _halved(value: str, edges: Sequence[tuple[str, str]], below: str) -> str:
    if not edges:
        return f"'{below}'"
    middle = len(edges) // 2
    label, limit = edges[middle]
    lower, upper = _halved(value, edges[:middle], below), _halved(value, edges[middle + 1 :], label)
    return f"CASE WHEN {value} < {limit} THEN {lower} ELSE {upper} END"


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


def _float(value: Fraction) -> str:
    nearest = float(value)
    return repr(nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf))


def _filled(template: str, column: str) -> str:
    return template.replace("{c}", column)
