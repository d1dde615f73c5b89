"""The one builder of what may be deleted. Counting, explaining and deleting use the same expressions (P3, P7).

`policy/decide.py` says the same in plain Python; a test compares the two on generated policies, rows and holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.holds.hold import Hold
from retention.holds.scope import Everything, Keys, Matching, Subject, Tagged, WholeClass
from retention.policy.calendar import day_start
from retention.policy.clock import cutoff
from retention.policy.decide import Fate
from retention.policy.dependent import Then
from retention.policy.policy import LegalBound, Policy, Retain
from retention.policy.policy_set import PolicySet
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent, belongs_to_this, between, blocks, exists
from retention.sources.clocks import Bound, after_bound, local_spans
from retention.sources.conditions import condition_sql
from retention.sources.keep_last import is_among_last
from retention.sources.keys import key_expression, row_value
from retention.sources.record_clock import before, is_clock
from retention.sources.sql import Bool, all_of, any_of, string, temporary
from retention.sources.subject import is_subject
from retention.sources.tags import carries, readable, tags_match_sql

#: what `kept_by` calls records whose tags cannot be read
UNREADABLE = "tags that cannot be read"


def matches(bound: BoundClass, policy: Policy, zone: ZoneInfo) -> Bool:
    """Whether the policy's `tags` and `where` cover the record. ``zone`` is the policies' time zone."""
    parts: list[Bool] = []
    if policy.where is not None:
        parts.append(condition_sql(bound, policy.where, zone))
    if policy.tags is not None:
        parts.append(tags_match_sql(bound, policy.tags, zone))
    return all_of(parts)


def clock_of(bound: BoundClass, retain: Retain) -> str | None:
    """The clock from which the period counts."""
    return bound.record_class.created if retain.clock is None else retain.clock


def expired(bound: BoundClass, retain: Retain, as_of: datetime, zone: ZoneInfo) -> Bool:
    """Whether the period is over at the aware ``as_of``; false without a clock. Its first part is what an index serves."""
    clock, limit = clock_of(bound, retain), cutoff(retain, as_of, zone)
    if clock is None or limit is None:
        return sa.false()
    return before(bound, clock, Bound(instant=limit.instant, day=limit.day))


def among_last(bound: BoundClass, policy: Policy, as_of: datetime, zone: ZoneInfo) -> Bool:
    """Whether a record that the policy matches is one of the newest of its group that it keeps."""
    return is_among_last(bound, policy, lambda other: matches(other, policy, zone), as_of, zone)


def kept_by(bound: BoundClass, policy: Policy, policies: PolicySet, as_of: datetime) -> dict[str, Bool]:
    """Name -> whether it keeps a record that ``policy`` alone would let go: another policy whose period is not over, or
    that is operative instead; a legal minimum (``minimum N months: mandate``); tags that cannot be read."""
    zone = policies.timezone
    kept: dict[str, Bool] = {}
    for other in policies.of(bound.address):
        if other.name != policy.name:
            matched = matches(bound, other, zone)
            operative = policies.outranks(other, policy)
            last = among_last(bound, other, as_of, zone)
            over = expired(bound, other.retain, as_of, zone)
            kept[other.name] = matched if operative else matched & sa.or_(~over, last)
    for minimum in policies.minimums(bound.address):
        over = expired(bound, Retain(period=minimum.period), as_of, zone)
        name = f"minimum {minimum.period}: {minimum.mandate}"
        # several minimums may bear one name, for different records: each of them keeps
        kept[name] = sa.or_(kept.get(name, sa.false()), _covered(bound, minimum, zone) & ~over)
    asked = policy.tags is not None and (policy.tags.all or policy.tags.any)
    if (
        bound.record_class.tags is not None and not asked
    ):  # who carries a tag that was asked for has tags that can be read
        kept[UNREADABLE] = sa.not_(readable(bound))
    return kept


def _covered(bound: BoundClass, minimum: LegalBound, zone: ZoneInfo) -> Bool:
    """Tags that cannot be read may be those that the minimum asks for."""
    parts: list[Bool] = []
    if minimum.where is not None:
        parts.append(condition_sql(bound, minimum.where, zone))
    if minimum.tags is not None:
        parts.append(sa.or_(tags_match_sql(bound, minimum.tags, zone), sa.not_(readable(bound))))
    return all_of(parts)


def due(bound: BoundClass, policy: Policy, policies: PolicySet, as_of: datetime, held: Bool) -> Bool:
    """What the deleting statement carries: matched, expired, kept by nothing else, not held, not among the last, not blocked."""
    zone = policies.timezone
    kept = any_of(kept_by(bound, policy, policies, as_of).values())
    going = sa.and_(
        expired(bound, policy.retain, as_of, zone),
        matches(bound, policy, zone),
        sa.not_(kept),
        sa.not_(held),
        sa.not_(among_last(bound, policy, as_of, zone)),
    )
    return sa.and_(going, *(sa.not_(one) for one in blocked_by(bound).values()))


def blocked_by(bound: BoundClass) -> dict[str, Bool]:
    """Table -> whether rows of it refer to the record, or to what goes with it, so that it stays (`then: block`)."""
    blocked: dict[str, Bool] = {}
    for one in bound.blocking:
        there = exists([one.rows, *between(one)], blocks(bound, one))
        name = one.table.name
        blocked[name] = sa.or_(blocked[name], there) if name in blocked else there
    return blocked


def fate(
    bound: BoundClass,
    policy: Policy,
    policies: PolicySet,
    as_of: datetime,
    held: Bool,
    *,
    told: Mapping[Fate, sa.ColumnElement[str]] | None = None,
) -> sa.ColumnElement[str]:
    """Why a record that the policy matches stays, or that it goes: the value of a `Fate`, the first that applies.

    ``told`` says more than the value for some fates, computed for records of that fate alone.
    """
    says = {one: string(one.value) for one in Fate} | dict(told or {})
    zone, clock = policies.timezone, clock_of(bound, policy.retain)
    if clock is None:
        return says[Fate.NO_CLOCK]
    dates = not policy.retain.period.exact  # a date cannot be counted in hours: such a clock is as good as none
    # what has expired has a clock, and none in the future, and what lies before today has one: asked in this order, most
    # records are spared the other questions
    over = sa.case(
        (among_last(bound, policy, as_of, zone), says[Fate.KEPT_LAST]),
        (any_of(kept_by(bound, policy, policies, as_of).values()), says[Fate.KEPT_BY_OTHER]),
        (held, says[Fate.HELD]),
        *((one, says[Fate.BLOCKED]) for one in blocked_by(bound).values()),
        else_=says[Fate.DUE],
    )
    today = after_bound(as_of, zone)
    return sa.case(
        (expired(bound, policy.retain, as_of, zone), over),
        (before(bound, clock, today if dates else replace(today, day=None)), says[Fate.NOT_EXPIRED]),
        (is_clock(bound, clock, dates=dates), says[Fate.FUTURE_CLOCK]),
        else_=says[Fate.NO_CLOCK],
    )


def held_keys(address: str) -> str:
    """The temporary table that holds the keys of `Keys` holds on a class, in columns `held_columns`."""
    return f"held_{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def held_columns(bound: BoundClass) -> tuple[str, ...]:
    """Those of the key, in its order, and the hold's id; by place, for a key may have any names."""
    return (*(f"key_{place}" for place in range(len(bound.record_class.key))), "hold")


def held(bound: BoundClass, holds: Sequence[Hold], classes: Mapping[str, BoundClass], zone: ZoneInfo) -> Bool:
    """Whether some hold covers the record: itself, its dependents, or the record whose dependent it is.

    ``classes`` are the classes of the same source, by address. A record and its dependents stand or fall together, so a
    hold reaches over both. Keys are looked up in the temporary tables `held_keys`, which the caller has loaded for every
    class that a `Keys` hold names.
    """
    return any_of(_Held(holds, classes, zone).parts(bound, (bound.address,), above=frozenset()))


class _Held:
    """Walks from a record to its kin: up to the record whose dependent it is, down to its dependents of every level."""

    def __init__(self, holds: Sequence[Hold], classes: Mapping[str, BoundClass], zone: ZoneInfo) -> None:
        self.holds = holds
        self.classes = classes
        self.zone = zone

    def parts(self, bound: BoundClass, path: tuple[str, ...], *, above: frozenset[str]) -> Iterator[Bool]:
        """What holds a record of ``bound``. ``path``: the classes from which the walk came; a class comes twice at most
        (a record, its parent, its siblings). ``above``: the classes from which it came down, and need not climb back."""
        named: list[Hold] = []
        for hold in self.holds:
            if isinstance(hold.scope, Keys) and hold.first_day is hold.last_day is None:
                if hold.scope.records == bound.address:
                    named.append(hold)
                continue
            covered = _covers(bound, hold, self.zone)
            if covered is not None:
                yield all_of([covered, *_on_days(bound, hold, self.zone)])
        if named:  # there may be hundreds: one look-up for all of them
            yield _among_keys(bound, named)
        for address, other in self.classes.items():
            if path.count(address) > 1:
                continue
            beside = other.aliased(f"kin_{len(path)}_{address}")
            for dependent in bound.declared:
                # rows that block are records of their own; those that are detached are changed, which a hold forbids
                if dependent.then is not Then.BLOCK and _is_table(dependent, other):
                    below = replace(dependent.aliased(f"way_{len(path)}"), rows=beside.rows)
                    came = above | {bound.address} | self.passed(dependent)
                    yield from self.through(beside, path, bound, below, above=came)
            for dependent in other.dependents:
                if address not in above and _is_table(dependent, bound):
                    below = replace(dependent.aliased(f"way_{len(path)}"), rows=bound.rows)
                    yield from self.through(beside, path, beside, below, above=frozenset())

    def passed(self, dependent: BoundDependent) -> frozenset[str]:
        """The classes of the rows between a record and the dependent."""
        if dependent.parent is None:
            return frozenset()
        here = frozenset(address for address, one in self.classes.items() if _is_table(dependent.parent, one))
        return here | self.passed(dependent.parent)

    def through(
        self,
        beside: BoundClass,
        path: tuple[str, ...],
        record: BoundClass,
        dependent: BoundDependent,
        *,
        above: frozenset[str],
    ) -> Iterator[Bool]:
        """What holds a record through its kin ``beside``, where one is the ``record`` of which the other is the
        ``dependent``; nothing where no hold has to do with that."""
        covered = list(self.parts(beside, (*path, beside.address), above=above))
        if covered:
            joined = belongs_to_this(record, dependent)
            yield exists([beside.rows, *between(dependent)], sa.and_(joined, any_of(covered)))


def _is_table(dependent: BoundDependent, other: BoundClass) -> bool:
    return (dependent.table.schema, dependent.table.bare_name) == (other.table.schema, other.table.bare_name)


def _covers(bound: BoundClass, hold: Hold, zone: ZoneInfo) -> Bool | None:
    """Whether the hold's scope covers the record; None where it has nothing to do with the class."""
    match hold.scope:
        case Everything():
            return sa.true()
        case WholeClass(records=records):
            return sa.true() if records == bound.address else None
        case Tagged(tag=tag, records=named):
            if bound.address not in named:
                return None
            return sa.or_(carries(bound, tag, zone), sa.not_(readable(bound)))
        case Matching(where=where, records=named):
            return condition_sql(bound, where, zone) if bound.address in named else None
        case Subject(subject=subject, value=value):
            column = bound.record_class.subjects.get(subject)
            return None if column is None else is_subject(bound, column, value)
        case Keys(records=records):
            return _among_keys(bound, [hold]) if records == bound.address else None


def _among_keys(bound: BoundClass, holds: Sequence[Hold]) -> Bool:
    keys = temporary(bound.dialect, held_keys(bound.address), held_columns(bound))
    described = zip(bound.key_columns, keys.c, strict=False)  # after them comes the hold
    columns: list[sa.ColumnElement[Any]] = [key_expression(bound, one, column) for one, column in described]
    of_them = keys.c.hold.in_([string(hold.id) for hold in holds])
    chosen = sa.select(*columns).select_from(keys).where(of_them).correlate_except(keys)
    return row_value(list(bound.key)).in_(chosen)


def _on_days(bound: BoundClass, hold: Hold, zone: ZoneInfo) -> list[Bool]:
    """The narrowing to days of the `created` clock; a record without that clock is covered."""
    created = bound.record_class.created
    if created is None or (hold.first_day is None and hold.last_day is None):
        return []
    within: list[Bool] = []
    # the calendar's own ends narrow nothing: what lies beyond them counts to them
    if hold.first_day is not None and hold.first_day > date.min:
        within.append(
            sa.not_(before(bound, created, Bound(instant=day_start(hold.first_day, zone), day=hold.first_day)))
        )
    if hold.last_day is not None and hold.last_day < date.max:
        within.append(before(bound, created, _end_of(hold.last_day, zone)))
    return [sa.or_(sa.not_(is_clock(bound, created)), all_of(within))]


def _end_of(day: date, zone: ZoneInfo) -> Bound:
    """The end of the last stretch during which the wall shows ``day``."""
    following = day + timedelta(days=1)
    spans = local_spans(day, zone)
    return Bound(instant=spans[-1][1] if spans else day_start(following, zone), day=following)
