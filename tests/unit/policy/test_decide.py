"""Which policy decides: retention wins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.errors import NotFound
from retention.policy.decide import Decision, Fate, Record, decide
from retention.policy.load import parse_where
from retention.policy.policy import LegalBound, Policy
from retention.policy.policy_set import PolicySet
from retention.policy.tags import TagMatch

AS_OF = datetime(2026, 10, 1, tzinfo=UTC)
SALES, NOTE = TagMatch(all=("sales",)), TagMatch(all=("note",))
Make = Callable[..., Any]


@pytest.fixture
def fates(make_class: Make, make_set: Make) -> Callable[..., tuple[dict[str, str | None], Decision]]:
    def judge(*rules: Policy | LegalBound, held: bool = False, tags: set[str] | None, **values: object) -> Any:
        policies = [rule for rule in rules if isinstance(rule, Policy)]
        bounds = tuple(rule for rule in rules if isinstance(rule, LegalBound))
        record = Record(values={"created_at": None, **values}, tags=None if tags is None else frozenset(tags))
        decision = decide(record, make_class(), make_set(*policies, bounds=bounds), AS_OF, held)
        return {one.policy.name: one.fate.value if one.fate else None for one in decision.judgements}, decision

    return judge


def test_both_tags_the_longer_one_decides(fates: Make, make_policy: Make) -> None:
    both = (make_policy("sales", "5 years", tags=SALES), make_policy("notes", "90 days", tags=NOTE))
    found, decision = fates(*both, tags={"sales", "note"}, created_at=date(2025, 1, 1))
    assert found == {"sales": "not_expired", "notes": "kept_by_other"}
    assert (decision.operative, decision.kept_by, decision.due) == ("sales", ("sales",), False)
    found, decision = fates(*both, tags={"sales", "note"}, created_at=date(2019, 1, 1))
    assert found == {"sales": "due", "notes": "kept_by_other"}
    assert (decision.operative, decision.kept_by, decision.due) == ("sales", (), True)
    found, decision = fates(*both, tags={"note"}, created_at=date(2025, 1, 1))
    assert found == {"sales": None, "notes": "due"}
    found, decision = fates(*both, tags=set(), created_at=date(2000, 1, 1))
    assert found == {"sales": None, "notes": None} and decision.operative is None and not decision.due


def test_a_shorter_policy_with_another_clock_still_retains(fates: Make, make_policy: Make) -> None:
    rules = make_policy("a", "5 years"), make_policy("b", "1 year", clock="closed_at")
    found, decision = fates(*rules, tags=set(), created_at=date(2010, 1, 1), closed_at=date(2026, 1, 1))
    assert found == {"a": "kept_by_other", "b": "not_expired"}
    assert decision.operative == "a" and decision.kept_by == ("b",)


@pytest.mark.parametrize(
    ("clock", "fate"),
    [(None, "no_clock"), ("soon", "no_clock"), ("2027-01-01", "future_clock"), ("2026-09-01", "not_expired")],
)
def test_what_has_no_usable_clock_stays_and_retains(fates: Make, make_policy: Make, clock: object, fate: str) -> None:
    rules = make_policy("a", "1 year", clock="closed_at"), make_policy("b", "2 years")
    found, decision = fates(*rules, tags=set(), created_at=date(2000, 1, 1), closed_at=clock)
    assert found == {"a": fate, "b": "kept_by_other"} and not decision.due and decision.kept_by == ("a",)


def test_equal_periods_go_by_name(fates: Make, make_policy: Make) -> None:
    found, decision = fates(
        make_policy("b", "1 year"), make_policy("a", "12 months"), tags=set(), created_at=date(2000, 1, 1)
    )
    assert found == {"b": "kept_by_other", "a": "due"} and decision.operative == "a"


def test_a_hold_beats_everything(fates: Make, make_policy: Make) -> None:
    found, decision = fates(make_policy("a", "1 year"), held=True, tags=set(), created_at=date(2000, 1, 1))
    assert found == {"a": "held"} and not decision.due
    found, _ = fates(make_policy("a", "1 year"), held=True, tags=set(), created_at=date(2026, 9, 1))
    assert found == {"a": "not_expired"}


def test_minimums_retain_what_they_cover(fates: Make, make_policy: Make, make_bound: Make) -> None:
    minimum = make_bound("minimum", "3 years", tags=TagMatch(all=("complaint",)), where=parse_where("status=open"))
    policy = make_policy("a", "1 year")
    old = {"created_at": date(2025, 1, 1), "status": "open"}
    found, decision = fates(policy, minimum, tags={"complaint"}, **old)
    assert found == {"a": "kept_by_other"} and decision.minimums == (minimum,)
    assert fates(policy, minimum, tags=set(), **old)[0] == {"a": "due"}
    assert fates(policy, minimum, tags={"complaint"}, **{**old, "status": "closed"})[0] == {"a": "due"}
    assert fates(policy, minimum, tags={"complaint"}, **{**old, "created_at": date(2020, 1, 1)})[0] == {"a": "due"}
    by_closing = make_policy("a", "1 year", clock="closed_at")
    found, decision = fates(by_closing, minimum, tags={"complaint"}, status="open", closed_at=date(2000, 1, 1))
    assert found == {"a": "kept_by_other"} and decision.minimums == (minimum,), "a null clock of a minimum retains"
    maximum = make_bound("maximum", "30 days")
    assert fates(policy, maximum, tags=set(), **old)[0] == {"a": "due"}


def test_tags_that_cannot_be_read_keep_the_record(fates: Make, make_policy: Make, make_bound: Make) -> None:
    rules = make_policy("all", "1 year"), make_policy("sales", "5 years", tags=SALES)
    found, decision = fates(*rules, tags=None, created_at=date(2000, 1, 1))
    assert found == {"all": "kept_by_other", "sales": None} and not decision.due
    minimum = make_bound("minimum", "100 years", tags=SALES)
    assert fates(*rules, minimum, tags=None, created_at=date(2000, 1, 1))[1].minimums == (minimum,)


def test_hours_count_instants_and_no_dates(fates: Make, make_policy: Make) -> None:
    policy = make_policy("a", "36 hours")
    assert fates(policy, tags=set(), created_at=datetime(2026, 9, 29, 11, 59, tzinfo=UTC))[0] == {"a": "due"}
    assert fates(policy, tags=set(), created_at=datetime(2026, 9, 29, 12, 0, tzinfo=UTC))[0] == {"a": "not_expired"}
    assert fates(policy, tags=set(), created_at=date(2000, 1, 1))[0] == {"a": "no_clock"}


def test_a_class_without_a_clock_never_expires(make_policy: Make, make_class: Make, make_set: Make) -> None:
    record = Record(values={}, tags=frozenset())
    decision = decide(record, make_class(created=None), make_set(make_policy("a", "1 year")), AS_OF, False)
    assert decision.judgements[0].fate is Fate.NO_CLOCK and decision.judgements[0].clock is None


@given(
    clocks=st.lists(
        st.sampled_from([None, "2027-01-01", "2026-09-30", "2025-01-01", "2015-01-01"]), min_size=3, max_size=3
    ),
    tags=st.none() | st.sets(st.sampled_from(["sales", "note"])),
    held=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_at_most_one_policy_takes_a_record_and_only_when_all_agree(
    clocks: list[str | None], tags: set[str] | None, held: bool, fates: Make, make_policy: Make
) -> None:
    rules = [
        make_policy("a", "5 years", tags=SALES, clock="one"),
        make_policy("b", "1 year", tags=NOTE, clock="two"),
        make_policy("c", "90 days", clock="three"),
    ]
    found, decision = fates(*rules, tags=tags, held=held, **dict(zip(["one", "two", "three"], clocks, strict=True)))
    matched = {one.policy.name for one in decision.judgements if one.matched}
    assert matched == {name for name, fate in found.items() if fate is not None}
    gone = [name for name, fate in found.items() if fate in ("due", "held")]
    assert len(gone) <= 1 and ("due" not in found.values() or not held)
    agreed = bool(matched) and tags is not None and all(one.expired for one in decision.judgements if one.matched)
    assert bool(gone) is agreed and (not gone or gone == [decision.operative])


def test_a_set_finds_its_policies(make_policy: Make, make_set: Make, make_bound: Make, make_class: Make) -> None:
    sales, other = make_policy("sales", "1 year"), make_policy("other", "1 year", records="crm.calls")
    minimum = make_bound("minimum", "1 year")
    policies: PolicySet = make_set(sales, other, bounds=(minimum, make_bound("maximum", "9 years")))
    assert policies.get("sales") is sales and policies.of("crm.calls") == (other,) and policies.of("crm.x") == ()
    assert policies.minimums("crm.activities") == (minimum,) and policies.minimums("crm.calls") == ()
    with pytest.raises(NotFound) as caught:
        policies.get("slaes")
    assert caught.value.hint == 'did you mean "sales"?'
    longer = [make_policy(name, period) for name, period in product("ab", ["1 year", "2 years", "forever"])]
    for one, two in product(longer, longer):
        assert policies.outranks(one, two) is (
            (one.retain.period.length, two.name) > (two.retain.period.length, one.name)
        )
