"""The newest of each group stay, whatever their age and whatever batches and others do meanwhile."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.disposition.explain import explain
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.policy.decide import Fate

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
ACCOUNTS, EACH = 4, 60

pytestmark = pytest.mark.every_server


@pytest.fixture
def grouped(plain_site: Any) -> Any:
    """Notes of four accounts, sixty each, one a day, all expired; their keys run against time: the least is the newest.
    Three more have no account, and two of account 0 are of one moment."""
    site = plain_site
    tags = "'{service-note}'" if site.dialect == "postgresql" else "'[\"service-note\"]'"
    rows = [
        f"({day * ACCOUNTS + account + 10}, {account}, {tags}, '2025-{12 - day // 28:02}-{28 - day % 28:02} 10:00:00')"
        for day in range(EACH)
        for account in range(ACCOUNTS)
    ]
    rows += [f"({key}, NULL, {tags}, '2020-01-01 10:00:00')" for key in (1, 2, 3)]
    rows += [f"(4, 0, {tags}, '2025-12-28 10:00:00')"]
    site.run_sql(site.url, f"INSERT INTO activity_logs (id, account_id, tags, created_at) VALUES {', '.join(rows)}")
    site.policy("service-notes", retain="{for: 90 days, keep_last: 2, per: customer}")
    return site


#: 10 to 13 are the newest of each account, 14 to 17 the next; 4 is as old as 10; 1 to 3 have no account
STAY = {1, 2, 3, 4, *range(10, 18)} - {14}
ALL = ACCOUNTS * EACH + 4


def test_a_plan_says_how_many_and_a_run_leaves_just_these(grouped: Any) -> None:
    plan = grouped.plan()
    assert (plan.matched, plan.kept_last, plan.due) == (ALL, len(STAY), ALL - len(STAY))
    assert plan.matched == (
        plan.due
        + plan.not_expired
        + plan.kept_last
        + plan.kept_by_other
        + plan.held
        + plan.no_clock
        + plan.future_clock
    )
    told = explain(grouped.engine(), "crm.activities", "10", AS_OF)
    assert told.decision is not None
    assert told.decision.judgements[1].fate is Fate.KEPT_LAST
    assert told.outcome == "It is kept: service-notes keeps the last of each group, and it is one of them."
    older = explain(grouped.engine(), "crm.activities", "14", AS_OF).decision
    assert older is not None and older.due
    assert grouped.run().deleted == plan.due
    assert grouped.ids() == STAY
    assert grouped.plan().kept_last == len(STAY)
    assert grouped.run().deleted == 0


def test_batches_that_delete_others_of_the_group_change_nothing(grouped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small batches, in the order of keys: newest first."""
    monkeypatch.setattr("retention.disposition.windows.FIRST_ROWS", 7)
    monkeypatch.setattr("retention.disposition.windows.MOST_ROWS", 7)
    result = grouped.run()
    assert result.batches > 10
    assert grouped.ids() == STAY


def test_a_newer_record_that_somebody_else_deleted_since_the_plan_lets_more_stay(grouped: Any) -> None:
    engine = grouped.engine()
    policy = engine.project.policies.get("service-notes")
    run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
    grouped.run_sql(grouped.url, "DELETE FROM activity_logs WHERE id IN (4, 10, 11)")
    perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    # of account 0 its next two, of account 1 one more
    assert grouped.ids() == STAY - {4, 10, 11} | {14, 18, 19}


def test_another_policy_cannot_take_the_last(grouped: Any) -> None:
    """Retention wins: the operative policy is another one, and keeps none."""
    tags = "'{service-note,sales}'" if grouped.dialect == "postgresql" else '\'["service-note","sales"]\''
    grouped.run_sql(grouped.url, f"UPDATE activity_logs SET tags = {tags}")
    grouped.policy("sales-records", retain="{for: 100 days}")
    plan = grouped.plan("sales-records")
    assert (plan.due, plan.kept_by) == (ALL - len(STAY), {"service-notes": len(STAY)})
    grouped.run("sales-records")
    assert grouped.ids() == STAY


def test_what_has_no_clock_or_a_future_one_or_is_not_matched_is_newer_than_nothing(grouped: Any) -> None:
    no_tag = "'{}'" if grouped.dialect == "postgresql" else "'[]'"
    grouped.run_sql(
        grouped.url,
        "UPDATE activity_logs SET created_at = NULL WHERE id = 11",
        "UPDATE activity_logs SET created_at = '2027-01-01 10:00:00' WHERE id = 12",
        f"UPDATE activity_logs SET tags = {no_tag} WHERE id = 13",
    )
    grouped.run()
    assert grouped.ids() == STAY | {19, 20, 21}
