"""Legal minimums and maximums: whether a policy keeps shorter or longer than the law allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retention.policy.clock import counting_starts
from retention.policy.condition import Condition
from retention.policy.mark import Problem
from retention.policy.period import LEAP_CYCLE, Period
from retention.policy.policy import LegalBound, Policy, Retain
from retention.policy.tags import TagMatch


def bound_problems(policies: Iterable[Policy], bounds: Iterable[LegalBound]) -> Iterator[Problem]:
    """Every policy that keeps shorter than a minimum of all its records, or longer than a maximum of the same records.

    A minimum of only some of a policy's records is no mistake: it retains those, when the policy runs. A maximum is
    broken where it is about all of the policy's records, or the policy about all of the maximum's.
    """
    bounds = tuple(bounds)
    for policy in policies:
        for bound in bounds:
            if bound.records != policy.records:
                continue
            within = _implies(policy.tags, policy.where, bound.tags, bound.where)
            around = _implies(bound.tags, bound.where, policy.tags, policy.where)
            if bound.kind == "minimum" and within and not policy.retain.period.never_shorter_than(bound.period):
                yield _problem(policy, bound, "shorter than the legal minimum", "at least")
            if bound.kind == "maximum" and (within or around) and not _never_longer(policy.retain, bound):
                yield _problem(policy, bound, "longer than the legal maximum", "at most")


def _problem(policy: Policy, bound: LegalBound, than: str, limit: str) -> Problem:
    starts = f" from {policy.retain.starts}" if policy.retain.starts else ""
    law = f'{bound.period} ("{bound.mandate}", {bound.mark})'
    message = f'the policy "{policy.name}" keeps {policy.retain.period}{starts}, {than} of {law}'
    return Problem(
        mark=policy.marks.get("retain.for", policy.mark), message=message, remedy=f"keep {limit} {bound.period}"
    )


def _never_longer(retain: Retain, bound: LegalBound) -> bool:
    """Whether no record is kept longer than the maximum allows, from whatever day; `starts` adds to the period."""
    if retain.starts is None or retain.period.forever or bound.period.forever:
        return bound.period.never_shorter_than(retain.period)
    # an exact bound, in whole local days that surely lie within it
    longest = Period(days=max(bound.period.hours // 24 - 2, 0)) if bound.period.exact else bound.period
    for day in LEAP_CYCLE:
        start = counting_starts(retain, day)
        assert start is not None, "a leap cycle of this century lies before year 9999"
        kept, allowed = retain.period.after(start), longest.after(day)
        assert kept is not None and allowed is not None, "and so do 200 years after it"
        if kept > allowed:
            return False
    return True


def _implies(
    tags: TagMatch | None, where: Condition | None, other_tags: TagMatch | None, other_where: Condition | None
) -> bool:
    """Whether every record of the first selection is surely one of the second; False where that cannot be told."""
    if other_where is not None and where != other_where:
        return False
    if other_tags is None:
        return True
    if tags is None:
        return False
    carried, any_of = set(tags.all), set(tags.any)
    one_of_any = (
        not other_tags.any or bool(carried & set(other_tags.any)) or (bool(any_of) and any_of <= set(other_tags.any))
    )
    return set(other_tags.all) <= carried and one_of_any and set(other_tags.none) <= set(tags.none)
