"""What `retention status` and the metrics tell of a project where something real went wrong, in numbers that can be checked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from retention.config import load_project
from retention.disposition import clock
from retention.disposition.engine import Engine
from retention.disposition.holding import place
from retention.disposition.survey import survey
from retention.holds.scope import Everything
from retention.ledger import policy_loads, runs, schedules, slots, workers
from retention.ledger.policy_loads import PolicyLoad
from retention.ledger.runs import RunKind, RunState
from retention.ledger.schedules import Checked
from retention.ledger.slots import SlotState
from retention.scheduling.current import Current
from retention.scheduling.opening import open_slots
from retention.scheduling.reconcile import Reconciler
from retention.scheduling.ticker import Ticker
from retention.watching.metrics import exposition
from retention.watching.read import read_status
from retention.watching.status import Status
from tests.servers import forked

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site


@pytest.fixture
def due(make_site: Callable[..., Site], sqlite_url: str) -> Site:
    """Two slots are due since a minute, 10,000 records each, and nobody works."""
    return make_site(sqlite_url, broker="memory://")


@pytest.fixture
def small(make_site: Callable[..., Site], sqlite_url: str) -> Site:
    """The same with a thousand records each."""
    return make_site(sqlite_url, broker="memory://", rows=3_000)


def at(site: Site, later: timedelta = timedelta(0)) -> Engine:
    """An engine by the site's clock, so much later."""
    engine = site.engine()
    now = engine.now() + site.ahead + later
    engine.now = lambda: now  # type: ignore[method-assign]
    return engine


def measured(seen: Status) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition(seen).decode())
        for sample in family.samples
    }


def told(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """`retention status`, by the site's clock."""
    return spoken(site, "status", *words)


def spoken(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Any command, by the site's clock."""
    env = {**os.environ, **clock.set_by_this_process(site.ahead), "COLUMNS": "200"}
    return forked.run([*words, "--config", str(site.config)], text=True, env=env)


@pytest.mark.parametrize(
    ("database", "control"),
    [("sqlite_url", None), ("mariadb_url", "mariadb_control_url")],
)
def test_a_run_in_progress_whose_process_was_killed(
    make_site: Callable[..., Site], request: pytest.FixtureRequest, database: str, control: str | None
) -> None:
    control_url = None if control is None else request.getfixturevalue(control)
    due = make_site(request.getfixturevalue(database), broker="memory://", control=control_url)
    survey(at(due))
    up = due.start("up", "--workers", "1", RETENTION_FAILPOINTS="batch.after-commit=kill@2")
    assert up.wait(timeout=120) == -signal.SIGKILL
    [(run, policy, summed)] = due.asked(
        "SELECT run.id, run.policy, sum(batch.rows) FROM run JOIN batch ON batch.run_id = run.id"
        " WHERE batch.state = 'committed' GROUP BY run.id, run.policy"
    )
    done = int(summed)
    seen = read_status(at(due, timedelta(minutes=3)))
    [one] = [one for one in seen.runs if one.run == run]
    assert (one.state, one.planned, one.deleted) == ("running", 10_000, done)
    assert 0 < one.rows_per_second < done and one.remaining_seconds is not None
    # told to a tenth
    assert one.remaining_seconds == pytest.approx((10_000 - done) / one.rows_per_second, rel=0.1)
    assert one.shards == {"open": 1, "done": 0, "quarantined": 0}
    assert seen.batches_in_doubt == 1
    assert [worker["alive"] for worker in seen.workers] == [False]
    assert measured(seen)["retention_batches_in_doubt",] == 1
    assert measured(seen)["retention_deleted_records_total", policy] == done
    sentences = "\n".join(seen.attention)
    assert "batches in doubt: 1; `retention recover`" in sentences and "no worker is alive" in sentences
    debt = {one.policy: one.overdue for one in seen.policies}
    assert debt[policy] is not None and debt[policy]["records"] == 10_000
    # expired since the middle of April, told by the month of the clock: 1 January and ninety days
    age = timedelta(seconds=float(str(debt[policy]["oldest_seconds"])))
    assert timedelta(days=260) < age < timedelta(days=280)
    text = told(due)
    assert text.returncode == 3
    words = " ".join(text.stdout.split())
    assert re.search(rf"{run}: running, {done:,} of 10,000 records, [\d,]+ a second, about \d+ (s|min|h) left", words)
    assert re.search(r"10,000 2\d\d days 0", words) and "At work: nobody." in words and "In doubt: " in words


def test_a_policy_that_was_renamed_does_not_vanish_without_a_word(small: Site) -> None:
    engine = at(small)
    survey(engine)
    assert read_status(engine).gone == ()
    file = small.folder / "policies" / "odd.yaml"
    file.write_text(file.read_text().replace("policy: odd", "policy: uneven"))
    file.rename(file.with_name("uneven.yaml"))
    [gone] = read_status(at(small)).gone
    assert gone["policy"] == "odd" and gone["last_success_at"] is None
    assert isinstance(gone["overdue"], dict) and gone["overdue"]["records"] == 1_000
    words = " ".join(told(small).stdout.split())
    assert "No longer in policies/: odd, last success never, 1,000 records overdue when last counted." in words


@pytest.mark.parametrize("control", [None, "postgres_url", "mariadb_control_url"])
def test_a_clock_that_was_ahead_is_told_until_its_time_has_come(
    make_site: Callable[..., Site],
    sqlite_url: str,
    control: str | None,
    request: pytest.FixtureRequest,
    slot_time: datetime,
) -> None:
    url = None if control is None else request.getfixturevalue(control)
    site = make_site(sqlite_url, broker="memory://", rows=3_000, control=url)
    engine, until = at(site), slot_time + timedelta(days=40)
    open_slots(engine.control, engine.policies(), until)
    with engine.control.write() as connection:
        slot = slots.get(connection, "odd", "2027-01-01T02:00")
        slots.move(connection, slot, SlotState.BEGUN, reason="a worker came", at=until)
    engine.now = lambda: slot_time - timedelta(days=5)  # type: ignore[method-assign]
    seen = read_status(engine)
    assert {one.policy: one.ahead_until for one in seen.policies} == dict.fromkeys(("odd", "even"), until.isoformat())
    following = {one.policy: one.next_slot and one.next_slot["local_time"] for one in seen.policies}
    assert following == {"odd": "2027-04-01T02:00", "even": "2027-01-01T02:00"}, "the one was begun, the other waits"
    sentence = "no slot of odd is opened before 2027-02-10 02:00 UTC: the clock was ahead, or is behind now; until then"
    assert f"{sentence} `retention run odd` does its work" in seen.attention and len(seen.attention) == 2
    assert measured(seen)["retention_schedule_ahead_seconds", "odd"] == timedelta(days=45).total_seconds()

    corrected = replace(site, ahead=site.ahead - timedelta(days=5))
    text = told(corrected)
    assert text.returncode == 3 and sentence in " ".join(text.stdout.split()), text.stderr
    assert "Nothing needs you" not in text.stdout
    listed = spoken(corrected, "schedule", "odd", "even", "--next", "1")
    assert listed.stdout.index("2027-01-01 02:00") < listed.stdout.index("2027-04-01 02:00"), listed.stderr
    assert sentence in " ".join(listed.stdout.split())
    facts = json.loads(spoken(corrected, "schedule", "--next", "1", "--json").stdout)
    assert [(one["policy"], one["due_at"][:10]) for one in facts] == [("even", "2027-01-01"), ("odd", "2027-04-01")]
    assert {one["ahead_until"] for one in facts} == {until.isoformat()}

    engine.now = lambda: until  # type: ignore[method-assign]
    seen = read_status(engine)
    assert [one.ahead_until for one in seen.policies] == [None, None]
    assert not [one for one in seen.attention if "is opened before" in one]
    assert measured(seen)["retention_schedule_ahead_seconds", "odd"] == 0
    engine.control.close()


def test_a_mistake_that_was_told_by_a_clock_that_was_ahead_is_over_when_it_is_mended(small: Site) -> None:
    engine = at(small)
    with engine.control.write() as connection:
        bad = PolicyLoad(outcome="bad", at=engine.now() + timedelta(days=40), set_digest=None, message="then: delet")
        good = PolicyLoad(outcome="good", at=engine.now(), set_digest="x", message=None)
        policy_loads.record(connection, bad)
        policy_loads.record(connection, good)
        workers.seen(connection, name="elsewhere:1:1", kind="up", doing=None, at=engine.now())
    load = read_status(engine).policy_load
    assert load is not None and load["ok"] is True and load["at"] == engine.now().isoformat()


def test_who_is_at_work_and_how_late_it_is(small: Site) -> None:
    engine = at(small)
    with engine.control.write() as connection:
        for name, kind, ago in (("a:1:1", "worker", 5), ("b:1:1", "worker", 40), ("c:1:1", "beat", 10)):
            seen_at = engine.now() - timedelta(seconds=ago)
            workers.seen(connection, name=name, kind=kind, doing=None, at=seen_at)  # type: ignore[arg-type]
    open_slots(engine.control, engine.policies(), engine.now())
    seen = read_status(engine)
    assert {(one["name"], one["seen_seconds"]) for one in seen.workers} == {
        ("a:1:1", 5.0), ("b:1:1", 40.0), ("c:1:1", 10.0)
    }  # fmt: skip
    assert measured(seen)["retention_worker_seen_seconds", "worker"] == 5
    assert measured(seen)["retention_workers",] == 3
    assert all(60 <= policy.lateness_seconds < 300 for policy in seen.policies)
    words = " ".join(told(small).stdout.split())
    assert re.search(r"1 beat \(last heard of \d+ s ago\), 2 worker \(last heard of \d+ s ago\)", words)
    assert len(re.findall(r"due, \d+ (?:s|min) late", words)) == 2
    assert re.search(r"Waiting: 2, the oldest for \d+ (s|min)", words)


def test_a_damaged_ledger_a_pending_hold_and_a_bad_policy(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in clock.set_by_this_process(small.ahead).items():
        monkeypatch.setenv(name, value)
    engine = small.engine()
    current = Current(small.config)
    ticker = Ticker(current, Reconciler(current, kind="beat", send=lambda looks: None))
    ticker.tick()
    (small.folder / "policies" / "odd.yaml").write_text("policy: odd\n")
    ticker.tick()
    ticker.close()
    current.close()
    with engine.control.write() as connection:
        workers.seen(connection, name="elsewhere:1:1", kind="beat", doing=None, at=engine.now())
    survey(engine)
    assert measured(read_status(engine))["retention_ledger_ok",] == 1
    with engine.control.write() as connection:
        connection.execute(sa.text("UPDATE ledger SET body = body || ' ' WHERE seq = 2"))
    survey(engine)
    path = Path(small.url.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    assert place(engine, matter="2026-017", reason="court order", scope=Everything()).unconfirmed
    seen = read_status(engine)
    numbers = measured(seen)
    assert numbers["retention_ledger_ok",] == 0
    assert numbers["retention_policy_load_ok",] == 0
    assert numbers["retention_policy_load_timestamp_seconds",] > 0, "when the last good set came into force"
    assert numbers["retention_holds", "pending"] == 1 and numbers["retention_holds", "in_force"] == 0
    sentences = "\n".join(seen.attention)
    assert "the ledger does not verify" in sentences
    assert "holds not in force yet: 1" in sentences
    assert "the policy files have a mistake, and the last good set goes on" in sentences
    assert seen.policy_load is not None and "odd.yaml" in str(seen.policy_load["message"])


def test_the_brake_and_the_view_while_up_goes_on_under_the_last_good_set(due: Site) -> None:
    # so slow that the first run rests between its first two batches, and the second one has not had its turn
    due.config.write_text(due.config.read_text().replace("    classes:", "    throttle: {duty: 1%}\n    classes:"))
    up = due.start("up", "--workers", "1")
    due.wait(lambda: due.committed() > 0, "nobody works")
    path = due.folder / "policies" / "odd.yaml"
    good = path.read_text()
    path.write_text(good.replace("then: delete", "then: delet"))
    due.wait(lambda: due.asked("SELECT 1 FROM policy_load WHERE outcome = 'bad'") != [], "nobody says so")
    [(run,)] = due.asked("SELECT DISTINCT run_id FROM batch")
    assert spoken(due, "pause", run, "--reason", "wrong table").returncode == 0
    assert spoken(due, "pause", "--reason", "wrong table").returncode == 0
    before = due.committed()
    text = told(due)
    assert text.returncode == 3, text.stderr
    words = " ".join(text.stdout.split())
    assert "the policy files have a mistake, and the last good set goes on: policies/odd.yaml:7:7: " in words
    assert "Policies in force since 20" in words and "Paused: everything" in words and f"{run}: running" in words
    assert "At work: 1 up" in words and "Nothing needs you" not in words
    facts = json.loads(told(due, "--json").stdout)
    assert [one["policy"] for one in facts["policies"]] == ["even", "odd"]
    assert all(one["last_slot"]["state"] in ("due", "begun") and one["next_slot"] for one in facts["policies"])
    load = facts["policy_load"]
    assert (load["ok"], load["in_force"], load["waiting"]) == (False, True, 0) and load["good_at"] < load["at"]
    assert spoken(due, "cancel", run, "--reason", "wrong table").returncode == 0
    assert spoken(due, "resume", "--reason", "mended").returncode == 0
    due.wait(lambda: due.committed() > before, "nobody goes on")
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=60) == 0


def test_what_waits_is_told_without_policies_as_with_them(small: Site) -> None:
    engine = at(small)
    open_slots(engine.control, engine.policies(), engine.now())
    survey(engine)
    with engine.control.write() as connection:
        gone = Checked(
            policy="gone",
            cron="0 2 * * *",
            zone="UTC",
            checked_until=engine.now() - timedelta(days=9),
            since=engine.now(),
        )
        schedules.write(connection, gone)
        ahead = engine.now() + timedelta(days=9)
        schedules.write(connection, replace(gone, policy="hasty", checked_until=ahead))
    right = read_status(engine)
    (small.folder / "policies" / "odd.yaml").write_text("policy: odd\n")
    blind = Engine(load_project(small.config, lenient=True))
    blind.now = engine.now  # type: ignore[method-assign]
    seen = read_status(blind)
    named = {one.policy: one for one in seen.policies}
    assert named.pop("hasty").ahead_until == ahead.isoformat(), "and it says nothing of the others"
    assert named.pop("gone").next_slot is None, "no beat looks at it any more"
    assert {name: replace(one, title="") for name, one in named.items()} == {
        one.policy: replace(one, title="") for one in right.policies
    }
    assert (seen.queue_depth, seen.queue_oldest_seconds) == (right.queue_depth, right.queue_oldest_seconds)
    assert seen.queue_depth == 2
    [sentence] = [one for one in seen.attention if "policies/odd.yaml:1:1: " in one]
    assert "no run begins until it is mended" in sentence, "no process lives"
    with engine.control.write() as connection:
        load = PolicyLoad(
            outcome="bad", at=engine.now(), set_digest=None, message="policies/odd.yaml:1:1: told by the dead"
        )
        policy_loads.record(connection, load)
    seen = read_status(engine)
    assert seen.policy_load is not None and seen.policy_load["ok"] is True, (
        "it was mended, and only the dead do not know"
    )


@pytest.fixture
def watching(small: Site) -> Iterator[subprocess.Popen[str]]:
    call = [sys.executable, "-m", "retention", "status", "--watch", "--json", "--config", str(small.config)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_watch_looks_again_until_ctrl_c(small: Site, watching: subprocess.Popen[str]) -> None:
    assert watching.stdout is not None and watching.stderr is not None
    looks = json.JSONDecoder()
    text, seen = "", []
    for line in watching.stdout:
        text += line
        try:
            document, end = looks.raw_decode(text)
        except json.JSONDecodeError:
            continue
        seen.append(document)
        text = text[end:].lstrip()
        if len(seen) == 2:
            break
    assert seen[0]["at"] < seen[1]["at"] and {one["policy"] for one in seen[1]["policies"]} == {"odd", "even"}
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=30) in (0, 3)
    assert "Traceback" not in watching.stderr.read()


def test_the_newest_run_is_the_one_planned_last_also_after_a_clock_that_was_ahead(small: Site) -> None:
    engine = at(small)
    with engine.control.write() as connection:
        made = [planned(connection, "odd", engine.now() + days) for days in (timedelta(0), timedelta(40), timedelta(1))]
    for last in (1, 2, 20):
        listed = json.loads(spoken(small, "runs", "--json", "--last", str(last)).stdout)
        assert [one["run"] for one in listed] == made[-last:]


def planned(connection: sa.Connection, policy: str, moment: datetime) -> str:
    return runs.create(
        connection,
        kind=RunKind.DISPOSITION,
        policy=policy,
        policy_digest="",
        set_digest="",
        records="crm.activities",
        as_of=moment,
        requested_by="ana",
        plan=None,
        at=moment,
    ).id


def test_a_person_s_own_run_waits_for_no_worker(small: Site) -> None:
    engine = at(small)
    with engine.control.write() as connection:
        run = planned(connection, "odd", engine.now())
        runs.move(connection, run, RunState.RUNNING, reason="started", at=engine.now())
    seen = read_status(engine)
    assert [(one.run, one.slot) for one in seen.runs] == [(run, None)] and seen.attention == ()
    with engine.control.write() as connection:
        slots.open_slot(
            connection,
            policy="odd",
            local_time="2027-01-01T02:00",
            zone="UTC",
            due_at=engine.now(),
            state=SlotState.DUE,
            reason=None,
            at=engine.now(),
        )
        slot = slots.get(connection, "odd", "2027-01-01T02:00")
        slots.move(connection, slot, SlotState.BEGUN, reason="a worker came", at=engine.now(), run_id=run)
    seen = read_status(engine)
    assert [one.slot for one in seen.runs] == [slot.id]
    assert seen.attention == ("work waits, and no worker is alive",)
