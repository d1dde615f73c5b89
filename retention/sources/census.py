"""Counting a policy's records by what becomes of them, and the due ones by the local month of their clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.calendar import local_day
from retention.policy.decide import Fate
from retention.policy.evaluate import tags_of
from retention.policy.policy import Policy
from retention.policy.policy_set import PolicySet
from retention.policy.tags import TagColumn
from retention.sources.bound_class import BoundClass
from retention.sources.clocks import day_bound
from retention.sources.mariadb_types import in_utf8, text_of
from retention.sources.predicate import blocked_by, clock_of, fate, kept_by, matches
from retention.sources.record_clock import between
from retention.sources.sql import Bool, raw, string
from retention.sources.table import Kind
from retention.sources.tags import readable

if TYPE_CHECKING:
    from retention.sources.source import Session

#: how far back months are told apart; what is older counts as "earlier"
YEARS = 20
EARLIER = "earlier"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """So many records of one fate: due ones by month and tags, kept and held ones by what keeps and holds them."""

    #: None: the policy does not match them
    fate: Fate | None
    records: int
    #: not matched, and their tags cannot be read
    unreadable: bool = False
    #: of a due record's clock: "2019-03", or "earlier"
    month: str | None = None
    #: a due record's, where the class's tags stand in a column
    tags: frozenset[str] = frozenset()
    #: names from ``kept``, ``held`` or ``blocked``, of a kept, held or blocked record
    reasons: tuple[str, ...] = ()


def census(
    session: Session,
    bound: BoundClass,
    policy: Policy,
    policies: PolicySet,
    as_of: datetime,
    held: Bool,
    *,
    each_held: Mapping[str, Bool],
) -> list[Counted]:
    """Count every record of the class, once, in one pass. ``each_held`` tells holds apart, by name."""
    kept, blocked = kept_by(bound, policy, policies, as_of), blocked_by(bound)
    clock = clock_of(bound, policy.retain)
    month = string("") if clock is None else month_of(bound, clock, as_of, policies.timezone)
    told = fate(
        bound,
        policy,
        policies,
        as_of,
        held,
        told={
            Fate.KEPT_BY_OTHER: _after(Fate.KEPT_BY_OTHER, _positions(kept.values())),
            Fate.HELD: _after(Fate.HELD, _positions(each_held.values())),
            Fate.BLOCKED: _after(Fate.BLOCKED, _positions(blocked.values())),
            Fate.DUE: _after(Fate.DUE, month),
        },
    )
    matched = sa.case(
        (matches(bound, policy, policies.timezone), told),
        (readable(bound), string(_UNMATCHED)),
        else_=string(_UNREADABLE),
    )
    judged = sa.select(matched.label("told"), _tags_value(bound).label("tags")).select_from(bound.rows)
    if bound.dialect != "postgresql":
        # a LIMIT, however high, keeps the others from putting the expression into SELECT and GROUP BY, computed twice
        judged = judged.limit(raw(str(2**63 - 1)))
    else:
        # the planner takes the clocks' number of distinct values for the words', and would sort every row
        session.execute("SET LOCAL enable_sort = off")
    once = judged.subquery("judged")
    is_due = sa.func.substr(once.c.told, 1, len(Fate.DUE.value)) == string(Fate.DUE.value)
    tags = sa.case((is_due, once.c.tags))
    grouped = sa.select(once.c.told, tags.label("tags"), sa.func.count().label("records")).group_by(once.c.told, tags)
    each = grouped.subquery("each")
    rows = session.rows(sa.select(each.c.told, _tags_text(bound, each.c.tags), each.c.records))
    names = {Fate.KEPT_BY_OTHER: list(kept), Fate.HELD: list(each_held), Fate.BLOCKED: list(blocked)}
    return [_counted(bound, text, tags or "", int(count), names) for text, tags, count in rows]


_UNMATCHED, _UNREADABLE = "unmatched", "unreadable"
_SEPARATOR = "|"


def _after(one: Fate, more: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    return string(one.value + _SEPARATOR).concat(more)


def _positions(conditions: Iterable[Bool]) -> sa.ColumnElement[str]:
    """The positions of the true ones, each followed by a comma."""
    joined: sa.ColumnElement[str] = string("")
    for place, condition in enumerate(conditions):
        joined = joined.concat(sa.case((condition, string(f"{place},")), else_=string("")))
    return joined


def _tags_value(bound: BoundClass) -> sa.ColumnElement[Any]:
    """The tag column as it can be grouped by, byte for byte; null where the tags do not stand in a column."""
    source = bound.record_class.tags
    if not isinstance(source, TagColumn):
        return sa.null()
    if bound.dialect == "sqlite":
        return sa.cast(bound.column(source.column), sa.Text()).collate("BINARY")
    if bound.dialect == "mysql":
        return text_of(bound.column(source.column))
    kind = "text[]" if bound.described(source.column).kind is Kind.TEXT_ARRAY else "text"
    return raw(f'{bound.text(source.column)}::{kind} COLLATE "C"')


def _tags_text(bound: BoundClass, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The tags as text that `tags_of` reads."""
    source = bound.record_class.tags
    if isinstance(source, TagColumn) and bound.described(source.column).kind is Kind.TEXT_ARRAY:
        return sa.cast(sa.func.to_json(value), sa.Text())
    if isinstance(source, TagColumn) and bound.dialect == "mysql":
        return in_utf8(value)
    return value


def _counted(bound: BoundClass, text: str, tags: str, count: int, names: Mapping[Fate, list[str]]) -> Counted:
    name, _, more = text.partition(_SEPARATOR)
    if name in (_UNMATCHED, _UNREADABLE):
        return Counted(fate=None, records=count, unreadable=name == _UNREADABLE)
    one = Fate(name)
    if one is Fate.DUE:
        return Counted(fate=one, records=count, month=more or None, tags=_tags(bound, tags))
    reasons = tuple(names[one][int(place)] for place in more.split(",") if place)
    return Counted(fate=one, records=count, reasons=reasons)


def _tags(bound: BoundClass, text: str) -> frozenset[str]:
    source = bound.record_class.tags
    if not text or not isinstance(source, TagColumn):
        return frozenset()
    is_json = bound.described(source.column).kind in (Kind.JSON, Kind.TEXT_ARRAY)
    found = tags_of({}, bound.record_class, text, ZoneInfo("UTC"), is_json=is_json)
    assert found is not None, "a record whose tags cannot be read is never due"
    return found


def month_of(bound: BoundClass, clock: str, as_of: datetime, zone: ZoneInfo) -> sa.ColumnElement[str]:
    """The local month of the clock, "2019-03", or "earlier"; of records that have a clock."""
    today = local_day(as_of, zone)
    last = today.year * 12 + today.month - 1
    starts = [date(index // 12, index % 12 + 1, 1) for index in range(max(last - YEARS * 12, 12), last + 1)]
    return between(bound, clock, [(f"{start:%Y-%m}", day_bound(start, zone)) for start in starts], EARLIER)
