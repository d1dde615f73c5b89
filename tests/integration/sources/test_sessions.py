"""Transactions, fences and failures of real databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from retention.config import SourceConfig
from retention.errors import InputError, SourceFailed, UnsupportedDatabase
from retention.sources import mariadb
from retention.sources.open import open_source
from retention.sources.source import Outcome, Session, Source, SourceBusy, fence_key
from retention.sources.sqlite import SqliteSource

Sessions = Callable[[Source], Session]


@pytest.mark.every_server
def test_what_is_committed_stays_and_what_is_rolled_back_does_not(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    session.execute("CREATE TABLE t (id integer primary key)")
    for number, end in ((1, session.commit), (2, session.rollback)):
        session.begin(write=True)
        assert session.execute(f"INSERT INTO t VALUES ({number})") == 1
        end()
    assert sessions(source).rows("SELECT id FROM t") == [(1,)]
    assert session.execute("DELETE FROM t WHERE id = 5") == 0


@pytest.mark.every_server
def test_a_transaction_in_which_something_failed_cannot_be_committed(source: Source, sessions: Sessions) -> None:
    """PostgreSQL answers such a COMMIT with a ROLLBACK and no error."""
    session = sessions(source)
    session.execute("CREATE TABLE t (id integer primary key)")
    session.begin(write=True)
    session.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(SourceFailed):
        session.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(SourceFailed, match="cannot be committed"):
        session.commit()
    session.rollback()
    assert session.rows("SELECT id FROM t") == []


def test_a_transaction_in_which_something_failed_unnoticed_cannot_be_committed(
    postgres: Source, sessions: Sessions
) -> None:
    """The driver tells of an error in what is selected only who reads; COMMIT would then roll back without a word."""
    session = sessions(postgres)
    session.begin(write=True)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    session.execute("SELECT 1 / (random()::integer * 0)")
    with pytest.raises(SourceFailed):
        session.commit()


@pytest.mark.every_server
def test_a_fence_is_passed_only_when_those_who_share_it_have_ended(source: Source, sessions: Sessions) -> None:
    deleting, placing = sessions(source), sessions(source)
    deleting.begin(write=True)
    deleting.share_fence(["crm.b", "crm.a"])
    passed = threading.Event()

    def place() -> None:
        placing.pass_fence(["crm.a", "crm.b"])
        passed.set()

    thread = threading.Thread(target=place)
    thread.start()
    try:
        assert not passed.wait(0.5)
    finally:
        deleting.rollback()
        thread.join(10)
    assert passed.is_set()
    deleting.begin(write=True)  # and whoever begins afterwards is not hindered by it
    deleting.share_fence(["crm.a"])
    deleting.rollback()


def test_a_fence_that_is_not_free_in_time_is_not_passed(source: Source, sessions: Sessions) -> None:
    """A hold whose wait was too long is not in force: it says so."""
    deleting, placing = sessions(source), sessions(source)
    deleting.begin(write=True)
    deleting.share_fence(["crm.a"])
    with pytest.raises(SourceFailed, match=r"(did not end within|kept writing for) 1 seconds"):
        placing.pass_fence(["crm.a"], patience=1)
    deleting.rollback()
    placing.pass_fence(["crm.a"], patience=1)


def test_a_fence_that_is_not_free_in_time_is_not_shared(postgres: Source, sessions: Sessions) -> None:
    """A batch that waits too long for a hold is tried again, and does not go on without the fence."""
    placing, deleting = sessions(postgres), sessions(postgres)
    placing.execute("BEGIN")
    placing.rows(f"SELECT pg_advisory_xact_lock({fence_key('crm.a')})::text")
    deleting.begin(write=True)
    deleting.execute("SET LOCAL lock_timeout = '200ms'")
    with pytest.raises(SourceBusy):
        deleting.share_fence(["crm.a"])
    placing.execute("ROLLBACK")


def test_fences_of_other_classes_are_no_hindrance(postgres: Source, sessions: Sessions) -> None:
    one, other = sessions(postgres), sessions(postgres)
    one.begin(write=True)
    one.share_fence(["crm.a"])
    other.begin(write=True)
    other.share_fence(["crm.a"])  # two batches share it
    sessions(postgres).pass_fence(["crm.b"])


def test_a_fence_cannot_be_shared_without_the_write_lock(sqlite: Source, sessions: Sessions) -> None:
    session = sessions(sqlite)
    session.begin(write=False)
    with pytest.raises(SourceFailed):
        session.share_fence(["crm.a"])


@pytest.mark.every_server
def test_a_temporary_table_never_replaces_one_of_the_application(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    session.execute('CREATE TABLE "held; x" (id integer)')
    session.execute('INSERT INTO "held; x" VALUES (7)')
    for keys in ([1, 2], [3]):
        session.load_temporary("held; x", pa.table({"id": keys}))
    temporary = {"sqlite": "temp.", "postgresql": "pg_temp.", "mysql": ""}[source.dialect.name]
    assert session.rows(f'SELECT id FROM {temporary}"held; x"') == [(3,)]
    assert sessions(source).rows('SELECT id FROM "held; x"') == [(7,)]


@pytest.mark.every_server
def test_a_rollback_takes_the_temporary_table_with_it(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    session.begin(write=True)
    session.load_temporary("keys", pa.table({"id": [1]}))
    session.rollback()
    with pytest.raises(SourceFailed):
        session.rows("SELECT id FROM keys")


def test_the_source_tells_what_became_of_a_transaction(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    ends = {Outcome.COMMITTED: session.commit, Outcome.ROLLED_BACK: session.rollback}
    for outcome, end in ends.items():
        session.begin(write=True)
        transaction = session.transaction_id()
        assert transaction is not None
        assert postgres.outcome(transaction) is Outcome.OPEN
        end()
        assert postgres.outcome(transaction) is outcome
    assert postgres.outcome(str(2**40)) is Outcome.UNKNOWN


def test_the_server_counts_what_this_transaction_deleted(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute("CREATE TABLE t AS SELECT generate_series(1, 10) AS id")
    table = postgres.table("t")
    assert table is not None
    for least, count in ((8, 3), (1, 7)):
        session.begin(write=True)
        session.arrow(f"DELETE FROM t WHERE id >= {least} RETURNING id")
        assert session.deleted_in_transaction(table) == count
        session.commit()


def test_a_row_that_changed_meanwhile_is_tried_again(postgres: Source, sessions: Sessions) -> None:
    """Also where the failure comes in the middle of a stream."""
    one, other = sessions(postgres), sessions(postgres)
    one.execute("CREATE TABLE t AS SELECT generate_series(1, 2000) AS id, repeat('x', 200) AS filling")
    one.begin(write=True)
    one.rows("SELECT count(*) FROM t")
    other.execute("UPDATE t SET filling = '' WHERE id = 1990")
    with pytest.raises(SourceBusy) as caught:
        one.arrow("DELETE FROM t RETURNING *")
    assert caught.value.retryable
    one.rollback()
    assert one.rows("SELECT count(*) FROM t") == [(2000,)]


def test_a_busy_database_is_tried_again(sqlite: Source, sessions: Sessions) -> None:
    one, other = sessions(sqlite), sessions(sqlite)
    one.begin(write=True)
    other.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(SourceBusy, match="another process is writing"):
        other.begin(write=True)


def test_a_lock_that_is_not_granted_is_tried_again(postgres: Source, sessions: Sessions) -> None:
    one, other = sessions(postgres), sessions(postgres)
    one.execute("CREATE TABLE t (id integer)")
    one.begin(write=True)
    one.execute("LOCK TABLE t")
    other.execute("SET lock_timeout = '50ms'")
    started = time.monotonic()
    with pytest.raises(SourceBusy):
        other.execute("DELETE FROM t")
    assert time.monotonic() - started < 5


def test_what_a_suspended_session_had_locked_in_mysql_is_let_go(
    mysql: Source, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL ends no transaction that stands still, as the others do; it ends a session that is silent."""
    assert mariadb._MYSQL_SETTINGS["wait_timeout"] == "600"
    monkeypatch.setitem(mariadb._MYSQL_SETTINGS, "wait_timeout", "1")
    suspended = sessions(mysql)
    suspended.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    suspended.execute("INSERT INTO logs VALUES (1)")
    suspended.begin(write=True)
    suspended.share_fence(["crm.logs"])
    suspended.execute("DELETE FROM logs")
    monkeypatch.undo()
    other = sessions(mysql)
    other.pass_fence(["crm.logs"])  # it waits for that
    assert other.execute("UPDATE logs SET id = 2") == 1
    with pytest.raises(SourceFailed):
        suspended.commit()


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "no such.db"
    source = open_source(SourceConfig(name="crm", url=f"sqlite:///{path}", classes={}))
    with pytest.raises(SourceFailed, match="there is no file"):
        source.session()
    assert not path.exists()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "crm.db"
    path.write_text("dear diary, " * 100)
    with pytest.raises(SourceFailed, match="no SQLite database"):
        open_source(SourceConfig(name="crm", url=f"sqlite:///{path}", classes={})).session()


def test_odd_file_names_are_file_names(tmp_path: Path) -> None:
    path = tmp_path / "a ?mode=memory#%20é.db"
    path.touch()
    session = SqliteSource("crm", path).session()
    session.execute("CREATE TABLE t (id integer)")
    session.close()
    assert path.stat().st_size > 0


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize("password", ["s3cret", "s%20e"])
def test_no_failure_shows_a_password(kind: str, password: str) -> None:
    source = open_source(SourceConfig(name="crm", url=f"{kind}://u:{password}@127.0.0.1:1/crm", classes={}))
    with pytest.raises(SourceFailed) as caught:
        source.session()
    assert "127.0.0.1" in caught.value.message
    assert password not in str(caught.value)
    assert "s e" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "oracle://u:s3cret@h/d",
        "mysql://u:s3cret@h",
        "nonsense s3cret",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:s3cret@h:x/d",
    ],
)
def test_urls_that_mean_no_database_of_ours_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(SourceConfig(name="crm", url=url, classes={}))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "version",
    [
        "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, built 2024/05/15 21:28:29, go1.22.2)",
        "PostgreSQL 15.2-YB-2.25.1.0-b0 on x86_64-pc-linux-gnu, compiled by clang 17.0.6, 64-bit",
        "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.73348",
        "Materialize v0.100.0",
    ],
)
def test_a_server_that_only_speaks_the_protocol_is_refused(
    postgres: Source, postgres_url: str, sessions: Sessions, version: str
) -> None:
    """It is asked as the server answers it; here a function of that name, found first, answers instead."""
    session = sessions(postgres)
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    session.execute(f"CREATE FUNCTION public.version() RETURNS text LANGUAGE sql AS $$ SELECT '{version}' $$")
    session.execute(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    with pytest.raises(UnsupportedDatabase, match="the server speaks PostgreSQL's protocol, and is") as caught:
        postgres.session()
    assert version.partition(" (x86")[0].partition(",")[0] in caught.value.message
    assert caught.value.exit_status == 4
    session.execute(f"ALTER DATABASE {database} RESET search_path")
    postgres.session().close()


def test_failures_tell_what_to_do_and_not_what_the_rows_say(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute("CREATE TABLE t (id integer primary key)")
    session.execute("CREATE ROLE limited")
    session.execute("SET ROLE limited")
    try:
        with pytest.raises(SourceFailed, match="permission denied for table t") as caught:
            session.rows("SELECT 'alice@example.com' FROM t")
        assert "grant" in caught.value.hint
        assert "alice" not in str(caught.value)
    finally:
        session.execute("RESET ROLE")
        session.execute("DROP ROLE limited")


def test_rows_hidden_by_row_level_security_are_an_error(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute("CREATE TABLE t (id integer)")
    session.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    session.execute("CREATE ROLE blind")
    session.execute("GRANT SELECT ON t TO blind")
    session.execute("SET ROLE blind")
    try:
        with pytest.raises(SourceFailed, match="row-level security"):
            session.rows("SELECT id FROM t")
    finally:
        session.execute("RESET ROLE")
        session.execute("DROP OWNED BY blind")
        session.execute("DROP ROLE blind")
