"""P2, P6, P7: disks, servers, networks, clocks and schemas that change under a run.

Each ends in a clear error with what to do; nothing is lost or widened; the run goes on when the cause is mended; and the
policies of other classes and databases are not stopped by it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.archive import file_store
from retention.disposition.engine import Engine
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import ArchiveFailed, ControlFailed, RetentionError, SourceFailed
from tests.proofs.cases import ROWS
from tests.proofs.commands import Commands

RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")


def whole(site: Any) -> None:
    """The cause is mended: the run goes on, and everything due is archived once and gone."""
    assert site.run().state == "finished"
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS)
    assert site.archived() == Counter(site.due_ids(ROWS))
    assert site.findings() == []


def refused_and_unharmed(site: Any, error: type[RetentionError], match: str) -> None:
    """The run fails in words, and not a byte of the source has changed."""
    before = site.everything()
    with pytest.raises(error, match=match) as told:
        site.run()
    assert told.value.hint, "it says nothing of what to do"
    assert site.everything() == before


# -- the archive's disk --------------------------------------------------------------------------------------------------


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that has no more room, as the kernel can play it for one process (Python ignores SIGXFSZ)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_has_no_room_for_the_file(postgresql_site: Any) -> None:
    postgresql_site.fill(ROWS)
    postgresql_site.run_sql(
        postgresql_site.url,
        "UPDATE activity_logs SET note = (SELECT string_agg(md5(id::text || n), '') FROM generate_series(1, 60000) n)"
        " WHERE id IN (15, 30)",
    )
    with files_no_larger_than(1_500_000):
        refused_and_unharmed(postgresql_site, ArchiveFailed, "could not be written")
    assert list(postgresql_site.folder.glob("archive/**/*.part")) == []
    whole(postgresql_site)


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EDQUOT", "EIO"])
def test_what_a_disk_may_answer(plain_site: Any, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    import errno

    plain_site.fill(ROWS)
    plain_site.engine().store("cold").ensure(expected=False)

    def answer(descriptor: int) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(file_store.os, "fsync", answer)
        refused_and_unharmed(plain_site, ArchiveFailed, "could not be")
    whole(plain_site)


def test_an_archive_whose_folder_is_gone(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.run()
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = '2026-01-01 00:00:00+00:00' WHERE id = 3")
    elsewhere = plain_site.folder / "elsewhere"
    (plain_site.folder / "archive").rename(elsewhere)
    refused_and_unharmed(plain_site, ArchiveFailed, "is not there")
    elsewhere.rename(plain_site.folder / "archive")
    assert plain_site.run().deleted == 1


def test_an_archive_that_goes_away_between_two_batches(site: Any, commands: Commands) -> None:
    site.fill(ROWS)
    run = commands.start(site.config, *RUN, plan="batch.after-settled=stop@1", rows=1)
    assert run.wait_stopped(), run.said
    archive = site.folder / "archive"
    archive.rename(site.folder / "elsewhere")
    run.go_on()
    assert run.wait() == 1
    assert "archive" in run.said and not archive.exists()
    (site.folder / "elsewhere").rename(archive)
    whole(site)


# -- the control database ------------------------------------------------------------------------------------------------


def test_a_control_database_that_somebody_locks(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention.ledger import engine as control

    site.fill(ROWS)
    monkeypatch.setattr(control, "PATIENCE", 1)
    with closing(sqlite3.connect(site.folder / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused_and_unharmed(site, ControlFailed, "locked")
        other.execute("ROLLBACK")
    whole(site)


def test_who_waits_for_the_control_database_is_told(site: Any, commands: Commands) -> None:
    site.fill(ROWS)
    with closing(sqlite3.connect(site.folder / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run = commands.start(site.config, *RUN)
        site.wait(lambda: "waiting for another process that writes" in run.said, "nothing was said")
        other.execute("ROLLBACK")
    assert run.wait() == 0
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS)


def test_a_control_database_that_is_gone_in_the_middle(site: Any, commands: Commands) -> None:
    site.fill(ROWS)
    run = commands.start(site.config, *RUN, plan="batch.after-files=stop@1", rows=1)
    assert run.wait_stopped(), run.said
    control, away = site.folder / "retention.db", site.folder / "away.db"
    for suffix in ("", "-wal", "-shm"):
        if control.with_name(control.name + suffix).exists():
            shutil.copy(control.with_name(control.name + suffix), away.with_name(away.name + suffix))
    with closing(sqlite3.connect(control)) as other:
        other.execute("DROP TABLE batch")
        other.commit()
    before = site.everything()
    run.go_on()
    assert run.wait() == 1
    assert site.everything() == before
    for suffix in ("", "-wal", "-shm"):
        control.with_name(control.name + suffix).unlink(missing_ok=True)
        if away.with_name(away.name + suffix).exists():
            away.with_name(away.name + suffix).rename(control.with_name(control.name + suffix))
    whole(site)


# -- the source ----------------------------------------------------------------------------------------------------------


def test_a_server_that_ends_the_session_in_the_middle(postgresql_site: Any, commands: Commands) -> None:
    """What a restart does to a session: the server ends it. The run fails or tries again; the next one goes on."""
    postgresql_site.fill(ROWS)
    for step in ("batch.after-fence", "batch.after-delete", "batch.before-commit"):
        before = postgresql_site.everything()
        run = commands.start(postgresql_site.config, *RUN, plan=f"{step}=stop@1", rows=1)
        assert run.wait_stopped(), run.said
        postgresql_site.run_sql(
            postgresql_site.url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'retention' AND datname = current_database()",
        )
        run.go_on()
        status = run.wait()
        assert status in (0, 1), run.said
        if status == 1:
            assert len(postgresql_site.everything()["activity_logs"]) <= len(before["activity_logs"])
    whole(postgresql_site)


def test_a_server_whose_statements_time_out(postgresql_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention.sources import postgresql

    postgresql_site.fill(ROWS)
    before = postgresql_site.everything()
    with monkeypatch.context() as patch:
        patch.setitem(postgresql._SETTINGS, "statement_timeout", "1ms")
        with pytest.raises(SourceFailed, match="statement timeout"):
            postgresql_site.run()
    assert postgresql_site.everything() == before
    whole(postgresql_site)


def test_a_table_that_the_application_locks(postgresql_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    from retention.sources import postgresql

    postgresql_site.fill(ROWS)
    monkeypatch.setitem(postgresql._SETTINGS, "lock_timeout", "100ms")
    from retention.disposition import execute

    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    engine = postgresql_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    with psycopg.connect(postgresql_site.url) as other:
        other.execute("SELECT * FROM activity_logs FOR UPDATE")
        with pytest.raises(SourceFailed, match="lock timeout"):
            perform(engine, run, progress=lambda batch: None, stop=threading.Event())
        other.rollback()
    assert len(postgresql_site.ids()) == ROWS
    whole(postgresql_site)


def test_a_deadlock_with_the_application(postgresql_site: Any, commands: Commands) -> None:
    """The application has a row that the batch needs, and then waits for one that the batch has: one of them is rolled
    back by the server. If it is the batch, it begins anew."""
    import psycopg

    postgresql_site.fill(ROWS)
    run = commands.start(postgresql_site.config, *RUN, plan="batch.after-delete=stop@1", rows=2)
    assert run.wait_stopped(), run.said
    with psycopg.connect(postgresql_site.url, autocommit=False) as other:
        other.execute("SET lock_timeout = '20s'")
        other.execute("UPDATE activity_logs SET note = note WHERE id = 60")
        threading.Timer(0.3, run.go_on).start()
        try:
            other.execute("UPDATE activity_logs SET note = note WHERE id IN (15, 30)")
            other.commit()
        except psycopg.errors.DeadlockDetected:
            other.rollback()
    assert run.wait() == 0, run.said
    whole(postgresql_site)


class Proxy:
    """A line to a server that can fall silent: it stays open, and nothing comes through any more."""

    def __init__(self, folder: Path, target: str) -> None:
        self.silent = threading.Event()
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        folder.mkdir()
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX)
            there.connect(self._target)
            self._open += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if not self.silent.is_set():
                    other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End every connection."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        for end in (*self._open, self._listener):
            end.close()


@pytest.fixture
def line(postgresql_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Proxy]]:
    """The site, whose database is reached through the proxy."""
    import tempfile

    import psycopg

    with psycopg.connect(postgresql_site.url) as connection:
        directory = connection.execute("SHOW unix_socket_directories").fetchone()
        port = connection.execute("SHOW port").fetchone()
        name = connection.info.dbname
        user = connection.info.user
    assert directory is not None and port is not None
    folder = Path(tempfile.mkdtemp(prefix="rp-"))  # short: a socket's path has 107 bytes at most
    proxy = Proxy(folder / "s", f"{directory[0].split(',')[0]}/.s.PGSQL.{port[0]}")
    text = postgresql_site.config.read_text()
    through = f"postgresql://{user}@/{name}?host={folder / 's'}&port=5432"
    postgresql_site.config.write_text(text.replace(postgresql_site.url, through))
    yield postgresql_site, proxy
    postgresql_site.config.write_text(text)
    proxy.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("step", ["batch.after-delete", "batch.after-prepare"])
def test_a_line_that_falls_silent_and_is_cut_at_last(line: tuple[Any, Proxy], commands: Commands, step: str) -> None:
    """The request for COMMIT may have got through or not: the source decides, when it can be asked again."""
    site, proxy = line
    site.fill(ROWS)
    run = commands.start(site.config, *RUN, plan=f"{step}=stop@1", rows=2)
    assert run.wait_stopped(), run.said
    proxy.silent.set()
    run.go_on()
    time.sleep(0.5)
    assert run.status is None
    proxy.cut()
    time.sleep(0.1)
    proxy.silent.clear()
    assert run.wait() in (0, 1, 3), run.said
    whole(site)


# -- clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-3652, -1, 1, 3652])
def test_a_clock_that_jumps_between_plan_and_batch(site: Any, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """What is expired was fixed with the run: a clock that jumps makes nothing go earlier, and holds stay what they are."""
    from retention.disposition import holding
    from retention.holds.scope import Keys

    site.fill(ROWS)
    holding.place(site.engine(), matter="M", reason="R", scope=Keys(records="crm.activities", count=1), keys=["15"])
    engine = site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    with site.at(datetime.now(UTC) + timedelta(days=days)):
        done = perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert done.state == "finished"
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS) - {15}
    assert site.findings() == []


def test_a_clock_set_back_does_not_shorten_a_grace(site: Any) -> None:
    """Released under a clock that ran ahead: protected until that release and its grace are over, never less."""
    from retention.disposition import holding
    from retention.holds.scope import Everything

    site.fill(ROWS)
    placed = holding.place(site.engine(), matter="M", reason="R", scope=Everything())
    with site.at(datetime.now(UTC) + timedelta(days=365)):
        holding.release(site.engine(), placed.hold.id, reason="settled")
    assert site.run().deleted == 0


# -- schemas -------------------------------------------------------------------------------------------------------------

#: what changes, and whether the policies can still be applied to the table as it is then
CHANGES = {
    "a column more": ("ALTER TABLE activity_logs ADD COLUMN extra TEXT", True),
    "a column dropped": ("ALTER TABLE activity_logs DROP COLUMN note", True),
    "a column renamed": ("ALTER TABLE activity_logs RENAME COLUMN note TO remark", True),
    "the clock renamed": ("ALTER TABLE activity_logs RENAME COLUMN created_at TO made_at", False),
    "a column of another policy dropped": ("ALTER TABLE activity_logs DROP COLUMN closed_at", False),
    "a reference that cascades": (
        "CREATE TABLE followers (id INTEGER PRIMARY KEY, activity_id BIGINT REFERENCES activity_logs (id) ON DELETE CASCADE)",
        False,
    ),
    "the table renamed": ("ALTER TABLE activity_logs RENAME TO other_logs", False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_schema_that_changes_between_plan_and_batch(plain_site: Any, what: str) -> None:
    """By a process that knew the table before: a column that came later would go unarchived, so nothing goes."""
    statement, fits = CHANGES[what]
    plain_site.fill(ROWS)
    engine: Engine = plain_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    plain_site.run_sql(plain_site.url, statement)
    table = "other_logs" if "TO other_logs" in statement else "activity_logs"
    with pytest.raises(RetentionError) as told:
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert told.value.message
    assert plain_site.rows(f"SELECT count(*) FROM {table}") == [(ROWS,)]
    if fits:  # the next process sees the table as it is
        whole(plain_site)
        return
    with pytest.raises(RetentionError):
        plain_site.run()
    assert plain_site.rows(f"SELECT count(*) FROM {table}") == [(ROWS,)]


def test_a_column_of_a_dependent_that_comes_later(site: Any) -> None:
    site.fill(ROWS)
    engine = site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    site.run_sql(site.url, "ALTER TABLE activity_comments ADD COLUMN extra TEXT DEFAULT 'new'")
    with pytest.raises(RetentionError, match=r"the columns of activity_comments changed .* extra"):
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert len(site.ids()) == ROWS
    whole(site)


def test_a_restore_into_a_table_that_lost_a_column_is_said_to_be_partly_done(site: Any, commands: Commands) -> None:
    site.fill(ROWS)
    site.run()
    site.run_sql(site.url, "ALTER TABLE activity_logs DROP COLUMN note")
    done = commands.run(site.config, "archive", "restore", "--key", "15", "--reason", "asked for", "--yes")
    assert done.status == 3, done.said
    assert "Today's table has no column for note" in done.said
    assert 15 in site.ids()


@pytest.mark.parametrize("kind", ["TEXT", "BIGINT"])
def test_a_key_whose_type_changes(postgresql_site: Any, kind: str) -> None:
    postgresql_site.fill(ROWS)
    engine = postgresql_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    postgresql_site.run_sql(
        postgresql_site.url, f"ALTER TABLE activity_logs ALTER COLUMN id TYPE {kind} USING id::{kind}"
    )
    try:
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    except RetentionError as error:
        assert error.message
    gone = {str(i) for i in range(1, ROWS + 1)} - {str(i) for i in postgresql_site.ids()}
    assert gone in (set(), {str(i) for i in postgresql_site.due_ids(ROWS)})
    assert postgresql_site.findings() == []


# -- the others ----------------------------------------------------------------------------------------------------------


def test_a_database_that_is_away_does_not_stop_the_policies_of_others(
    plain_site: Any, commands: Commands, tmp_path: Path
) -> None:
    plain_site.fill(ROWS)
    text = plain_site.config.read_text()
    away = "  away:\n    url: sqlite:///away.db\n    classes:\n      notes: {table: notes, key: id, created: at, timezone: UTC}\n"
    plain_site.config.write_text(text.replace("archives:", f"{away}archives:"))
    (plain_site.folder / "policies" / "away.yaml").write_text(
        "policy: away\ntitle: Away\nrecords: away.notes\nall: true\nretain: {for: 1 years}\n"
        "archive: {to: cold, keep: forever}\nthen: delete\nschedule: yearly\n"
    )
    run = commands.run(plain_site.config, "run", "--yes", "--as-of", "2026-10-01")
    assert run.status == 3, run.said
    assert "there is no file" in run.said
    assert set(range(1, ROWS + 1)) - plain_site.ids() == plain_site.due_ids(ROWS)


@pytest.mark.parametrize("step", ["control.begun", "source.statement"])
def test_sigterm_before_the_first_batch_ends_in_words(case: Callable[[], Any], commands: Commands, step: str) -> None:
    import signal

    made = case()
    run = commands.start(made.config, *RUN, plan=f"{step}=stop@1")
    assert run.wait_stopped(), run.said
    os.kill(run.pid, signal.SIGTERM)
    run.go_on()
    assert run.wait() in (0, 3), run.said
    whole(made)
