"""P6: batches in doubt are settled beside processes that live, by several at once, and after their run is over."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from retention.disposition import hands, shift
from retention.disposition.recover import recover
from retention.errors import InDoubt
from retention.ledger.batches import BatchState

ROWS = 20_000
RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")

#: the state of a batch whose process was killed there
BECOMES = {"batch.before-commit": BatchState.ABORTED, "batch.after-commit": BatchState.COMMITTED}


def killed(site: Any, point: str) -> None:
    """A run whose process was killed in its first batch."""
    site.fill(ROWS)
    died = site.cli(*RUN, env={"RETENTION_FAILPOINTS": f"{point}=kill"})
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr


def all_went_once(site: Any) -> None:
    due = site.due_ids(ROWS)
    assert set(range(1, ROWS + 1)) - site.ids() == due
    assert site.archived() == Counter(due)
    assert site.findings() == []


@pytest.mark.parametrize("point", BECOMES)
def test_two_that_settle_a_batch_at_once_write_it_down_once(plain_site: Any, point: str) -> None:
    """The first one asked the source, and is suspended before it writes the answer down."""
    killed(plain_site, point)
    suspended = plain_site.start_and_stop_at("settle.judged", "recover")
    assert recover(plain_site.engine()) == []  # somebody who lives has it in hand
    plain_site.lapse()
    states = [one.state for one in recover(plain_site.engine())]
    assert BECOMES[point] in states
    before = plain_site.asked("SELECT id, state, resolved_at FROM batch ORDER BY id")
    suspended.send_signal(signal.SIGCONT)
    out, said = suspended.communicate(timeout=60)
    assert suspended.returncode == 0, out + said
    assert plain_site.asked("SELECT id, state, resolved_at FROM batch ORDER BY id") == before
    for state in BatchState:
        if state is not BatchState.PREPARED:
            assert len(plain_site.facts(f"batch.{state.value}")) == states.count(state)
    plain_site.run()
    all_went_once(plain_site)


@pytest.mark.parametrize("point", BECOMES)
def test_what_a_cancelled_run_left_in_doubt_is_settled_after_two_minutes(plain_site: Any, point: str) -> None:
    """Who prepared it would settle it within moments, if it lived."""
    killed(plain_site, point)
    engine = plain_site.engine()
    hands.cancel(engine, "service-notes", reason="wrong table")
    assert recover(engine) == []
    with plain_site.at(engine.now() + timedelta(minutes=2)):
        assert BECOMES[point] in {one.state for one in recover(plain_site.engine())}
    assert plain_site.asked("SELECT count(*) FROM batch WHERE state = 'prepared'") == [(0,)]
    assert plain_site.asked("SELECT state FROM run") == [("cancelled",)]
    plain_site.run()
    all_went_once(plain_site)


@pytest.mark.parametrize("how", ["by a person", "by a slot", "for other policies"])
def test_what_a_killed_process_left_of_a_cancelled_run_goes_with_the_run_that_takes_its_place(
    plain_site: Any, how: str
) -> None:
    """Nobody works on the cancelled run again: files of it that no batch row knows would be kept for ever."""
    killed(plain_site, "batch.after-files")
    left = set(plain_site.folder.glob("archive/crm/**/*.*"))
    assert left
    if how == "by a slot":
        plain_site.open_slot()
        while shift.work(plain_site.engine(), seconds=30, stop=threading.Event()):
            pass
    else:
        if how == "by a person":
            hands.cancel(plain_site.engine(), "service-notes", reason="wrong table")
        else:
            plain_site.policy("service-notes", title="Notes of the service desk, ninety days")
        plain_site.run()
    assert sorted(state for (state,) in plain_site.asked("SELECT state FROM run")) == ["cancelled", "finished"]
    assert not left & set(plain_site.folder.glob("archive/crm/**/*.*"))
    all_went_once(plain_site)


def test_of_a_cancelled_run_too_a_person_judges_what_nothing_else_can(sqlite_site: Any) -> None:
    killed(sqlite_site, "batch.before-commit")
    engine = sqlite_site.engine()
    hands.cancel(engine, "service-notes", reason="wrong table")
    sqlite_site.run_sql(sqlite_site.url, "DELETE FROM activity_logs WHERE id = 15")
    with sqlite_site.at(engine.now() + timedelta(minutes=2)), pytest.raises(InDoubt, match="neither committed nor"):
        recover(sqlite_site.engine())
    assert sqlite_site.asked("SELECT DISTINCT state FROM batch") == [("prepared",)]


def test_recovery_leaves_alone_what_a_living_worker_has_of_the_same_run(
    postgresql_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers share a run. One was killed when its files were written; the other is about to prepare its batch, and no
    row knows its files yet."""
    monkeypatch.setattr(shift, "SHARD_RECORDS", 4_000)
    config = postgresql_site.config
    config.write_text(config.read_text().replace("    classes:", "    max_workers: 2\n    classes:"))
    postgresql_site.fill(ROWS)
    postgresql_site.open_slot()
    assert shift.work(postgresql_site.engine(), seconds=30, stop=threading.Event())
    living = postgresql_site.worker_stopped_at("batch.after-files")
    files = set(postgresql_site.folder.glob("archive/crm/**/*.*"))
    died = postgresql_site.worker(env={"RETENTION_FAILPOINTS": "batch.after-files=kill"})
    assert died.wait(timeout=60) == -signal.SIGKILL
    assert set(postgresql_site.folder.glob("archive/crm/**/*.*")) > files > set()
    assert recover(postgresql_site.engine()) == []
    assert set(postgresql_site.folder.glob("archive/crm/**/*.*")) > files
    assert postgresql_site.asked("SELECT count(*) FROM shard WHERE owner IS NOT NULL") == [(1,)]
    living.send_signal(signal.SIGCONT)
    postgresql_site.wait_for_run()
    living.send_signal(signal.SIGTERM)
    assert living.wait(timeout=60) == 0
    all_went_once(postgresql_site)
