"""Whether a condition holds for a record, and which tags it carries: the plain-Python meaning of `where` and `tags`.

Two-valued: null equals only null, and any other comparison with null is false. So a null column fulfils neither
``is x`` nor ``not x``, but it does fulfil ``none: [{column: x}]``. Text is compared by code point; case matters. Values
of different kinds (text and number, say) are never equal, and neither is below nor above the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any
from zoneinfo import ZoneInfo

from retention.policy.calendar import day_start, local_day
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, Scalar
from retention.policy.moment import moment_of, wall_instant
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagMatch, TagRules

#: what may stand around a tag in comma-separated text, and before a JSON array
TAG_SPACE = " \t\r\n"

_ORDER: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.BELOW: lt,
    Operator.ABOVE: gt,
    Operator.AT_LEAST: ge,
    Operator.AT_MOST: le,
}


def holds_true(condition: Condition, values: Mapping[str, object], record_class: RecordClass, zone: ZoneInfo) -> bool:
    """Whether a record with these column values fulfils the condition.

    ``zone`` is the policies' time zone: in it lie the days, and the times without an offset, that a condition names.
    Raises KeyError for a column that the record does not have: nothing is taken for null that was not read.
    """
    match condition:
        case AllOf(parts=parts):
            return all(holds_true(part, values, record_class, zone) for part in parts)
        case AnyOf(parts=parts):
            return any(holds_true(part, values, record_class, zone) for part in parts)
        case NoneOf(parts=parts):
            return not any(holds_true(part, values, record_class, zone) for part in parts)
        case _:
            return _compares(condition, values[condition.column], record_class, zone)


def tags_match(match: TagMatch, tags: frozenset[str] | None) -> bool:
    """Whether tags are what is asked for. Tags that cannot be read (None) match nothing, not even ``none``."""
    if tags is None:
        return False
    asked_for_any = not match.any or any(tag in tags for tag in match.any)
    return asked_for_any and all(tag in tags for tag in match.all) and not any(tag in tags for tag in match.none)


def tags_of(
    values: Mapping[str, object], record_class: RecordClass, raw: object, zone: ZoneInfo, *, is_json: bool = False
) -> frozenset[str] | None:
    """The tags of a record, or None where they cannot be read.

    ``raw`` is the value of the tag column, or the list of the join table's tags; rules need the column values alone. A
    class without a tag source carries none. ``is_json`` says that the column's type is JSON; text in any other column
    is JSON where it begins as a JSON array, object or text, else comma-separated. Null, also within a list, is no tag.
    """
    if isinstance(record_class.tags, TagRules):
        rules = record_class.tags.rules
        return frozenset(tag for tag, rule in rules if holds_true(rule, values, record_class, zone))
    if isinstance(raw, str):
        text = raw.strip(TAG_SPACE)
        if not is_json and not text.startswith(("[", "{", '"')):
            return frozenset(part for part in (piece.strip(TAG_SPACE) for piece in text.split(",")) if part)
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            return None
    if raw is None:
        return frozenset()
    if not isinstance(raw, list | tuple | set | frozenset) or not all(
        tag is None or isinstance(tag, str) for tag in raw
    ):
        return None
    return frozenset(tag for tag in raw if tag is not None)


def _compares(compare: Compare, value: object, record_class: RecordClass, zone: ZoneInfo) -> bool:
    wanted = compare.value
    if isinstance(wanted, tuple):
        equals_one = any(_equal(value, one, record_class, zone) for one in wanted)
        return equals_one if compare.operator is Operator.IN else value is not None and not equals_one
    if compare.operator is Operator.IS:
        return _equal(value, wanted, record_class, zone)
    if compare.operator is Operator.NOT:
        return value is not None and not _equal(value, wanted, record_class, zone)
    if value is None:
        return False
    if isinstance(wanted, date):  # a datetime is a date, to Python
        return _in_time(compare.operator, value, wanted, record_class, zone)
    if isinstance(wanted, str) and isinstance(value, str):
        if compare.operator is Operator.CONTAINS:
            return wanted in value
        if compare.operator is Operator.STARTS_WITH:
            return value.startswith(wanted)
        return _ORDER[compare.operator](value, wanted)
    numbers = _numbers(value, wanted)
    return numbers is not None and _ORDER[compare.operator](*numbers)


def _equal(value: object, wanted: Scalar, record_class: RecordClass, zone: ZoneInfo) -> bool:
    if value is None or wanted is None:
        return value is None and wanted is None
    if isinstance(wanted, date):
        moment = moment_of(value, record_class)
        if isinstance(wanted, datetime):
            return isinstance(moment, datetime) and moment == wall_instant(wanted, zone)
        return wanted == (local_day(moment, zone) if isinstance(moment, datetime) else moment)
    if isinstance(wanted, bool):
        # SQLite has no booleans: 0 and 1 stand for them
        return isinstance(value, int) and value == int(wanted)
    if isinstance(wanted, str):
        return isinstance(value, str) and value == wanted
    numbers = _numbers(value, wanted)
    return numbers is not None and numbers[0] == numbers[1]


def _numbers(value: object, wanted: Scalar) -> tuple[Decimal | float, Decimal | float] | None:
    """Both as numbers that compare as a database compares them: as floats where the column has floats, else exactly."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return None
    if not isinstance(value, int | float | Decimal) or not isinstance(wanted, int | float):
        return None
    if value != value:  # NaN is no number: whatever order a database gives it, no comparison holds
        return None
    return (value, float(wanted)) if isinstance(value, float) else (Decimal(value), Decimal(repr(wanted)))


def _in_time(operator: Operator, value: object, wanted: date, record_class: RecordClass, zone: ZoneInfo) -> bool:
    """``before`` and ``after``: a whole day where a date is named, an instant where a time is."""
    moment = moment_of(value, record_class)
    before = operator is Operator.BEFORE
    if moment is None:
        return False
    if not isinstance(moment, datetime):
        day = local_day(wall_instant(wanted, zone), zone) if isinstance(wanted, datetime) else wanted
        return moment < day if before else moment > day
    if isinstance(wanted, datetime):
        instant = wall_instant(wanted, zone)
        return moment < instant if before else moment > instant
    if before:
        return moment < day_start(wanted, zone)
    return wanted < date.max and moment >= day_start(wanted + timedelta(days=1), zone)
