"""Which work is next, what keeps it from being done, and what becomes of work that fails: one process, control in SQLite
and in MariaDB."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retention.disposition import claim, hands, pace, shift
from retention.disposition import serve as serving
from retention.disposition.engine import Engine
from retention.disposition.plan import make_plan
from retention.disposition.run import approve, write_down
from retention.errors import InputError, NotFound, Refused, SchemaUnsafe, SourceFailed
from retention.ledger import shards
from retention.ledger.times import stamp

ROWS = 3_000
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
GO_ON = threading.Event()


@pytest.fixture(params=[None, "mariadb_control_url"], ids=["file", "mariadb"])
def site_control(request: pytest.FixtureRequest) -> str | None:
    return None if request.param is None else str(request.getfixturevalue(request.param))


@pytest.fixture
def two(sqlite_site: Any) -> Any:
    """Runs of both policies, begun; one worker at a time on the source."""
    sqlite_site.fill(ROWS)
    with sqlite_site.at(NOW):
        for policy in ("service-notes", "sales-records"):
            sqlite_site.open_slot(policy)
            assert look(sqlite_site)
    return sqlite_site


def look(site: Any, seconds: float = 30) -> bool:
    return shift.work(site.engine(), seconds=seconds, stop=GO_ON)


def claimed(site: Any, at: datetime, owner: str) -> str | None:
    """The policy whose shard is claimed at that time."""
    with site.at(at):
        engine = site.engine()
        with engine.control.write() as connection:
            found = claim.claim(engine, connection, owner)
    return found.run.policy if isinstance(found, claim.ClaimedShard) else None


def slot_claimed(site: Any, at: datetime, owner: str) -> str | None:
    """The policy whose slot is claimed at that time."""
    with site.at(at):
        engine = site.engine()
        with engine.control.write() as connection:
            found = claim.claim(engine, connection, owner)
    return found.slot.policy if isinstance(found, claim.ClaimedSlot) else None


def leave_all(site: Any) -> None:
    site.control("UPDATE shard SET owner = NULL, owner_seen_at = NULL")


def run_of(site: Any, policy: str) -> str:
    return str(site.asked(f"SELECT id FROM run WHERE policy = '{policy}' ORDER BY created_at DESC")[0][0])


def shard_of(site: Any, policy: str) -> shards.Shard:
    with site.engine().control.read() as connection:
        return shards.get(connection, run_of(site, policy), 1)


def test_the_policy_that_was_served_least_recently_is_next(two: Any) -> None:
    turns = []
    for minute in range(6):
        turns.append(claimed(two, NOW + timedelta(minutes=minute), f"elsewhere:{minute}:1"))
        leave_all(two)
    assert turns == [turns[0], turns[1]] * 3
    assert set(turns) == {"service-notes", "sales-records"}


def test_a_source_has_no_more_workers_than_it_may(two: Any) -> None:
    assert claimed(two, NOW, "elsewhere:1:1") is not None
    with two.at(NOW):
        assert shift.claimable(two.engine()) == 0
    assert claimed(two, NOW, "elsewhere:2:2") is None


def test_another_host_is_given_two_minutes(two: Any) -> None:
    first = claimed(two, NOW, "elsewhere:1:1")
    assert claimed(two, NOW + timedelta(seconds=119), "other:2:2") is None
    assert first is not None and claimed(two, NOW + timedelta(minutes=2), "other:2:2") is not None


def test_a_slot_of_a_policy_whose_run_is_under_way_waits(two: Any) -> None:
    two.open_slot("service-notes", NOW)
    with two.at(NOW):
        while look(two):
            pass
    runs = two.asked("SELECT state, count(*) FROM run WHERE policy = 'service-notes' GROUP BY state")
    assert runs == [("finished", 2)]
    assert two.findings() == []


@pytest.mark.parametrize(("hour", "works"), [(0, False), (1, True), (4, True), (5, False), (23, False)])
def test_outside_of_its_window_nothing_of_a_policy_is_done(sqlite_site: Any, hour: int, works: bool) -> None:
    sqlite_site.fill(ROWS)
    for policy in ("service-notes", "sales-records"):
        sqlite_site.policy(policy, window='"01:00-05:00"', schedule='{cron: "0 2 1 * *", timezone: Asia/Shanghai}')
    sqlite_site.open_slot()
    local = datetime(2026, 11, 2, hour, 30, tzinfo=UTC) - timedelta(hours=8)
    with sqlite_site.at(local):
        assert look(sqlite_site) is works
        assert (shift.claimable(sqlite_site.engine()) == 1) is works
    inside = datetime(2026, 11, 2, 17, 30, tzinfo=UTC)
    with sqlite_site.at(inside):
        while look(sqlite_site):
            pass
    assert sqlite_site.asked("SELECT state FROM run") == [("finished",)]


def test_work_ends_with_the_window_and_goes_on_the_next_night(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_site.fill(20_000)
    sqlite_site.policy("service-notes", window='"01:00-05:00"')
    sqlite_site.open_slot()
    clock = [datetime(2026, 11, 2, 4, 59, tzinfo=UTC)]
    monkeypatch.setattr(Engine, "now", lambda engine: clock[0])
    look(sqlite_site)
    real = serving.execute

    def slow(job: Any, windows: Any) -> None:
        before = job.progress

        def progress(batch: Any) -> None:
            before(batch)
            clock[0] += timedelta(minutes=1)

        object.__setattr__(job, "progress", progress)
        real(job, windows)

    monkeypatch.setattr(serving, "execute", slow)
    look(sqlite_site)
    assert sqlite_site.asked("SELECT number, state FROM batch") == [(1, "committed")]
    assert not look(sqlite_site)
    clock[0] += timedelta(hours=20)
    while look(sqlite_site):
        pass
    assert sqlite_site.archived() == Counter(sqlite_site.due_ids(20_000))
    assert sqlite_site.asked("SELECT state FROM run") == [("finished",)]


@pytest.mark.parametrize("target", [None, "service-notes", "run"])
def test_what_is_paused_waits_and_what_is_resumed_goes_on(two: Any, target: str | None) -> None:
    named = run_of(two, "service-notes") if target == "run" else target
    hands.pause(two.engine(), named, reason="the month's end")
    while look(two):
        pass
    states = dict(two.asked("SELECT policy, state FROM run"))
    assert states["service-notes"] == "running"
    assert states["sales-records"] == ("running" if target is None else "finished")
    assert two.asked("SELECT count(*) FROM batch") == [(0,)]
    hands.resume(two.engine(), named, reason="it is over")
    while look(two):
        pass
    assert set(dict(two.asked("SELECT policy, state FROM run")).values()) == {"finished"}
    assert [two.facts(kind)[0]["reason"] for kind in ("work.paused", "work.resumed")] == [
        "the month's end",
        "it is over",
    ]
    assert two.findings() == []


def test_a_pause_is_heard_between_batches_by_a_run_of_a_person_too(sqlite_site: Any) -> None:
    sqlite_site.fill(20_000)
    run = sqlite_site.start_and_stop_at("batch.after-delete", "run", "service-notes", "--yes")
    assert sqlite_site.cli("pause", "service-notes", "--reason", "stop").returncode == 0
    import signal

    time.sleep(pace.FRESH)
    run.send_signal(signal.SIGCONT)
    out, said = run.communicate(timeout=60)
    assert "Traceback" not in said
    assert sqlite_site.asked("SELECT state FROM run") == [("running",)], out + said
    assert sqlite_site.asked("SELECT count(*) FROM batch") == [(1,)]
    assert sqlite_site.cli("resume", "service-notes", "--reason", "go on").returncode == 0
    assert sqlite_site.cli("run", "service-notes", "--yes").returncode == 0
    assert sqlite_site.archived() == Counter(sqlite_site.due_ids(20_000))


def test_a_cancelled_run_does_nothing_more_and_the_next_slot_plans_anew(two: Any) -> None:
    first = run_of(two, "service-notes")
    [ended] = hands.cancel(two.engine(), "service-notes", reason="wrong table")
    assert (ended.id, ended.state.value) == (first, "cancelled")
    with pytest.raises(NotFound, match="has no run that is not over"):
        hands.cancel(two.engine(), "service-notes", reason="again")
    while look(two):
        pass
    assert two.asked("SELECT count(*) FROM batch") == [(0,)]
    two.open_slot("service-notes", NOW)
    while look(two):
        pass
    assert two.archived() == Counter(two.due_ids(ROWS))
    assert two.findings() == []


def test_a_policy_is_cancelled_with_all_its_runs_that_are_not_over(two: Any) -> None:
    engine = two.engine()
    policy = engine.project.policies.get("service-notes")
    plan = make_plan(engine, [policy], NOW).policies[0]
    with engine.control.write() as connection:
        write_down(engine, connection, policy, plan, NOW, ())
    told = two.cli("cancel", "service-notes", "--reason", "wrong table", "--json")
    assert told.returncode == 0, told.stderr
    assert [run["state"] for run in json.loads(told.stdout)] == ["cancelled", "cancelled"]
    left = two.asked("SELECT policy FROM run WHERE state <> 'cancelled'")
    assert left == [("sales-records",)]


def test_what_a_person_must_say(two: Any) -> None:
    engine = two.engine()
    for act in (hands.pause, hands.resume, hands.cancel):
        with pytest.raises(InputError, match="needs a reason"):
            act(engine, "service-notes", reason=" ")
        with pytest.raises(NotFound, match="there is no policy 'service-nots'") as caught:
            act(engine, "service-nots", reason="x")
        assert "service-notes" in caught.value.hint
        with pytest.raises(NotFound, match="there is no run R-2027-01-01T00:00-sales-records-0000") as caught:
            act(engine, "R-2027-01-01T00:00-sales-records-0000", reason="x")
        assert caught.value.hint == "`retention runs` lists them."
    with pytest.raises(Refused, match="nothing of service-notes is paused"):
        hands.resume(engine, "service-notes", reason="x")
    told = two.cli("cancel", "service-notes", "--reason", "x")
    assert (told.returncode, told.stdout) == (0, f"Run {run_of(two, 'service-notes')} is cancelled.\n")
    told = two.cli("cancel", run_of(two, "service-notes"), "--reason", "x")
    assert told.returncode == 4 and "is cancelled" in told.stderr and "`retention runs`" in told.stderr


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What each batch of service-notes raises, while there is something in the list."""
    raised: list[Exception] = []
    real = serving.execute

    def execute(job: Any, windows: Any) -> None:
        if job.policy.name == "service-notes" and raised:
            raise raised[0]
        real(job, windows)

    monkeypatch.setattr(serving, "execute", execute)
    monkeypatch.setattr(shift, "FIRST_WAIT", 0.0)
    return raised


@pytest.mark.parametrize("error", [SourceFailed("crm: gone"), ZeroDivisionError("by nought")])
def test_what_fails_five_times_is_given_up_and_others_go_on(
    two: Any, poison: list[Exception], error: Exception
) -> None:
    poison.append(error)
    looks = 0
    while look(two):
        looks += 1
    assert looks == 6  # one of the other policy
    shard = shard_of(two, "service-notes")
    assert (shard.state.value, shard.attempts) == ("quarantined", 5)
    states = {policy: (state, reason) for policy, state, reason in two.asked("SELECT policy, state, reason FROM run")}
    assert states["sales-records"][0] == "finished"
    assert states["service-notes"][0] == "failed"
    assert (
        f"shard 1 was given up after 5 attempts: {'crm: gone' if shard.error == 'crm: gone' else 'Zero'}"
        in states["service-notes"][1]
    )
    poison.clear()
    [told] = hands.resume(two.engine(), "service-notes", reason="mended")
    assert told == f"run {run_of(two, 'service-notes')} goes on"
    while look(two):
        pass
    assert two.archived() == Counter(two.due_ids(ROWS))
    assert two.findings() == []


def test_what_cannot_pass_stops_at_once(two: Any, poison: list[Exception]) -> None:
    poison.append(SchemaUnsafe("table activity_logs has a trigger"))
    while look(two):
        pass
    states = dict(two.asked("SELECT policy, reason FROM run"))
    assert states["service-notes"] == "table activity_logs has a trigger"
    assert two.asked("SELECT state, attempts FROM shard WHERE state <> 'done'") == [("open", 0)]


def test_a_failure_waits_longer_each_time(two: Any, poison: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "FIRST_WAIT", 30.0)
    monkeypatch.setattr(shift.random, "uniform", lambda least, most: most)
    poison.append(SourceFailed("crm: gone"))
    at = NOW
    for seconds in (30, 120, 480, 1920):
        with two.at(at):
            while look(two):
                pass
        assert shard_of(two, "service-notes").not_before == at + timedelta(seconds=seconds)
        with two.at(at + timedelta(seconds=seconds - 1)):
            assert not look(two)
        at += timedelta(seconds=seconds)


def test_what_kills_every_process_is_given_up(two: Any) -> None:
    """Nobody lives to write the failure down: the next one to come counts the dead."""
    hands.pause(two.engine(), "sales-records", reason="out of the way")
    for attempt in range(1, 6):
        assert claimed(two, NOW + timedelta(minutes=2 * attempt), f"elsewhere:{attempt}:1") == "service-notes"
    assert claimed(two, NOW + timedelta(minutes=12), "elsewhere:6:1") is None
    assert two.asked("SELECT reason FROM run WHERE policy = 'service-notes'") == [
        ("shard 1 was given up after 5 attempts: its process died",)
    ]


def test_a_slot_that_kills_every_process_is_given_up(sqlite_site: Any) -> None:
    sqlite_site.open_slot()
    for attempt in range(1, 6):
        at = NOW + timedelta(minutes=2 * attempt)
        assert slot_claimed(sqlite_site, at, f"elsewhere:{attempt}:1") == "service-notes"
    assert slot_claimed(sqlite_site, NOW + timedelta(minutes=12), "elsewhere:6:1") is None
    assert sqlite_site.asked("SELECT state, reason FROM slot") == [
        ("quarantined", "given up after 5 attempts: the process that began it died")
    ]


def test_who_begins_a_slot_is_at_work_on_its_source_too(sqlite_site: Any) -> None:
    sqlite_site.open_slot("service-notes")
    sqlite_site.open_slot("sales-records")
    first = slot_claimed(sqlite_site, NOW, "elsewhere:1:1")
    assert slot_claimed(sqlite_site, NOW, "elsewhere:2:1") is None
    later = NOW + timedelta(minutes=2)  # nobody heard of the first one since
    assert slot_claimed(sqlite_site, later, "elsewhere:2:1") is not None
    assert first is not None


def test_a_run_fails_with_the_last_of_its_shards(
    sqlite_site: Any, poison: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_site.fill(ROWS)
    monkeypatch.setattr(shift, "_ends", lambda *_: [(1_500,)])
    sqlite_site.open_slot()
    assert look(sqlite_site)
    poison.append(SourceFailed("crm: gone"))
    seen = []
    while look(sqlite_site):
        given_up = sqlite_site.asked("SELECT count(*) FROM shard WHERE state = 'quarantined'")[0][0]
        seen.append((given_up, sqlite_site.asked("SELECT state FROM run")[0][0]))
    assert seen == [(0, "running")] * 8 + [(1, "running"), (2, "failed")]


def test_a_run_that_ends_with_a_shard_that_was_done_fails_for_the_one_that_was_given_up(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_site.fill(ROWS)
    monkeypatch.setattr(shift, "_ends", lambda *_: [(1_500,)])
    monkeypatch.setattr(shift, "FIRST_WAIT", 0.0)
    sqlite_site.open_slot()
    assert look(sqlite_site)
    real = serving.execute

    def execute(job: Any, windows: Any) -> None:
        if job.shard.number == 1:
            raise SourceFailed("crm: gone")
        real(job, windows)

    later = stamp(sqlite_site.engine().now() + timedelta(minutes=10))
    sqlite_site.control(f"UPDATE shard SET not_before = '{later}' WHERE number = 2")
    with monkeypatch.context() as patch:
        patch.setattr(serving, "execute", execute)
        while look(sqlite_site):
            pass
        assert sqlite_site.asked("SELECT state FROM run") == [("running",)]  # there is another shard to do
        sqlite_site.control("UPDATE shard SET not_before = NULL WHERE number = 2")
        assert look(sqlite_site)
    due = sqlite_site.due_ids(ROWS)
    assert sqlite_site.archived() == Counter(i for i in due if i > 1_500)
    told = "shard 1 was given up after 5 attempts: crm: gone"
    assert sqlite_site.asked("SELECT state, reason FROM run") == [("failed", told)]
    assert sqlite_site.facts("run.failed")[0]["reason"] == told
    hands.resume(sqlite_site.engine(), "service-notes", reason="mended")
    while look(sqlite_site):
        pass
    assert sqlite_site.archived() == Counter(due)
    assert sqlite_site.asked("SELECT state FROM run") == [("finished",)]
    assert sqlite_site.findings() == []


def test_an_approved_run_that_cannot_begin_fails(sqlite_site: Any) -> None:
    sqlite_site.fill(ROWS)
    sqlite_site.policy("service-notes", approval="required")
    sqlite_site.open_slot()
    assert look(sqlite_site)
    approve(sqlite_site.engine(), run_of(sqlite_site, "service-notes"), reason="fine")
    sqlite_site.run_sql(
        sqlite_site.url,
        "CREATE TRIGGER gone AFTER DELETE ON activity_logs BEGIN DELETE FROM activity_comments; END",
    )
    assert look(sqlite_site)
    [(state, reason)] = sqlite_site.asked("SELECT state, reason FROM run")
    assert state == "failed"
    assert "trigger" in reason
    assert not look(sqlite_site)
    assert len(sqlite_site.ids()) == ROWS


def test_a_slot_that_cannot_begin_is_tried_again_then_given_up(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_site.fill(ROWS)
    monkeypatch.setattr(shift, "FIRST_WAIT", 0.0)
    sqlite_site.open_slot()
    with monkeypatch.context() as patch:

        def broken(*_: Any) -> None:
            raise SourceFailed("crm: gone")

        patch.setattr(shift, "make_plan", broken)
        looks = 0
        while look(sqlite_site):
            looks += 1
    assert looks == 5
    assert sqlite_site.asked("SELECT state, attempts, reason FROM slot") == [
        ("quarantined", 4, "given up after 5 attempts: crm: gone")
    ]
    with pytest.raises(Refused, match="nothing of sales-records is paused or was given up"):
        hands.resume(sqlite_site.engine(), "sales-records", reason="another one")
    assert hands.resume(sqlite_site.engine(), "service-notes", reason="mended") == [
        "slot service-notes@2026-10-01T02:00 is tried again"
    ]
    while look(sqlite_site):
        pass
    assert sqlite_site.asked("SELECT state FROM run") == [("finished",)]


def test_a_run_of_a_person_is_left_to_the_person_until_a_slot_takes_its_place(sqlite_site: Any) -> None:
    sqlite_site.fill(ROWS)
    sqlite_site.policy("service-notes", approval="required")
    assert sqlite_site.cli("run", "service-notes", "--yes").returncode == 4
    first = run_of(sqlite_site, "service-notes")
    approve(sqlite_site.engine(), first, reason="fine")
    assert not look(sqlite_site)
    sqlite_site.open_slot()
    assert look(sqlite_site)
    states = dict(sqlite_site.asked("SELECT id, state FROM run"))
    assert states.pop(first) == "cancelled"
    [(second, state)] = states.items()
    assert state == "awaiting_approval"
    assert not look(sqlite_site)
    approve(sqlite_site.engine(), second, reason="fine")
    while look(sqlite_site):
        pass
    assert sqlite_site.archived() == Counter(sqlite_site.due_ids(ROWS))
    assert sqlite_site.findings() == []


def test_policies_that_changed_meanwhile_let_the_slot_have_a_new_run(two: Any) -> None:
    first = run_of(two, "service-notes")
    two.policy("service-notes", retain="{for: 91 days}")
    while look(two):
        pass
    assert two.asked(f"SELECT state, reason FROM run WHERE id = '{first}'") == [
        ("cancelled", "the policies changed meanwhile")
    ]
    second = run_of(two, "service-notes")
    assert two.asked("SELECT run_id FROM slot WHERE policy = 'service-notes'") == [(second,)]
    assert two.asked(f"SELECT state FROM run WHERE id = '{second}'") == [("finished",)]
    assert two.findings() == []


def test_a_policy_that_is_no_more_ends_its_run(two: Any) -> None:
    (two.folder / "policies" / "service-notes.yaml").unlink()
    while look(two):
        pass
    states = two.asked("SELECT state FROM run WHERE policy = 'service-notes'")
    assert states == [("cancelled",)]
    assert two.asked("SELECT count(*) FROM batch") == [(0,)]


def throttled(site: Any, throttle: str) -> None:
    site.config.write_text(
        site.config.read_text().replace("    classes:", f"    throttle: {throttle}\n    classes:", 1)
    )


def test_a_throttle_lets_workers_wait_until_there_is_room(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "ASK_AGAIN", 0.0)
    throttled(two, "{query: SELECT count(*) FROM activity_logs WHERE id = 1, below: 1}")
    for _ in range(4):
        assert look(two)
    assert two.asked("SELECT count(*) FROM batch") == [(0,)]
    assert two.asked("SELECT DISTINCT state, attempts FROM shard") == [("open", 0)]
    two.run_sql(two.url, "DELETE FROM activity_logs WHERE id = 1")
    while look(two):
        pass
    assert two.archived() == Counter(two.due_ids(ROWS))


def test_a_throttle_lets_a_person_wait_too(sqlite_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs a policy by hand is there, and waits: the run ends when its work does."""
    monkeypatch.setattr(pace, "FRESH", 0.0)
    monkeypatch.setattr(pace, "AGAIN", 0.01)
    sqlite_site.fill(ROWS)
    throttled(sqlite_site, "{query: SELECT count(*) FROM activity_logs WHERE id = 1, below: 1}")
    asked = []
    real = pace.waits_for

    def waits_for(*about: Any) -> str | None:
        asked.append(real(*about))
        if len(asked) == 3:
            sqlite_site.run_sql(sqlite_site.url, "DELETE FROM activity_logs WHERE id = 1")
        return asked[-1]

    monkeypatch.setattr(pace, "waits_for", waits_for)
    assert sqlite_site.run().state == "finished"
    assert asked[:3] == ["the throttle's query on crm says 1, not below 1"] * 3
    assert set(asked[3:]) == {None}
    assert sqlite_site.archived() == Counter(sqlite_site.due_ids(ROWS))


def test_a_query_that_yields_no_number_stops_the_run(two: Any) -> None:
    throttled(two, "{query: SELECT 'much', below: 1}")
    while look(two):
        pass
    assert two.asked("SELECT DISTINCT state, reason FROM run") == [
        ("failed", "the throttle's query on source crm does not yield one number")
    ]


def test_duty_rests_in_proportion_to_the_work(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    throttled(two, "{duty: 20%}")
    engine = two.engine()
    with engine.control.read() as connection:
        from retention.ledger import runs

        run = runs.get(connection, run_of(two, "service-notes"))
    asked = pace.Pace(engine, run, over=lambda: False, patient=False)
    assert asked()
    time.sleep(0.1)
    before = time.monotonic()
    assert asked()
    assert 0.4 <= time.monotonic() - before < 0.8


@pytest.mark.parametrize(("lag", "waits"), [(5, True), (0, False)])
def test_replicas_that_are_behind_are_waited_for(
    postgresql_site: Any, monkeypatch: pytest.MonkeyPatch, lag: int, waits: bool
) -> None:
    postgresql_site.fill(ROWS)
    throttled(postgresql_site, "{replica_lag: 4 seconds}")
    engine = postgresql_site.engine()
    throttle = engine.project.config.sources["crm"].throttle
    assert pace.waits_for(engine, "crm", throttle) is None  # there is no replica
    behind = f"(SELECT interval '{lag} seconds' AS replay_lag UNION ALL SELECT NULL) AS replicas"
    monkeypatch.setattr(pace, "_LAG", pace._LAG.replace("pg_stat_replication", behind))
    assert pace.waits_for(engine, "crm", throttle) == ("a replica of crm is 5 seconds behind" if waits else None)
