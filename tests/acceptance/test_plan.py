"""`retention plan`: every matched record counted once, and nothing changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

FATES = ("due", "not_expired", "kept_last", "kept_by_other", "held", "blocked", "no_clock", "future_clock")


@pytest.fixture(scope="module")
def later(demo: Retention) -> dict[str, Any]:
    """What will have expired by 2030, as JSON."""
    plan: dict[str, Any] = demo("plan", "--as-of", "2030-01-01", "--json").json
    return plan


def test_the_fields_are_those_that_machines_expect(later: dict[str, Any]) -> None:
    assert list(later) == ["policies", "uncovered"]
    assert list(later["uncovered"]) == ["crm.activities"]
    for policy in later["policies"]:
        assert {"policy", "records", "as_of", "cutoff", "matched", *FATES, "by_tag", "by_month", "limits"} <= set(
            policy
        )
        assert policy["records"] == "crm.activities"
        assert policy["as_of"] == "2029-12-31T16:00:00+00:00"  # the day begins in Asia/Shanghai


def test_every_record_is_counted_once(later: dict[str, Any]) -> None:
    for policy in later["policies"]:
        assert policy["matched"] == sum(policy[fate] for fate in FATES)
        assert policy["due"] == sum(policy["by_month"].values())
        assert policy["held"] == sum(policy["held_by"].values())
        assert (policy["blocked"], policy["blocked_by"]) == (0, {})
    cutoffs = {policy["policy"]: policy["cutoff"] for policy in later["policies"]}
    assert cutoffs == {
        "business-letters": "2023-01-01",
        "campaign-contacts": "2028-01-01",
        "sales-records": "2025-01-01",
        "service-notes": "2029-10-03",
    }
    assert sum(policy["due"] for policy in later["policies"]) > 10_000


def test_uncovered_records_and_matched_ones_are_all(demo: Retention, later: dict[str, Any]) -> None:
    [(records,)] = demo.sql("crm.db", "SELECT count(*) FROM activity_logs")
    tagged = "SELECT count(*) FROM activity_logs WHERE tags LIKE '%\"business-letter\"%'"
    [letters] = [policy for policy in later["policies"] if policy["policy"] == "business-letters"]
    assert demo.sql("crm.db", tagged)[0][0] == letters["matched"]
    assert 0 < later["uncovered"]["crm.activities"] < records


def test_one_policy_may_be_named(demo: Retention) -> None:
    plan = demo("plan", "sales-records", "--json").json
    assert [policy["policy"] for policy in plan["policies"]] == ["sales-records"]
    assert plan["policies"][0]["due"] == 0  # the demo has taken them


def test_a_person_reads_the_cutoff_as_a_date(demo: Retention) -> None:
    said = demo("plan", "sales-records", "--as-of", "2030-01-01").out
    assert "as of 2030-01-01 00:00 (Asia/Shanghai): expired is what is dated before 2025-01-01" in said
    assert "no policy covers them, so they stay" in said


def test_a_plan_changes_nothing(demo: Retention) -> None:
    def state() -> str:
        return hashlib.sha256((demo.folder / "crm.db").read_bytes()).hexdigest()

    before, entries = state(), demo.sql("retention.db", "SELECT count(*) FROM ledger")
    demo("plan", "--as-of", "2035-01-01")
    assert state() == before
    assert demo.sql("retention.db", "SELECT count(*) FROM ledger") == entries
