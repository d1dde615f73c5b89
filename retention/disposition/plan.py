"""What a policy would do now: every matched record counted once, by what becomes of it and why.

The plan is the run, unexecuted: the same predicate, the same as_of, the same holds; only the statement counts instead of
deleting. `fate` in `sources/predicate.py` says which reason comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from retention.disposition.held import HeldView, read_holds
from retention.policy.clock import cutoff
from retention.policy.decide import Fate
from retention.policy.policy import Policy
from retention.sources import statements
from retention.sources.census import census
from retention.sources.predicate import due, fate, kept_by, matches

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
    """matched = due + not_expired + kept_by_other + held + no_clock + future_clock, exactly."""

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
    kept_by_other: int
    held: int
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
    #: dependent table -> rows that go with the due records
    dependents: Mapping[str, int]
    #: records of the class whose tags cannot be read: never due
    unreadable_tags: int
    limits: tuple[LimitUse, ...]

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
    plans: dict[str, PolicyPlan] = {}
    uncovered: dict[str, int] = {}
    for address in dict.fromkeys(policy.records for policy in policies):
        bound = engine.checked(address)
        session = bound.source.session()
        try:
            session.begin(write=False)
            counter = _Counter(engine, session, bound, as_of)
            for policy in policies:
                if policy.records == address:
                    plans[policy.name] = counter.plan(policy)
            [(uncovered[address],)] = session.rows(statements.uncovered(bound, engine.project.policies))
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
        [(self._total,)] = session.rows(statements.total(bound))
        found = session.rows(statements.unreadable_tags(bound)) if bound.record_class.tags is not None else []
        self._unreadable = int(found[0][-1]) if found else 0

    def plan(self, policy: Policy) -> PolicyPlan:
        fates, months = self._census(policy)
        condition = due(self._bound, policy, self._policies, self._as_of, self._held)
        gone = fates[Fate.DUE.value]
        return PolicyPlan(
            policy=policy.name,
            title=policy.title,
            records=policy.records,
            as_of=self._as_of.isoformat(),
            cutoff=self._cutoff(policy),
            matched=sum(fates.values()),
            **fates,
            by_tag=self._by_tag(condition) if gone else {},
            by_month=months,
            kept_by=self._kept_by(policy) if fates[Fate.KEPT_BY_OTHER.value] else {},
            held_by=self._held_by(policy) if fates[Fate.HELD.value] else {},
            dependents=self._dependents(condition) if gone else {},
            unreadable_tags=self._unreadable,
            limits=self._limits(policy, gone),
        )

    def _census(self, policy: Policy) -> tuple[dict[str, int], dict[str, int]]:
        fates = {fate.value: 0 for fate in Fate}
        months: dict[str, int] = {}
        judged = fate(self._bound, policy, self._policies, self._as_of, self._held)
        for name, month, count in self._session.rows(census(self._bound, policy, judged, self._as_of, self._zone)):
            fates[name] += int(count)
            if name == Fate.DUE.value:
                months[month] = months.get(month, 0) + int(count)
        return fates, months

    def _by_tag(self, condition: ColumnElement[bool]) -> dict[str, int]:
        statement = statements.due_by_tag(self._bound, condition, self._policies)
        if statement is None:
            return {}
        return {tag: int(count) for tag, count in self._session.rows(statement) if count}

    def _kept_by(self, policy: Policy) -> dict[str, int]:
        return self._count_each(policy, Fate.KEPT_BY_OTHER, kept_by(self._bound, policy, self._policies, self._as_of))

    def _held_by(self, policy: Policy) -> dict[str, int]:
        return self._count_each(
            policy, Fate.HELD, {hold.id: self._view.predicate(self._holds, only=hold) for hold in self._holds.holds}
        )

    def _count_each(self, policy: Policy, what: Fate, conditions: Mapping[str, ColumnElement[bool]]) -> dict[str, int]:
        judged = fate(self._bound, policy, self._policies, self._as_of, self._held)
        within = matches(self._bound, policy, self._zone) & (judged == what.value)
        [counts] = self._session.rows(statements.count_each(self._bound, within, conditions))
        return {name: int(count) for name, count in zip(conditions, counts, strict=True) if count}

    def _dependents(self, condition: ColumnElement[bool]) -> dict[str, int]:
        found: dict[str, int] = {}
        for dependent in self._bound.dependents:
            [(count,)] = self._session.rows(statements.count_dependents(self._bound, dependent, condition))
            found[dependent.table.name] = int(count)
        return found

    def _limits(self, policy: Policy, gone: int) -> tuple[LimitUse, ...]:
        uses = []
        if policy.limits.rows is not None:
            uses.append(LimitUse(name="rows", written=str(policy.limits.rows), limit=policy.limits.rows, planned=gone))
        if policy.limits.share is not None:
            # rounded down: a share of a class is never exceeded by a fraction of a record
            most = int(self._total * policy.limits.share)
            uses.append(
                LimitUse(
                    name="share",
                    written=f"{float(policy.limits.share):.6%}".rstrip("0").rstrip("."),
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
