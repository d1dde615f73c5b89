"""Which policies were in force, whom a plan was shown to, and what holds refused: all of it stands in the ledger."""

from __future__ import annotations

import json
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retention.disposition import holding
from retention.disposition.clock import NotYet
from retention.disposition.plan import make_plan
from retention.disposition.run import approve, begin, check_as_of, perform, unfinished
from retention.errors import InputError, NotFound, Refused
from retention.holds.scope import Keys, Tagged
from retention.ledger import runs

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
CLASS = "crm.activities"
ROWS = 20_000
RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")


def digests(site: Any) -> list[str]:
    return [fact["set_digest"] for fact in site.facts("policies.changed")]


def test_the_ledger_says_when_the_policies_changed_and_only_then(sqlite_site: Any) -> None:
    sqlite_site.fill(60)
    sqlite_site.run()
    [first] = digests(sqlite_site)
    [fact] = sqlite_site.facts("policies.changed")
    assert fact["periods"] == {"sales-records": "5 years", "service-notes": "90 days"}
    assert fact["policies"] == {p.name: p.digest for p in sqlite_site.engine().project.policies.policies}

    sqlite_site.run("sales-records")
    path = sqlite_site.folder / "policies" / "service-notes.yaml"
    path.write_text("# a comment means nothing\n" + path.read_text())
    sqlite_site.run()
    assert digests(sqlite_site) == [first]

    sqlite_site.policy("service-notes", retain="{for: 80 days}")
    sqlite_site.run("sales-records")  # any run says so, for every policy decides about every record
    sqlite_site.run()
    assert len(digests(sqlite_site)) == 2
    assert sqlite_site.facts("policies.changed")[-1]["periods"]["service-notes"] == "80 days"

    sqlite_site.policy("service-notes", retain="{for: 90 days}")
    sqlite_site.run()
    assert digests(sqlite_site)[0] == digests(sqlite_site)[2] == first
    assert sqlite_site.findings() == []


def test_an_interrupted_run_under_changed_policies_is_cancelled_and_planned_anew(any_site: Any) -> None:
    any_site.fill(ROWS)
    died = any_site.cli(*RUN, env={"RETENTION_FAILPOINTS": "batch.after-commit=kill"})
    assert died.returncode == -signal.SIGKILL
    done = ROWS - len(any_site.ids())
    assert 0 < done < len(any_site.due_ids(ROWS))
    any_site.policy("service-notes", retain="{for: 10 years}")

    result = any_site.run()

    assert (result.deleted, ROWS - len(any_site.ids())) == (0, done)
    [(old, state, reason), (new, finished, _)] = any_site.asked("SELECT id, state, reason FROM run ORDER BY created_at")
    assert (state, reason, finished, new) == ("cancelled", "the policies changed meanwhile", "finished", result.run)
    # what it had done stands, with the proof
    assert any_site.archived().total() == done
    assert any_site.findings() == []
    assert old != new


def test_deletions_that_holds_refused_are_evidence(any_site: Any) -> None:
    any_site.fill(60)
    one = holding.place(
        any_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=2), keys=["15", "16"]
    ).hold
    two = holding.place(
        any_site.engine(), matter="M-2", reason="audit", scope=Tagged(tag="service-note", records=(CLASS,))
    ).hold
    result = any_site.run()
    assert (result.deleted, result.held) == (0, 4)
    [fact] = any_site.facts("records.held")
    assert fact == {
        "run": result.run, "policy": "service-notes", "records": 4, "holds": {one.id: 1, two.id: 4}
    }  # fmt: skip
    any_site.release_long_ago(one.id)
    any_site.release_long_ago(two.id)
    any_site.run()
    assert len(any_site.facts("records.held")) == 1
    assert any_site.findings() == []


def asked(site: Any) -> str:
    """A run of a policy that asks for approval, waiting for it."""
    engine = site.engine()
    policy = engine.project.policies.get("service-notes")
    assert unfinished(engine, policy) is None
    run = begin(engine, policy, site.plan(), AS_OF)
    assert run.state is runs.RunState.AWAITING_APPROVAL
    return str(run.id)


@pytest.fixture
def careful(site: Any) -> Any:
    """The policy asks for approval."""
    site.policy("service-notes", approval="required")
    site.fill(300)
    return site


def test_nothing_goes_before_the_approval(careful: Any) -> None:
    first = asked(careful)
    second = asked(careful)
    assert careful.asked("SELECT id, state, reason FROM run ORDER BY created_at, state DESC") == [
        (first, "cancelled", "a newer plan took its place"),
        (second, "awaiting_approval", "the policy asks for approval"),
    ]
    engine = careful.engine()
    with engine.control.read() as connection:
        waiting = runs.get(connection, second)
    with pytest.raises(Refused, match="awaiting_approval and cannot become running"):
        perform(engine, waiting, progress=lambda batch: None, stop=threading.Event())
    assert len(careful.ids()) == 300
    with pytest.raises(Refused, match="it does not wait for approval"):
        approve(engine, first, reason="fine")
    with pytest.raises(InputError, match="an approval needs a reason"):
        approve(engine, second, reason=" ")
    with pytest.raises(NotFound):
        approve(engine, "R-1", reason="fine")

    approve(engine, second, reason="checked")
    result = careful.run()

    assert (result.run, result.deleted) == (second, len(careful.due_ids(300)))
    [fact] = careful.facts("run.approved")
    assert fact["reason"].endswith(": checked") and fact["by"]
    assert careful.findings() == []


@pytest.mark.parametrize("grown", ["records", "dependent rows"])
def test_a_plan_that_grew_after_its_approval_is_asked_for_again(careful: Any, grown: str) -> None:
    engine = careful.engine()
    first = asked(careful)
    approve(engine, first, reason="checked")
    if grown == "records":
        careful.run_sql(careful.url, "UPDATE activity_logs SET created_at = '2026-01-01 00:00:00' WHERE id = 3")
    else:
        careful.run_sql(careful.url, "INSERT INTO activity_comments VALUES (31, 30, 'one more')")

    done = careful.cli(*RUN, "--json")

    assert done.returncode == 4, done.stderr
    [again] = json.loads(done.stdout)["refused"]
    assert again["state"] == "awaiting_approval"
    assert again["run"] != first
    assert len(careful.ids()) == 300
    [(state, reason)] = careful.asked(f"SELECT state, reason FROM run WHERE id = '{first}'")
    assert state == "cancelled"
    assert f"{grown} were approved, and it would be" in reason
    approve(careful.engine(), again["run"], reason="checked again")
    assert careful.run().deleted == len(careful.due_ids(300)) + (grown == "records")


def test_a_plan_that_shrank_after_its_approval_goes_on(careful: Any) -> None:
    approved = asked(careful)
    approve(careful.engine(), approved, reason="checked")
    careful.run_sql(careful.url, "UPDATE activity_logs SET created_at = '2026-09-30 00:00:00' WHERE id = 30")
    result = careful.run()
    assert (result.run, result.deleted) == (approved, len(careful.due_ids(300)) - 1)


def test_an_approved_run_that_was_interrupted_goes_on_with_what_was_approved(site: Any) -> None:
    site.policy("service-notes", approval="required")
    site.fill(ROWS)
    approved = asked(site)
    approve(site.engine(), approved, reason="checked")
    died = site.cli(*RUN, env={"RETENTION_FAILPOINTS": "batch.after-settled=kill"})
    assert died.returncode == -signal.SIGKILL
    result = site.run()
    assert (result.run, result.deleted) == (approved, len(site.due_ids(ROWS)))


def test_an_approval_under_other_policies_is_void(careful: Any) -> None:
    first = asked(careful)
    approve(careful.engine(), first, reason="checked")
    careful.policy("sales-records", retain="{for: 6 years, from: closed_at}")
    second = asked(careful)
    assert careful.asked(f"SELECT state, reason FROM run WHERE id = '{first}'") == [
        ("cancelled", "the policies changed meanwhile")
    ]
    assert second != first
    assert len(careful.ids()) == 300


def test_a_day_to_come_is_refused(sqlite_site: Any) -> None:
    engine = sqlite_site.engine()
    check_as_of(engine, engine.now())
    with pytest.raises(InputError, match="lies in the future"):
        check_as_of(engine, datetime(2126, 1, 1, tzinfo=UTC))


def test_a_run_that_was_planned_while_the_clock_was_ahead_does_not_go_on(any_site: Any) -> None:
    any_site.fill(3_000)
    ahead = datetime.now(UTC) + timedelta(days=400)
    with any_site.at(ahead):
        engine = any_site.engine()
        policy = engine.project.policies.get("service-notes")
        early = begin(engine, policy, make_plan(engine, [policy], ahead).policies[0], ahead)
    engine = any_site.engine()
    with pytest.raises(NotYet, match="that time has not come"):
        perform(engine, early, progress=lambda batch: None, stop=threading.Event())
    assert any_site.ids() == set(range(1, 3_001))
    assert unfinished(engine, policy) is None
    [(state, reason)] = any_site.asked("SELECT state, reason FROM run")
    assert state == "cancelled"
    assert "that time has not come: the clock was ahead" in reason
    any_site.run()
    assert set(range(1, 3_001)) - any_site.ids() == any_site.due_ids(3_000)
