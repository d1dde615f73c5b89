"""What a policy would do now: every matched record counted once, by what becomes of it and why.

The plan is the run, unexecuted: the same predicate, the same as_of, the same holds; only the statement counts instead of
deleting. `fate` in `sources/predicate.py` says which reason comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from retention.disposition.held import HeldView, read_holds, refuse_damaged
from retention.policy.clock import cutoff
from retention.policy.decide import Fate
from retention.policy.dependent import Then
from retention.policy.policy import Policy
from retention.policy.tags import TagColumn
from retention.sources import statements
from retention.sources.census import Counted, census
from retention.sources.missing_index import missing_indexes
from retention.sources.predicate import due

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from retention.disposition.engine import Engine
    from retention.sources.bound_class import BoundClass
    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """How much of a limit the plan uses: ``planned`` of at most ``limit`` records."""

    name: str
    written: str
    limit: int
    planned: int

    @property
    def exceeded(self) -> bool:
        """Whether the plan is larger than the limit."""
        return self.planned > self.limit


@dataclass(frozen=True, kw_only=True)
class PolicyPlan:
    """matched = due + not_expired + kept_last + kept_by_other + held + blocked + no_clock + future_clock, exactly."""

    policy: str
    title: str
    records: str
    #: UTC, ISO
    as_of: str
    #: the first local day whose records stay ("2021-10-01"), or the instant for periods of hours; None: nothing ever expires
    cutoff: str | None
    matched: int
    due: int
    not_expired: int
    #: expired, and kept as the newest of their groups
    kept_last: int
    kept_by_other: int
    held: int
    blocked: int
    no_clock: int
    future_clock: int
    #: due records by tag; a record with two tags counts under both
    by_tag: Mapping[str, int]
    #: due records by the local month of their clock, "2019-03"; what is older than twenty years under "earlier"
    by_month: Mapping[str, int]
    #: other policy or minimum -> how many of the records that `kept_by_other` counts it keeps
    kept_by: Mapping[str, int]
    #: hold id -> how many of the records that `held` counts it covers
    held_by: Mapping[str, int]
    #: table -> how many of the records that `blocked` counts its rows block
    blocked_by: Mapping[str, int]
    #: dependent table -> rows that go with the due records
    dependents: Mapping[str, int]
    #: dependent table -> rows that stay and are detached from the due records
    detached: Mapping[str, int]
    #: records of the class that this policy does not match
    unmatched: int
    #: of these, those whose tags cannot be read: never due
    unreadable_tags: int
    limits: tuple[LimitUse, ...]
    #: statements that make indexes which dependents lack, ready to paste
    missing_indexes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as `plan --json` prints them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plans of several policies over one state of each class, and what no policy covers."""

    policies: tuple[PolicyPlan, ...]
    #: class address -> records that no policy matches: kept
    uncovered: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """``{"policies": [...], "uncovered": {class: n}}``."""
        return {"policies": [policy.to_json() for policy in self.policies], "uncovered": dict(self.uncovered)}


def make_plan(engine: Engine, policies: Sequence[Policy], as_of: datetime) -> Plan:
    """Count what each policy would do at ``as_of`` (aware). Changes nothing. Raises what binding and reading raise."""
    refuse_damaged(engine)
    plans: dict[str, PolicyPlan] = {}
    uncovered: dict[str, int] = {}
    for address in dict.fromkeys(policy.records for policy in policies):
        bound = engine.deletable(address)
        session = bound.source.session()
        try:
            session.begin(write=False)
            counter = _Counter(engine, session, bound, as_of)
            made = [counter.plan(policy) for policy in policies if policy.records == address]
            plans |= {one.policy: one for one in made}
            uncovered[address] = counter.uncovered(made)
        finally:
            session.close()
    return Plan(policies=tuple(plans[policy.name] for policy in policies), uncovered=uncovered)


class _Counter:
    """Counts the policies of one class on one state of it."""

    def __init__(self, engine: Engine, session: Session, bound: BoundClass, as_of: datetime) -> None:
        self._policies = engine.project.policies
        self._zone = engine.project.policies.timezone
        self._session = session
        self._bound = bound
        self._as_of = as_of
        self._holds = read_holds(engine)
        self._view = HeldView(engine, session, bound)
        self._held = self._view.predicate(self._holds)

    def uncovered(self, plans: Sequence[PolicyPlan]) -> int:
        """Records that no policy of the class matches; where there is one policy, its plan knows it."""
        if len(self._policies.of(self._bound.address)) == len(plans) == 1:
            return plans[0].unmatched
        [(count,)] = self._session.rows(statements.uncovered(self._bound, self._policies))
        return int(count)

    def plan(self, policy: Policy) -> PolicyPlan:
        counted = census(
            self._session,
            self._bound,
            policy,
            self._policies,
            self._as_of,
            self._held,
            each_held={hold.id: self._view.predicate(self._holds, only=hold) for hold in self._holds.holds},
        )
        fates = {fate.value: sum(one.records for one in counted if one.fate is fate) for fate in Fate}
        unmatched = sum(one.records for one in counted if one.fate is None)
        total = unmatched + sum(fates.values())
        gone = fates[Fate.DUE.value]
        condition = due(self._bound, policy, self._policies, self._as_of, self._held)
        return PolicyPlan(
            policy=policy.name,
            title=policy.title,
            records=policy.records,
            as_of=self._as_of.isoformat(),
            cutoff=self._cutoff(policy),
            matched=sum(fates.values()),
            **fates,
            by_tag=self._by_tag(counted, condition) if gone else {},
            by_month=_sums((one.month, one.records) for one in counted if one.month is not None),
            kept_by=_sums(_reasons(counted, Fate.KEPT_BY_OTHER)),
            held_by=_sums(_reasons(counted, Fate.HELD)),
            blocked_by=_sums(_reasons(counted, Fate.BLOCKED)),
            dependents=self._dependents(condition, detached=False) if gone else {},
            detached=self._dependents(condition, detached=True) if gone else {},
            unmatched=unmatched,
            unreadable_tags=sum(one.records for one in counted if one.unreadable),
            limits=self._limits(policy, gone, total),
            missing_indexes=tuple(one.statement for one in missing_indexes(self._bound)),
        )

    def _by_tag(self, counted: Sequence[Counted], condition: ColumnElement[bool]) -> dict[str, int]:
        if isinstance(self._bound.record_class.tags, TagColumn):
            return _sums((tag, one.records) for one in counted for tag in one.tags)
        statement = statements.due_by_tag(self._bound, condition, self._policies)
        return {} if statement is None else _sums((tag, int(count)) for tag, count in self._session.rows(statement))

    def _dependents(self, condition: ColumnElement[bool], *, detached: bool) -> dict[str, int]:
        found: dict[str, int] = {}
        for dependent in self._bound.changed:
            if (dependent.then is Then.DETACH) is detached:
                [(count,)] = self._session.rows(statements.count_dependents(self._bound, dependent, condition))
                found[dependent.table.name] = int(count)
        return found

    def _limits(self, policy: Policy, gone: int, total: int) -> tuple[LimitUse, ...]:
        uses = []
        if policy.limits.rows is not None:
            uses.append(LimitUse(name="rows", written=str(policy.limits.rows), limit=policy.limits.rows, planned=gone))
        if policy.limits.share is not None:
            # rounded down: a share of a class is never exceeded by a fraction of a record
            most = int(total * policy.limits.share)
            uses.append(
                LimitUse(
                    name="share",
                    written=f"{float(policy.limits.share) * 100:.6f}".rstrip("0").rstrip(".") + "%",
                    limit=most,
                    planned=gone,
                )
            )
        return tuple(uses)

    def _cutoff(self, policy: Policy) -> str | None:
        found = cutoff(policy.retain, self._as_of, self._zone)
        if found is None:
            return None
        return found.instant.isoformat() if found.day is None else found.day.isoformat()


def _reasons(counted: Iterable[Counted], fate: Fate) -> Iterator[tuple[str, int]]:
    return ((reason, one.records) for one in counted if one.fate is fate for reason in one.reasons)


def _sums(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The counts of each name added up, in the order of the names; nothing for what is not there."""
    found: Counter[str] = Counter()
    for name, count in counts:
        found[name] += count
    return {name: found[name] for name in sorted(found) if found[name]}
