"""The main job, on both databases, with and without dependents."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.disposition import restore
from retention.disposition.catalogue import verify_archives
from retention.disposition.evidence import verify_ledger
from retention.disposition.plan import make_plan
from retention.disposition.run import perform, write_down
from retention.sources.postgresql import PostgresqlSource

ROWS = 6000


@pytest.mark.every_server
def test_run_takes_exactly_what_the_plan_says_and_archives_it(any_site: Any) -> None:
    any_site.fill(ROWS)
    plan = any_site.plan()
    due = any_site.due_ids(ROWS)
    assert plan.due == len(due)
    assert (
        plan.matched
        == plan.due
        + plan.not_expired
        + plan.kept_last
        + plan.kept_by_other
        + plan.held
        + plan.no_clock
        + plan.future_clock
    )
    before = any_site.ids()

    result = any_site.run()

    assert result.deleted == plan.due
    assert before - any_site.ids() == due
    engine = any_site.engine()
    report = verify_archives(engine, ("cold",))
    assert report.findings == ()
    assert report.rows == plan.due + sum(plan.dependents.values())
    assert verify_ledger(engine).findings == ()


def test_dependents_go_with_their_record_and_no_others(site: Any) -> None:
    site.fill(ROWS)
    site.run()
    left = {row[0] for row in site.rows("SELECT activity_id FROM activity_comments")}
    assert left == {i for i in range(1, ROWS + 1) if i % 2 == 0} - site.due_ids(ROWS)


@pytest.mark.parametrize(
    "path",
    [{"streams_deleted": False}, {"one_writer": True, "in_flight": 1}],
    ids=["selected, then deleted in one statement", "noted, selected, deleted"],
)
def test_postgresql_takes_the_same_by_the_paths_of_the_others(
    postgresql_site: Any, monkeypatch: pytest.MonkeyPatch, path: dict[str, object]
) -> None:
    """What is read with RETURNING here is selected where there is none; nothing else of a batch depends on it."""
    for name, value in path.items():
        monkeypatch.setattr(PostgresqlSource, name, value)
    postgresql_site.fill(ROWS)
    before, due = postgresql_site.everything(), postgresql_site.due_ids(ROWS)
    done = postgresql_site.run()
    assert set(range(1, ROWS + 1)) - postgresql_site.ids() == due
    assert postgresql_site.archived() == dict.fromkeys(due, 1)
    assert postgresql_site.findings() == []
    engine = postgresql_site.engine()
    restore.restore(engine, restore.choose(engine, run=done.run, keys=(), where=(), address=None), reason="audit")
    assert postgresql_site.everything() == before


def test_a_second_run_finds_nothing(any_site: Any) -> None:
    any_site.fill(ROWS)
    any_site.run()
    again = any_site.run()
    assert (again.deleted, again.state) == (0, "finished")


def test_a_record_of_two_policies_stays_until_both_are_over(any_site: Any) -> None:
    any_site.fill(ROWS)
    plan = any_site.plan()
    assert plan.kept_by == {"sales-records": 6}  # 1000, 2000, ..., 6000: without a closing date they never expire
    any_site.run()
    assert {1000, 2000, 3000, 4000, 5000, 6000} <= any_site.ids()


def test_limits_stop_before_the_first_deletion(any_site: Any) -> None:
    any_site.fill(ROWS)
    path = any_site.folder / "policies" / "service-notes.yaml"
    path.write_text(path.read_text() + "limits: {rows: 100}\n")
    done = any_site.cli("run", "service-notes", "--yes", "--as-of", "2026-10-01")
    assert done.returncode == 4
    assert "limit rows 100 allows 100 records, the plan has" in done.stderr
    assert len(any_site.ids()) == ROWS


def test_approval_is_asked_for_and_then_the_same_plan_runs(any_site: Any) -> None:
    any_site.fill(ROWS)
    path = any_site.folder / "policies" / "service-notes.yaml"
    path.write_text(path.read_text() + "approval: required\n")
    asked = any_site.cli("run", "service-notes", "--yes", "--json", "--as-of", "2026-10-01")
    assert asked.returncode == 4
    run = json.loads(asked.stdout)["refused"][0]["run"]
    assert len(any_site.ids()) == ROWS
    assert any_site.cli("approve", run, "--reason", "checked by the officer").returncode == 0
    done = any_site.cli("run", "service-notes", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["runs"][0]
    assert (answer["run"], answer["deleted"]) == (run, len(any_site.due_ids(ROWS)))


def test_a_run_of_several_shards_stops_between_them_and_goes_on(postgresql_site: Any) -> None:
    """As a slot's run has them, when a person goes on with it."""
    postgresql_site.fill(ROWS)
    engine, stop, as_of = postgresql_site.engine(), threading.Event(), datetime(2026, 10, 1, 2, tzinfo=UTC)
    policy = engine.project.policies.get("service-notes")
    plan = make_plan(engine, [policy], as_of).policies[0]
    with engine.control.write() as connection:
        run = write_down(engine, connection, policy, plan, as_of, [(3_000,)])
    first = perform(engine, run, progress=lambda batch: stop.set(), stop=stop)
    due = postgresql_site.due_ids(ROWS)
    assert first.state == "running"
    assert 0 < first.deleted <= len([i for i in due if i <= 3_000])
    assert postgresql_site.ids() >= set(range(3_001, ROWS + 1))
    assert postgresql_site.asked("SELECT count(*) FROM shard WHERE owner IS NOT NULL") == [(0,)]
    second = postgresql_site.run()
    assert (second.run, second.state, second.deleted) == (run.id, "finished", len(due))
    assert not due & postgresql_site.ids()
    assert postgresql_site.findings() == []


def test_a_run_as_of_a_day_to_come_is_refused(any_site: Any) -> None:
    any_site.fill(100)
    done = any_site.cli("run", "--yes", "--as-of", "2126-01-01")
    assert done.returncode == 2
    assert "lies in the future" in done.stderr
    assert len(any_site.ids()) == 100


def test_a_policy_that_cannot_run_does_not_keep_the_others_from_running(any_site: Any) -> None:
    any_site.fill(ROWS)
    (any_site.folder / "archive").mkdir()
    (any_site.folder / "archive" / "stranger.txt").write_text("not an archive of ours")
    config = any_site.config
    config.write_text(config.read_text() + '  warm: {url: "file:./warm"}\n')
    policy = any_site.folder / "policies" / "sales-records.yaml"
    policy.write_text(policy.read_text().replace("to: cold", "to: warm"))
    done = any_site.cli("run", "--yes", "--json", "--as-of", "2026-10-01")
    answer = json.loads(done.stdout)
    assert done.returncode == 3
    assert [error["policy"] for error in answer["errors"]] == ["service-notes"]
    assert [(run["policy"], run["state"]) for run in answer["runs"]] == [("sales-records", "finished")]
    assert len(any_site.ids()) == ROWS
