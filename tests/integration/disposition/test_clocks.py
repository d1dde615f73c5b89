"""Clocks beyond one column: the latest of several, of dependents and of a parent, as they are when a batch deletes."""

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
OLD, NEW, FUTURE = "'2026-01-15 10:00:00'", "'2026-09-15 10:00:00'", "'2026-12-15 10:00:00'"
CLOCKS = """\
        clocks:
          last activity: {latest of: [created_at, closed_at, activity_comments.created_at]}
        parents:
          account: {table: accounts, column: account_id}
"""


@pytest.fixture
def clocked(site: Any) -> Any:
    """Ten records of 2026-01-15, notes all, of accounts 1 to 10; nothing else is set."""
    text = site.config.read_text()
    site.config.write_text(text.replace("        created: created_at\n", f"        created: created_at\n{CLOCKS}"))
    kind = "TIMESTAMPTZ" if site.dialect == "postgresql" else "DATETIME"
    tags = "'{service-note}'" if site.dialect == "postgresql" else "'[\"service-note\"]'"
    site.run_sql(
        site.url,
        f"ALTER TABLE activity_comments ADD COLUMN created_at {kind}",
        f"CREATE TABLE accounts (id INTEGER PRIMARY KEY, closed_at {kind})",
        *(
            f"INSERT INTO activity_logs (id, account_id, tags, created_at) VALUES ({one}, {one}, {tags}, {OLD})"
            for one in range(1, 11)
        ),
    )
    return site


def _comment(number: int, record: int, at: str) -> str:
    return f"INSERT INTO activity_comments VALUES ({number}, {record}, 'b', {at})"


def _fates(site: Any) -> dict[int, Fate | None]:
    """What `retention explain` says of each record."""
    found = {}
    for key in sorted(site.ids()):
        decision = explain(site.engine(), "crm.activities", str(key), AS_OF).decision
        assert decision is not None
        found[key] = {one.policy.name: one.fate for one in decision.judgements}["service-notes"]
    return found


def test_the_latest_of_a_record_and_its_comments_counts(clocked: Any) -> None:
    clocked.policy("service-notes", retain='{for: 90 days, from: "last activity"}')
    clocked.run_sql(
        clocked.url,
        f"UPDATE activity_logs SET closed_at = {NEW} WHERE id = 2",
        "UPDATE activity_logs SET created_at = NULL WHERE id IN (3, 4)",
        f"UPDATE activity_logs SET closed_at = {FUTURE} WHERE id = 5",
        *(_comment(*one) for one in ((1, 4, OLD), (2, 6, OLD), (3, 6, NEW), (4, 7, "NULL"), (5, 8, FUTURE))),
    )
    plan = clocked.plan()
    assert (plan.due, plan.not_expired, plan.no_clock, plan.future_clock) == (5, 2, 1, 2)
    assert plan.by_month == {"2026-01": 5}
    fates = _fates(clocked)
    due = {key for key, fate in fates.items() if fate is Fate.DUE}
    assert due == {1, 4, 7, 9, 10}
    assert (fates[2], fates[3], fates[5], fates[6], fates[8]) == (
        Fate.NOT_EXPIRED, Fate.NO_CLOCK, Fate.FUTURE_CLOCK, Fate.NOT_EXPIRED, Fate.FUTURE_CLOCK,
    )  # fmt: skip
    before = clocked.ids()
    assert clocked.run().deleted == 5
    assert before - clocked.ids() == due


@pytest.mark.parametrize("clock", ["last activity", "account.closed_at"])
def test_what_changed_since_the_plan_decides_in_the_batch(clocked: Any, clock: str) -> None:
    """Other tables count as they are in the batch's transaction."""
    clocked.policy("service-notes", retain=f'{{for: 90 days, from: "{clock}"}}')
    clocked.run_sql(clocked.url, *(f"INSERT INTO accounts VALUES ({one}, {OLD})" for one in range(1, 11)))
    engine = clocked.engine()
    policy = engine.project.policies.get("service-notes")
    plan = make_plan(engine, [policy], AS_OF).policies[0]
    assert plan.due == 10
    run = begin(engine, policy, plan, AS_OF)
    clocked.run_sql(
        clocked.url,
        _comment(1, 3, NEW),
        f"UPDATE accounts SET closed_at = {NEW} WHERE id = 4",
        "DELETE FROM accounts WHERE id = 5",
    )
    perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert clocked.ids() == ({3} if clock == "last activity" else {4, 5})


def test_a_parent_that_is_not_there_or_says_nothing_is_no_clock(clocked: Any) -> None:
    clocked.policy("service-notes", retain="{for: 90 days, from: account.closed_at}")
    clocked.run_sql(
        clocked.url,
        f"INSERT INTO accounts VALUES (1, {OLD}), (2, NULL), (3, {NEW}), (4, {FUTURE})",
        "UPDATE activity_logs SET account_id = NULL WHERE id = 10",
    )
    plan = clocked.plan()
    assert (plan.due, plan.not_expired, plan.no_clock, plan.future_clock) == (1, 1, 7, 1)
    fates = _fates(clocked)
    assert (fates[1], fates[2], fates[3], fates[4], fates[10]) == (
        Fate.DUE, Fate.NO_CLOCK, Fate.NOT_EXPIRED, Fate.FUTURE_CLOCK, Fate.NO_CLOCK,
    )  # fmt: skip
    assert clocked.run().deleted == 1
    assert clocked.ids() == set(range(2, 11))
