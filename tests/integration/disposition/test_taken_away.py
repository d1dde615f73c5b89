"""P6 with workers: a slot or shard, the control database or the records are taken away from a worker in the middle."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retention import failpoint
from retention.disposition import hands, holding, shift
from retention.disposition import serve as serving
from retention.errors import ControlFailed, SchemaUnsafe, SourceFailed
from retention.holds.scope import Keys

ROWS = 3_000
GO_ON = threading.Event()


def look(site: Any) -> bool:
    return shift.work(site.engine(), seconds=30, stop=GO_ON)


def look_until_all_is_done(site: Any) -> None:
    while look(site):
        pass


def everything_due_went_once(site: Any, keeps: frozenset[int] = frozenset()) -> None:
    """The due records are gone but for those it keeps, each stands once in the archive, and the evidence verifies."""
    due = site.due_ids(ROWS) - keeps
    assert set(range(1, ROWS + 1)) - site.ids() == due
    assert site.archived() == Counter(due)
    assert site.findings() == []


@pytest.fixture
def begun(sqlite_site: Any) -> Any:
    """A slot whose run has begun, and nothing of it is done."""
    sqlite_site.fill(ROWS)
    sqlite_site.open_slot()
    assert look(sqlite_site)
    return sqlite_site


@pytest.fixture
def armed() -> Iterator[Callable[[str], None]]:
    """Failpoints in this process, until the test ends."""
    yield failpoint.arm
    failpoint.arm("")


def test_a_slot_that_another_took_over_meanwhile_is_begun_once(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.open_slot()
    suspended = plain_site.worker_stopped_at("slot.planned")
    assert not look(plain_site)  # it was seen moments ago
    plain_site.lapse()
    look_until_all_is_done(plain_site)
    before = plain_site.asked("SELECT id, state, finished_at FROM run")
    suspended.send_signal(signal.SIGCONT)
    suspended.send_signal(signal.SIGTERM)
    assert suspended.wait(timeout=60) == 0
    assert plain_site.asked("SELECT id, state, finished_at FROM run") == before
    assert len(plain_site.facts("slot.begun")) == 1
    everything_due_went_once(plain_site)


@pytest.mark.parametrize("error", [SchemaUnsafe("there is a trigger"), SourceFailed("crm: gone")])
def test_who_lost_a_slot_says_nothing_about_it_any_more(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whether what it met would have been the end of the slot or only a failure: it is for the other one to find out."""
    sqlite_site.fill(ROWS)
    sqlite_site.open_slot()

    def taken_over(*_: object) -> None:
        sqlite_site.control("UPDATE slot SET owner = 'elsewhere:1:1', owner_seen_at = '2999-01-01T00:00:00.000000Z'")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(shift, "make_plan", taken_over)
        assert look(sqlite_site)
    slot = sqlite_site.asked("SELECT state, attempts, reason, owner FROM slot")
    assert slot == [("due", 0, None, "elsewhere:1:1")]


@pytest.mark.parametrize("error", [SchemaUnsafe("there is a trigger"), SourceFailed("crm: gone")])
def test_who_lost_a_shard_says_nothing_about_it_any_more(
    begun: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def taken_over(*_: object) -> None:
        begun.control("UPDATE shard SET owner = 'elsewhere:1:1', owner_seen_at = '2999-01-01T00:00:00.000000Z'")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(serving, "execute", taken_over)
        assert look(begun)
    shard = begun.asked("SELECT shard.state, attempts, error, shard.owner FROM shard")
    assert shard == [("open", 0, None, "elsewhere:1:1")]
    assert begun.asked("SELECT state FROM run") == [("running",)]


@pytest.mark.parametrize("point", ["control.begun", "control.before-commit", "control.after-commit"])
@pytest.mark.parametrize("item", ["slot", "shard"])
def test_a_control_database_that_fails_in_the_middle_is_no_failure_of_the_work(
    sqlite_site: Any, armed: Callable[[str], None], capsys: pytest.CaptureFixture[str], item: str, point: str
) -> None:
    """Its second transaction fails, behind the claim: the worker is told, and goes on at once when it is back, although it
    could not give up what it had; also where the transaction was done, and only its acknowledgement was lost."""
    sqlite_site.fill(ROWS)
    sqlite_site.open_slot()
    if item == "shard":
        assert look(sqlite_site)
    armed(f"{point}=error@2")
    with pytest.raises(ControlFailed, match=point):
        look(sqlite_site)
    armed("")
    assert "control.failed" in capsys.readouterr().out
    assert len(sqlite_site.ids()) == ROWS
    assert sqlite_site.asked("SELECT count(*) FROM slot WHERE state NOT IN ('due', 'begun')") == [(0,)]
    assert shift.claimable(sqlite_site.engine()) == 1
    look_until_all_is_done(sqlite_site)
    assert sqlite_site.asked("SELECT state FROM run") == [("finished",)]
    everything_due_went_once(sqlite_site)


def test_a_run_that_a_person_cancels_while_it_is_planned_anew_stays_cancelled(
    begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun.policy("service-notes", retain="{for: 91 days}")
    real = shift.make_plan

    def make_plan(*about: Any) -> Any:
        hands.cancel(begun.engine(), "service-notes", reason="wrong table")
        return real(*about)

    monkeypatch.setattr(shift, "make_plan", make_plan)
    look_until_all_is_done(begun)
    [(state, reason)] = begun.asked("SELECT state, reason FROM run")
    assert state == "cancelled"
    assert reason.endswith(": wrong table")
    assert len(begun.ids()) == ROWS
    assert begun.findings() == []


def test_a_pending_hold_lets_a_shard_wait_and_is_put_in_force(begun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever placed it may have died; no deletion of its source happens before it protects."""

    def unreachable(engine: Any, source: str) -> None:
        raise SourceFailed(f"{source}: cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(holding, "_pass_fences", unreachable)
        scope = Keys(records="crm.activities", count=1)
        holding.place(begun.engine(), matter="M-1", reason="court", scope=scope, keys=["15"])
        assert look(begun)  # the source is still away for who asks on the hold's behalf
    assert begun.asked("SELECT state FROM hold") == [("pending",)]
    assert not look(begun)
    assert begun.asked("SELECT state, attempts FROM shard") == [("open", 0)]
    monkeypatch.setattr(shift, "ASK_AGAIN", 0.0)
    begun.control("UPDATE shard SET not_before = NULL")
    assert look(begun)
    assert begun.asked("SELECT state FROM hold") == [("in force",)]
    assert len(begun.ids()) == ROWS
    look_until_all_is_done(begun)
    assert begun.asked("SELECT state FROM run") == [("finished",)]
    everything_due_went_once(begun, keeps=frozenset({15}))


@pytest.mark.parametrize("point", ["batch.before-commit", "batch.after-commit"])
def test_a_slot_takes_the_place_of_a_run_that_was_killed_in_a_batch(plain_site: Any, point: str) -> None:
    """Before it plans, what is in doubt is settled: otherwise it would count records that are gone, or archive them twice."""
    plain_site.fill(ROWS)
    died = plain_site.cli("run", "service-notes", "--yes", env={"RETENTION_FAILPOINTS": f"{point}=kill"})
    assert died.returncode == -signal.SIGKILL
    [(first,)] = plain_site.asked("SELECT id FROM run")
    assert plain_site.asked("SELECT DISTINCT state FROM batch") == [("prepared",)]
    plain_site.open_slot()
    look_until_all_is_done(plain_site)
    states = dict(plain_site.asked("SELECT id, state FROM run"))
    assert states.pop(first) == "cancelled"
    assert list(states.values()) == ["finished"]
    assert plain_site.asked("SELECT count(*) FROM batch WHERE state = 'prepared'") == [(0,)]
    everything_due_went_once(plain_site)


def test_records_that_go_between_counting_and_cutting(postgresql_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application deletes most of the class after the plan counted it, and before its keys are cut."""
    postgresql_site.fill(ROWS)
    postgresql_site.open_slot()
    monkeypatch.setattr(shift, "SHARD_RECORDS", 100)
    real = shift.make_plan

    def make_plan(*about: Any) -> Any:
        plan = real(*about)
        postgresql_site.run_sql(postgresql_site.url, "DELETE FROM activity_logs WHERE id > 700")
        return plan

    with monkeypatch.context() as patch:
        patch.setattr(shift, "make_plan", make_plan)
        assert look(postgresql_site)
    # it counted 1,002 service notes in 3,000 records: eleven shards of 273 records, of which there were two by then
    assert postgresql_site.asked("SELECT after, until FROM shard ORDER BY number") == [
        (None, "[273]"), ("[273]", "[546]"), ("[546]", None)
    ]  # fmt: skip
    look_until_all_is_done(postgresql_site)
    due = {one for one in postgresql_site.due_ids(ROWS) if one <= 700}
    assert set(range(1, 701)) - postgresql_site.ids() == due
    assert postgresql_site.archived() == Counter(due)
    assert [facts["result"]["deleted"] for facts in postgresql_site.facts("run.finished")] == [len(due)]
    assert postgresql_site.findings() == []
