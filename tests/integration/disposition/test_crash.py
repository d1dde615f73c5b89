"""P6: a process that dies, is stopped, or loses the answer to its COMMIT at any step leaves nothing lost and nothing twice."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.disposition import restore
from retention.disposition.engine import Engine
from retention.disposition.plan import make_plan
from retention.disposition.recover import recover
from retention.disposition.run import begin, perform, unfinished
from retention.errors import InDoubt, RetentionError, SourceFailed
from retention.ledger.batches import BatchState
from retention.sources.adbc import AdbcSession
from retention.sources.mariadb_session import MariadbSession

#: more than one window of due records
ROWS = 20_000
AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")
POINTS = [
    "batch.after-fence",
    "batch.after-delete",
    "batch.after-files",
    "batch.after-prepare",
    "batch.before-commit",
    "batch.after-commit",
    "batch.after-settled",
]


def crash(site: Any, point: str, *words: str) -> None:
    """Kill a real `python -m retention ...` at a step: SIGKILL, nothing is cleaned up."""
    name, _, turn = point.partition("@")
    died = site.cli(*words, env={"RETENTION_FAILPOINTS": f"{name}=kill@{turn or 1}"})
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr


def all_is_as_if_undisturbed(site: Any, before: dict[str, list[str]]) -> None:
    """Source and archive together hold every record once, exactly the due ones are archived, and they can come back."""
    due = site.due_ids(ROWS)
    assert set(range(1, ROWS + 1)) - site.ids() == due
    assert site.archived() == Counter(due)
    if site.comments:
        left = {row[0] for row in site.rows("SELECT activity_id FROM activity_comments")}
        assert left == {i for i in range(1, ROWS + 1) if i % 2 == 0} - due
    # every file that lies in the archive is one that a committed batch names, and the ledger tells the same
    assert site.findings() == []
    engine = site.engine()
    for run in {row[0] for row in site.asked("SELECT run_id FROM batch WHERE state = 'committed'")}:
        choice = restore.choose(engine, run=run, keys=(), where=(), address=None)
        restore.restore(engine, choice, reason="to compare")
    assert site.everything() == before


@pytest.mark.parametrize("point", [*POINTS, "batch.after-delete@2", "batch.after-commit@2"])
@pytest.mark.every_server
def test_a_run_that_was_killed_is_finished_by_the_next(site: Any, point: str) -> None:
    site.fill(ROWS)
    before = site.everything()
    crash(site, point, *RUN)
    result = site.run()
    assert (result.state, result.deleted) == ("finished", len(site.due_ids(ROWS)))
    assert site.asked("SELECT count(*) FROM run") == [(1,)]  # the same run went on
    all_is_as_if_undisturbed(site, before)


@pytest.mark.parametrize("point", ["batch.after-delete", "batch.after-prepare", "batch.after-commit"])
def test_the_same_where_the_source_streams_what_it_deletes(plain_site: Any, point: str) -> None:
    plain_site.fill(ROWS)
    before = plain_site.everything()
    crash(plain_site, point, *RUN)
    again = plain_site.cli(*RUN)
    assert again.returncode == 0, again.stderr
    all_is_as_if_undisturbed(plain_site, before)


@pytest.mark.parametrize(("point", "state"), [("batch.before-commit", "aborted"), ("batch.after-commit", "committed")])
@pytest.mark.every_server
def test_recover_settles_what_was_in_doubt_and_does_nothing_twice(any_site: Any, point: str, state: str) -> None:
    any_site.fill(ROWS)
    before = any_site.everything()
    crash(any_site, point, *RUN)
    assert any_site.asked("SELECT DISTINCT state FROM batch WHERE state <> 'committed'") == [("prepared",)]

    told = any_site.cli("recover")
    assert told.returncode == 0, told.stderr
    assert f"is {state}" in told.stdout

    settled = any_site.asked("SELECT id, state, resolved_at FROM batch ORDER BY id")
    assert {row[1] for row in settled} <= {"aborted", "committed"}
    ledger = any_site.asked("SELECT count(*) FROM ledger")
    files = sorted(any_site.folder.glob("archive/**/*"))
    again = any_site.cli("recover")
    assert (again.returncode, again.stdout) == (0, "Nothing was in doubt.\n")
    assert any_site.asked("SELECT id, state, resolved_at FROM batch ORDER BY id") == settled
    assert any_site.asked("SELECT count(*) FROM ledger") == ledger
    assert sorted(any_site.folder.glob("archive/**/*")) == files
    assert any_site.findings() == []

    any_site.run()
    all_is_as_if_undisturbed(any_site, before)


@pytest.mark.parametrize("point", ["settle.judged", "settle.aborted"])
def test_recovery_itself_may_be_killed(site: Any, point: str) -> None:
    site.fill(ROWS)
    before = site.everything()
    crash(site, "batch.before-commit", *RUN)
    crash(site, point, "recover")
    site.run()
    all_is_as_if_undisturbed(site, before)


def test_two_crashes_in_a_row(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    before = plain_site.everything()
    for point in ("batch.after-commit", "batch.after-files"):
        crash(plain_site, point, *RUN)
    plain_site.run()
    all_is_as_if_undisturbed(plain_site, before)


def test_litter_is_found_wherever_the_policy_archives_by_now(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    crash(plain_site, "batch.after-files", *RUN)
    litter = list(plain_site.folder.glob("archive/crm/**/*.parquet"))
    assert litter
    config = plain_site.config
    config.write_text(config.read_text() + '  warm: {url: "file:./warm"}\n')
    plain_site.policy("service-notes", archive="{to: warm, keep: 1 year}")
    assert plain_site.cli("recover").returncode == 0
    assert list(plain_site.folder.glob("archive/crm/**/*.*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_the_batch_in_hand_and_the_next_run_goes_on(
    any_site: Any, number: signal.Signals
) -> None:
    any_site.fill(ROWS)
    before = any_site.everything()
    run = any_site.start_and_stop_at("batch.after-delete", *RUN)
    run.send_signal(number)
    run.send_signal(signal.SIGCONT)
    out, said = run.communicate(timeout=60)
    assert run.returncode == 3, out + said
    assert "Stopping after the batch in hand" in said
    assert "Traceback" not in said
    [(run_id, state)] = any_site.asked("SELECT id, state FROM run")
    assert state == "running"
    done = ROWS - len(any_site.ids())
    # whole batches; how many more there were before the main thread heard the signal is for the scheduler to say
    assert 0 < done <= len(any_site.due_ids(ROWS))
    assert any_site.archived().total() == done
    result = any_site.run()
    assert (result.run, result.state) == (run_id, "finished")
    all_is_as_if_undisturbed(any_site, before)


def test_a_living_process_is_not_taken_over(site: Any) -> None:
    site.fill(ROWS)
    run = site.start_and_stop_at("batch.after-files", *RUN)
    with pytest.raises(RetentionError, match="is being worked on by"):
        site.run()
    engine = site.engine()
    wanted = engine.project.policies.get("service-notes")
    [(run_id,)] = site.asked("SELECT id FROM run")
    with engine.control.read() as connection:
        from retention.ledger import runs

        same = runs.get(connection, run_id)
    with pytest.raises(RetentionError, match="is being worked on by"):
        perform(engine, same, progress=lambda batch: None, stop=threading.Event())
    with pytest.raises(RetentionError, match="was begun meanwhile"):
        begin(engine, wanted, site.plan(), AS_OF)
    assert recover(engine) == []
    run.send_signal(signal.SIGCONT)
    run.communicate(timeout=60)
    assert run.returncode == 0
    assert site.findings() == []


def test_a_process_whose_run_was_taken_over_meanwhile_deletes_nothing(any_site: Any) -> None:
    any_site.fill(ROWS)
    before = any_site.everything()
    run = any_site.start_and_stop_at("batch.after-files", *RUN)
    # on another host, it would have been taken for dead
    any_site.control("UPDATE shard SET owner = 'elsewhere:1:1', owner_seen_at = '2999-01-01T00:00:00.000000Z'")
    run.send_signal(signal.SIGCONT)
    out, said = run.communicate(timeout=60)
    assert run.returncode == 4, out + said
    assert "taken over by another process" in said
    assert any_site.everything() == before
    assert any_site.asked("SELECT count(*) FROM batch") == [(0,)]
    # nor did it end what is another's by now, or leave anything in the archive
    assert any_site.asked("SELECT run.state, owner FROM run JOIN shard ON run_id = id") == [
        ("running", "elsewhere:1:1")
    ]
    assert any_site.findings() == []


def test_what_was_prepared_before_the_run_was_taken_over_is_settled_and_nothing_more_is_done(
    sqlite_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_site.fill(ROWS)
    before = sqlite_site.everything()
    real = AdbcSession.commit

    def commit(session: AdbcSession) -> None:
        sqlite_site.control("UPDATE shard SET owner = 'elsewhere:1:1', owner_seen_at = '2026-01-01T00:00:00.000000Z'")
        real(session)

    with monkeypatch.context() as patch:
        patch.setattr(AdbcSession, "commit", commit)
        with pytest.raises(RetentionError, match="taken over by another process"):
            sqlite_site.run()
    assert sqlite_site.asked("SELECT number, state FROM batch") == [(1, "committed")]
    assert sqlite_site.asked("SELECT run.state, owner FROM run JOIN shard ON run_id = id") == [
        ("running", "elsewhere:1:1")
    ]
    sqlite_site.run()
    all_is_as_if_undisturbed(sqlite_site, before)


def lossy(monkeypatch: pytest.MonkeyPatch, *, commits: bool) -> None:
    """The first COMMIT of a batch is answered by a broken connection, whether it happened or not."""
    lost = threading.Event()

    def losing(real: Callable[[Any], None]) -> Callable[[Any], None]:
        def commit(session: Any) -> None:
            if lost.is_set():
                return real(session)
            lost.set()
            if commits:
                real(session)
            raise SourceFailed("crm: the connection was lost")

        return commit

    for kind in (AdbcSession, MariadbSession):
        monkeypatch.setattr(kind, "commit", losing(kind.commit))


@pytest.mark.parametrize("commits", [True, False])
def test_a_lost_answer_to_commit_is_settled_by_what_the_source_says(
    any_site: Any, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    any_site.fill(ROWS)
    before = any_site.everything()
    with monkeypatch.context() as patch:
        lossy(patch, commits=commits)
        try:
            any_site.run()
        except SourceFailed as error:
            assert not commits
            assert "the connection was lost" in error.message
            assert any_site.asked("SELECT state, reason FROM run") == [("failed", "crm: the connection was lost")]
            assert any_site.asked("SELECT count(*) FROM batch WHERE state = 'aborted'") == [(1,)]
        else:
            assert commits
            assert any_site.asked("SELECT count(*) FROM batch WHERE state <> 'committed'") == [(0,)]
    assert any_site.findings() == []
    any_site.run()
    all_is_as_if_undisturbed(any_site, before)


def test_a_batch_that_is_neither_gone_nor_there_calls_for_a_person(sqlite_site: Any) -> None:
    """SQLite names no transactions: what recovery goes by are the keys, and somebody deleted one of them by hand."""
    sqlite_site.fill(ROWS)
    crash(sqlite_site, "batch.before-commit", *RUN)
    sqlite_site.run_sql(sqlite_site.url, "DELETE FROM activity_logs WHERE id = 15")
    with pytest.raises(InDoubt, match=r"of its .* records are in crm.activities"):
        recover(sqlite_site.engine())
    engine = sqlite_site.engine()
    with pytest.raises(InDoubt, match="is in doubt"):
        unfinished(engine, engine.project.policies.get("service-notes"))
    failed = sqlite_site.cli(*RUN)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert len(sqlite_site.ids()) == ROWS - 1
    sqlite_site.run_sql(
        sqlite_site.url,
        "INSERT INTO activity_logs SELECT 15, account_id, status, amount, note, tags, created_at, closed_at"
        " FROM activity_logs WHERE id = 30",
    )
    assert [one.state for one in recover(sqlite_site.engine())] == [BatchState.ABORTED]
    assert sqlite_site.run().state == "finished"
    assert sqlite_site.findings() == []


@pytest.mark.parametrize("point", ["batch.before-commit", "batch.after-commit"])
def test_without_an_archive_the_keys_or_the_transaction_tell(plain_site: Any, point: str) -> None:
    plain_site.policy("service-notes", archive="none", mandate="Data minimisation")
    plain_site.fill(ROWS)
    crash(plain_site, point, *RUN)
    states = {one.state for one in recover(plain_site.engine())}  # another lane's batch may be prepared as well
    if point == "batch.before-commit":
        assert states == {BatchState.ABORTED}
    else:
        assert BatchState.COMMITTED in states
    assert plain_site.run().state == "finished"
    assert set(range(1, ROWS + 1)) - plain_site.ids() == plain_site.due_ids(ROWS)
    assert plain_site.archived() == Counter()
    assert plain_site.findings() == []


@pytest.mark.every_server
def test_another_server_does_not_know_the_transaction(postgresql_site: Any) -> None:
    """Restored from a dump: the archived keys tell; without an archive, only a person can."""
    postgresql_site.fill(ROWS)
    crash(postgresql_site, "batch.before-commit", *RUN)
    postgresql_site.control("UPDATE batch SET source_transaction = '9999999999' WHERE state = 'prepared'")
    assert {one.state for one in recover(postgresql_site.engine())} == {BatchState.ABORTED}
    postgresql_site.policy("service-notes", archive="none", mandate="Data minimisation")
    crash(postgresql_site, "batch.after-commit", *RUN)
    postgresql_site.control("UPDATE batch SET source_transaction = '9999999999' WHERE state = 'prepared'")
    with pytest.raises(InDoubt, match="the source does not know its transaction"):
        recover(postgresql_site.engine())


def test_a_transaction_that_is_still_open_is_waited_for_and_then_in_doubt(
    postgresql_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retention.disposition import recover as module

    monkeypatch.setattr(module, "OPEN_SECONDS", 0.5)
    postgresql_site.fill(ROWS)
    run = postgresql_site.start_and_stop_at("batch.before-commit", *RUN)
    postgresql_site.control("UPDATE shard SET owner = NULL")
    with pytest.raises(InDoubt, match="still open in the source"):
        recover(postgresql_site.engine())
    run.send_signal(signal.SIGCONT)
    run.communicate(timeout=60)
    # what was prepared before the take-over is the source's to decide, and it committed
    assert postgresql_site.asked("SELECT count(*) FROM batch WHERE state = 'prepared'") == [(0,)]
    postgresql_site.run()
    assert set(range(1, ROWS + 1)) - postgresql_site.ids() == postgresql_site.due_ids(ROWS)
    assert postgresql_site.archived() == Counter(postgresql_site.due_ids(ROWS))
    assert postgresql_site.findings() == []


def test_an_unexpected_error_leaves_a_run_that_goes_on(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one of our own errors: the run is not over, and nothing of it is lost."""
    plain_site.fill(ROWS)
    before = plain_site.everything()
    engine: Engine = plain_site.engine()
    policy = engine.project.policies.get("service-notes")
    run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)

    def broken(done: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        perform(engine, run, progress=broken, stop=threading.Event())
    assert plain_site.asked("SELECT state FROM run") == [("running",)]
    assert plain_site.run().run == run.id
    all_is_as_if_undisturbed(plain_site, before)
