"""P6 with workers: shards are shared, lost, taken over and finished once, and the end is that of an undisturbed run."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retention.disposition import shift, windows
from retention.disposition.claim import ClaimedShard, claim
from retention.disposition.clock import NotYet
from retention.disposition.serve import serve
from retention.ledger import shards, slot_leases, slots
from retention.ledger.owner import new_owner
from retention.ledger.slots import SlotState

ROWS = 20_000
GO_ON = threading.Event()


def look(site: Any, seconds: float = 30) -> bool:
    return shift.work(site.engine(), seconds=seconds, stop=GO_ON)


def all_is_as_if_undisturbed(site: Any, rows: int = ROWS) -> None:
    """The due records are gone, each stands once in the archive, the evidence verifies, and the run ended once."""
    due = site.due_ids(rows)
    assert set(range(1, rows + 1)) - site.ids() == due
    assert site.archived() == Counter(due)
    assert site.findings() == []
    assert [facts["result"]["deleted"] for facts in site.facts("run.finished")] == [len(due)]
    assert site.asked("SELECT count(*) FROM shard WHERE state <> 'done' OR owner IS NOT NULL") == [(0,)]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have shards of a thousand records."""
    monkeypatch.setattr(shift, "SHARD_RECORDS", 1_000)


def test_a_slot_becomes_a_run_and_is_done(any_site: Any) -> None:
    any_site.fill(ROWS)
    assert shift.claimable(any_site.engine()) == 0
    assert not look(any_site)
    any_site.open_slot()
    assert shift.claimable(any_site.engine()) == 1
    assert look(any_site)
    assert any_site.asked("SELECT state FROM slot") == [("begun",)]
    assert any_site.asked("SELECT run_id FROM slot") == any_site.asked("SELECT id FROM run")
    while look(any_site):
        pass
    all_is_as_if_undisturbed(any_site)


def test_a_worker_that_lost_its_slot_begins_nothing(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    engine = plain_site.engine()
    with engine.control.write() as connection:
        [slot] = slots.in_state(connection, SlotState.DUE)
        slot_leases.take(connection, slot, "another", engine.now())
    assert shift.begin_slot(engine, slot, "who planned it meanwhile") is None
    assert plain_site.asked("SELECT count(*) FROM run") == [(0,)]
    assert plain_site.asked("SELECT state, owner FROM slot") == [("due", "another")]


def test_slices_go_on_where_the_one_before_ended(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # records a window on PostgreSQL; due records on the others, of which there are 1,327
    monkeypatch.setattr(windows, "FIRST_ROWS", 3_000 if plain_site.dialect == "postgresql" else 300)
    monkeypatch.setattr(windows, "MOST_ROWS", 300)
    monkeypatch.setattr(windows, "ALONE", 1)
    plain_site.fill(ROWS)
    plain_site.open_slot()
    look(plain_site)
    cursors = []
    while look(plain_site, seconds=0.05):
        cursors += plain_site.asked("SELECT cursor, attempts FROM shard WHERE state = 'open'")
    assert len(cursors) > 1
    numbers = [int(cursor.strip("[]")) for cursor, _ in cursors if cursor is not None]
    assert numbers == sorted(numbers) and numbers[0] > 0
    all_is_as_if_undisturbed(plain_site)


@pytest.mark.usefixtures("small_shards")
def test_the_shards_of_a_run_are_disjoint_and_cover_the_class(postgresql_site: Any) -> None:
    """On the other databases a run has one."""
    postgresql_site.fill(ROWS)
    postgresql_site.open_slot()
    look(postgresql_site)
    # a third of the class matches: seven shards of a thousand matched records
    [(run_id,)] = postgresql_site.asked("SELECT id FROM run")
    with postgresql_site.engine().control.read() as connection:
        made = shards.of_run(connection, run_id)
    assert [one.until for one in made] == [(2_858,), (5_716,), (8_574,), (11_432,), (14_290,), (17_148,), None]
    assert [one.after for one in made] == [None, *(one.until for one in made[:-1])]


@pytest.mark.usefixtures("small_shards")
def test_several_workers_share_a_run(server_site: Any) -> None:
    """On MariaDB one after the other, in slices."""
    server_site.fill(ROWS)
    server_site.open_slot()
    look(server_site)
    config = server_site.config
    config.write_text(config.read_text().replace("    classes:", "    max_workers: 3\n    classes:"))
    several = [server_site.worker(seconds=0.2) for _ in range(3)]
    server_site.wait_for_run()
    for one in several:
        one.send_signal(signal.SIGTERM)
        assert one.wait(timeout=60) == 0
    all_is_as_if_undisturbed(server_site)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("point", ["batch.after-delete", "batch.after-prepare", "batch.after-commit"])
def test_workers_that_are_killed_are_replaced_by_others(any_site: Any, point: str) -> None:
    any_site.fill(ROWS)
    any_site.open_slot()
    look(any_site)
    for _ in range(2):
        died = any_site.worker(env={"RETENTION_FAILPOINTS": f"{point}=kill"})
        died.wait(timeout=60)
        assert died.returncode == -signal.SIGKILL
    any_site.worker()
    any_site.wait_for_run()
    all_is_as_if_undisturbed(any_site)


def test_a_worker_that_dies_while_it_begins_a_slot_leaves_it_due(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    died = plain_site.worker(env={"RETENTION_FAILPOINTS": "slot.planned=kill"})
    died.wait(timeout=60)
    assert plain_site.asked("SELECT state, attempts FROM slot") == [("due", 0)]
    plain_site.worker()
    plain_site.wait_for_run()
    assert plain_site.asked("SELECT state, attempts FROM slot") == [("begun", 1)]
    all_is_as_if_undisturbed(plain_site)


def test_a_worker_that_is_suspended_between_batches_is_replaced_and_then_does_nothing(sqlite_site: Any) -> None:
    """SQLite has one lane: on PostgreSQL the other one would be suspended in the middle of its transaction."""
    sqlite_site.fill(ROWS)
    sqlite_site.open_slot()
    look(sqlite_site)
    suspended = sqlite_site.worker_stopped_at("batch.after-settled")
    assert not look(sqlite_site)  # it was seen moments ago
    sqlite_site.lapse()
    while look(sqlite_site):
        pass
    all_is_as_if_undisturbed(sqlite_site)
    before = sqlite_site.asked("SELECT * FROM batch ORDER BY id")
    suspended.send_signal(signal.SIGCONT)
    suspended.send_signal(signal.SIGTERM)
    assert suspended.wait(timeout=60) == 0
    assert sqlite_site.asked("SELECT * FROM batch ORDER BY id") == before
    all_is_as_if_undisturbed(sqlite_site)


@pytest.mark.parametrize("point", ["batch.after-files", "batch.before-commit"])
def test_a_worker_that_is_suspended_in_a_batch_deletes_nothing_that_another_judged(any_site: Any, point: str) -> None:
    """Its transaction stays open in the source, so others wait for it there; what it may still do, the source decides."""
    any_site.fill(ROWS)
    any_site.open_slot()
    look(any_site)
    suspended = any_site.worker_stopped_at(point)
    any_site.lapse()
    other = any_site.worker()
    any_site.wait(
        lambda: (
            any_site.asked("SELECT count(*) FROM shard WHERE owner LIKE '%:" + str(suspended.pid) + ":%'") == [(0,)]
        ),
        "nobody took the shard over",
    )
    suspended.send_signal(signal.SIGCONT)
    any_site.wait_for_run()
    for process in (suspended, other):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    all_is_as_if_undisturbed(any_site)


def test_a_warm_stop_ends_after_the_batch_in_hand(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    look(plain_site)
    stopped = plain_site.worker_stopped_at("batch.after-delete")
    stopped.send_signal(signal.SIGTERM)
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(timeout=60) == 0
    assert plain_site.asked("SELECT state, owner, attempts FROM shard") == [("open", None, 0)]
    assert plain_site.asked("SELECT count(*) FROM batch WHERE state <> 'committed'") == [(0,)]
    assert plain_site.asked("SELECT count(*) > 0 FROM batch") in ([(1,)], [(True,)])
    while look(plain_site):
        pass
    all_is_as_if_undisturbed(plain_site)


def test_a_run_that_was_planned_while_the_clock_was_ahead_is_planned_anew(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    with plain_site.at(datetime.now(UTC) + timedelta(days=400)):
        look(plain_site)
    while look(plain_site):
        pass
    (first, before, reason), (second, after, _) = plain_site.asked(
        "SELECT id, state, reason FROM run ORDER BY as_of DESC"
    )
    assert (before, after) == ("cancelled", "finished")
    assert "that time has not come: the clock was ahead" in reason
    assert plain_site.asked("SELECT run_id FROM slot") == [(second,)] != [(first,)]
    assert set(range(1, ROWS + 1)) - plain_site.ids() == plain_site.due_ids(ROWS)
    assert plain_site.archived() == Counter(plain_site.due_ids(ROWS))


def test_a_clock_that_is_corrected_between_two_batches_stops_the_run_until_it_is_planned_anew(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    real = datetime.now(UTC)
    with plain_site.at(real + timedelta(days=400)):
        look(plain_site)
        engine = plain_site.engine()
        with engine.control.write() as connection:
            claimed = claim(engine, connection, new_owner())
    assert isinstance(claimed, ClaimedShard)
    # who has the shard in hand already meets the clock at the batch itself
    with pytest.raises(NotYet, match="that time has not come"):
        serve(engine, claimed.run, claimed.lease, progress=lambda batch: None, go_on=lambda: True)
    assert plain_site.ids() == set(range(1, ROWS + 1))
    assert plain_site.archived() == Counter()


def test_a_shard_whose_run_is_too_early_waits_and_is_not_counted_as_failed(
    plain_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    with plain_site.at(datetime.now(UTC) + timedelta(days=400)):
        look(plain_site)
    # the clock is corrected just after the worker looked at the run
    monkeypatch.setattr(shift, "overtaken", lambda engine, run: None)
    assert look(plain_site)
    assert plain_site.asked("SELECT state FROM run") == [("running",)]
    assert plain_site.asked("SELECT count(*) FROM shard WHERE attempts > 0 OR not_before IS NULL") == [(0,)]
    assert plain_site.ids() == set(range(1, ROWS + 1))


def test_a_wait_that_a_clock_ahead_wrote_down_keeps_nothing_waiting(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    engine = plain_site.engine()
    with engine.control.write() as connection:
        [slot] = slots.in_state(connection, SlotState.DUE)
        later = engine.now() + timedelta(days=40)
        slot_leases.take(connection, slot, "elsewhere:1:1", later)
    assert shift.claimable(engine) == 1  # it was seen by a clock that was ahead, whenever that was
    with engine.control.write() as connection:
        slot_leases.leave(connection, slot, "elsewhere:1:1", reason="away", attempts=1, not_before=later)
    assert shift.claimable(engine) == 1
