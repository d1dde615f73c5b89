"""What the policy language means, in plain Python: which record goes, which stays, and why.

This is the reference against which the SQL of every dialect is compared, and what `retention explain` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import reduce
from zoneinfo import ZoneInfo

from retention.policy.calendar import FIRST_INSTANT, day_start
from retention.policy.clock import Moment, expired, expires, is_future
from retention.policy.condition import Condition
from retention.policy.evaluate import holds_true, tags_match, tags_of
from retention.policy.keep_last import KeepLast, is_later, same_group
from retention.policy.moment import moment_of
from retention.policy.policy import LegalBound, Policy, Retain
from retention.policy.policy_set import PolicySet
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagMatch

__all__ = [
    "Decision",
    "Fate",
    "Judgement",
    "Record",
    "clock_moments",
    "decide",
    "expires_of",
    "holds_true",
    "moment_of",
    "tags_match",
    "tags_of",
]


class Fate(Enum):
    """Why a matched record stays, or that it goes: the first that applies, in this order (docs/design.md, "Counts")."""

    NO_CLOCK = "no_clock"
    FUTURE_CLOCK = "future_clock"
    NOT_EXPIRED = "not_expired"
    KEPT_LAST = "kept_last"
    KEPT_BY_OTHER = "kept_by_other"
    HELD = "held"
    BLOCKED = "blocked"
    DUE = "due"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record: every column by its name, and its tags; ``tags`` None means that they cannot be read."""

    values: Mapping[str, object]
    tags: frozenset[str] | None
    #: what clocks count from beyond it: `ClockPart.path` -> the values of that column in its dependents' rows, or its parent
    related: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one policy says of a record."""

    policy: Policy
    matched: bool
    #: this policy's clock: a column, or a clock that the class names
    clock: str | None
    #: what it says; the latest of several
    moment: Moment | None
    #: the first local day (for hours: the instant after) which the record is expired; None: never, or no clock
    expires: Moment | None
    expired: bool
    #: whether the policy matches, and keeps it as one of the newest of its group
    last: bool
    #: None where the policy does not match
    fate: Fate | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What all policies together say of a record."""

    judgements: tuple[Judgement, ...]
    #: legal minimums that cover the record and are not over
    minimums: tuple[LegalBound, ...]
    #: name of the policy whose archive and action apply; None where no policy matches
    operative: str | None
    #: names of the matching policies whose periods are not over, that have no clock to count from, or keep it as one of the last
    kept_by: tuple[str, ...]

    @property
    def due(self) -> bool:
        """Whether the record is to be deleted."""
        return any(judgement.fate is Fate.DUE for judgement in self.judgements)


def decide(
    record: Record,
    record_class: RecordClass,
    policies: PolicySet,
    as_of: datetime,
    held: bool,
    group: Iterable[Record] = (),
    *,
    blocked: bool = False,
) -> Decision:
    """What becomes of ``record`` at the aware ``as_of``; ``blocked``: rows refer to it that say `then: block`.

    Retention wins: a record goes only when the period of every matching policy and of every legal minimum is over, its
    tags could be read, no hold covers it, and nothing blocks it. ``group`` are at least those of the class's records that are
    in a group of a `keep_last` with it, for without them too many would seem to be among the last.
    """
    address = record_class.address
    matching = [
        policy for policy in policies.of(address) if _covers(policy.tags, policy.where, record, record_class, policies)
    ]
    clocks = {
        policy.name: _Clock(policy.retain, record, record_class, policies, as_of) for policy in policies.of(address)
    }
    minimums = tuple(
        bound
        for bound in policies.minimums(address)
        if _covers(bound.tags, bound.where, record, record_class, policies, unreadable=True)
        and not _Clock(Retain(period=bound.period), record, record_class, policies, as_of).expired
    )
    others = tuple(group)
    last = {
        policy.name: policy.retain.keep_last is not None
        and _is_among_last(record, others, policy, policy.retain.keep_last, record_class, policies, as_of)
        for policy in matching
    }
    kept_by = tuple(policy.name for policy in matching if not clocks[policy.name].expired or last[policy.name])
    operative = reduce(lambda a, b: b if policies.outranks(b, a) else a, matching).name if matching else None
    kept = bool(kept_by) or bool(minimums) or record.tags is None

    def fate(policy: Policy) -> Fate:
        clock = clocks[policy.name]
        if clock.moment is None:
            return Fate.NO_CLOCK
        if clock.is_future:
            return Fate.FUTURE_CLOCK
        if not clock.expired:
            return Fate.NOT_EXPIRED
        if last[policy.name]:
            return Fate.KEPT_LAST
        if kept or policy.name != operative:
            return Fate.KEPT_BY_OTHER
        if held:
            return Fate.HELD
        return Fate.BLOCKED if blocked else Fate.DUE

    judgements = tuple(
        Judgement(
            policy=policy,
            matched=policy in matching,
            clock=clocks[policy.name].column,
            moment=clocks[policy.name].moment,
            expires=clocks[policy.name].expires,
            expired=clocks[policy.name].expired,
            last=last.get(policy.name, False),
            fate=fate(policy) if policy in matching else None,
        )
        for policy in policies.of(address)
    )
    return Decision(judgements=judgements, minimums=minimums, operative=operative, kept_by=kept_by)


class _Clock:
    """One rule's clock on one record; what has no clock is never expired, and of several times every one must be over."""

    def __init__(
        self, retain: Retain, record: Record, record_class: RecordClass, policies: PolicySet, as_of: datetime
    ) -> None:
        zone = policies.timezone
        self.column = record_class.created if retain.clock is None else retain.clock
        moments = () if self.column is None else clock_moments(self.column, record, record_class)
        if retain.period.exact and not all(isinstance(moment, datetime) for moment in moments):
            moments = ()  # a date cannot be counted in hours: such a clock is as good as none
        ends = [expires(retain, moment, zone) for moment in moments]
        self.moment = _latest(moments, zone)
        self.expires = None if None in ends else _latest(filter(None, ends), zone)
        self.is_future = any(is_future(moment, as_of, zone) for moment in moments)
        self.expired = bool(moments) and all(expired(retain, moment, as_of, zone) for moment in moments)


def _is_among_last(
    record: Record,
    group: Iterable[Record],
    policy: Policy,
    keep: KeepLast,
    record_class: RecordClass,
    policies: PolicySet,
    as_of: datetime,
) -> bool:
    """Whether fewer than so many of its group are newer; what has no clock, or one in the future, is newer than nothing."""
    clock = record_class.created if policy.retain.clock is None else policy.retain.clock
    if clock is None or record.values[keep.per] is None:
        return True
    newer = 0
    for other in group:
        if same_group(keep, record.values, other.values) and is_later(other.values[clock], record.values[clock]):
            moment = moment_of(other.values[clock], record_class)
            told = moment is not None and not is_future(moment, as_of, policies.timezone)
            newer += told and _covers(policy.tags, policy.where, other, record_class, policies)
    return newer < keep.count


def clock_moments(clock: str, record: Record, record_class: RecordClass) -> tuple[Moment, ...]:
    """Every time that a clock of the class has on the record: none, one, or, where the latest counts, several."""
    values: list[object] = []
    for part in record_class.clock_parts(clock):
        values += (record.values[part.column],) if part.kin is None else record.related[part.path]
    moments = (moment_of(value, record_class) for value in values)
    return tuple(moment for moment in moments if moment is not None)


def expires_of(retain: Retain, record: Record, record_class: RecordClass, policies: PolicySet) -> Moment | None:
    """When a rule's period on the record is over, as `Judgement.expires` says it of a policy."""
    return _Clock(retain, record, record_class, policies, FIRST_INSTANT).expires


def _latest(moments: Iterable[Moment], zone: ZoneInfo) -> Moment | None:
    """The latest; of a day and an instant, the day counts from its beginning."""
    return max(moments, key=lambda one: one if isinstance(one, datetime) else day_start(one, zone), default=None)


def _covers(
    tags: TagMatch | None,
    where: Condition | None,
    record: Record,
    record_class: RecordClass,
    policies: PolicySet,
    *,
    unreadable: bool = False,
) -> bool:
    """Whether a rule covers the record; ``unreadable`` says whether tags that cannot be read count as asked for."""
    tagged = tags is None or (unreadable if record.tags is None else tags_match(tags, record.tags))
    return tagged and (where is None or holds_true(where, record.values, record_class, policies.timezone))
