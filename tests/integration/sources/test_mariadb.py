"""What MariaDB alone does: named locks, implicit commits, settings, rights, and rows that change while they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pymysql
import pytest
import sqlalchemy as sa

from retention.config import SourceConfig
from retention.errors import RightMissing, SchemaUnsafe, SourceFailed
from retention.policy.condition import Compare, Operator
from retention.policy.mark import Mark
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn
from retention.sources import statements
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.conditions import condition_sql
from retention.sources.drift import refuse_drift
from retention.sources.mariadb_session import SLOTS
from retention.sources.open import open_source
from retention.sources.read import read_rows
from retention.sources.record import read_records
from retention.sources.source import Session, Source, SourceBusy
from retention.sources.tags import carries
from tests.integration.sources.conftest import keep_keys
from tests.servers import mysql
from tests.servers.mariadb import MariadbServer, numbers

Sessions = Callable[[Source], Session]
pytestmark = pytest.mark.every_server

MARK = Mark(file="retention.yaml")
ZONE = ZoneInfo("UTC")


def _class(**changes: object) -> RecordClass:
    return RecordClass(source="crm", name="logs", table="logs", key=("id",), mark=MARK, **changes)  # type: ignore[arg-type]


def _bind(source: Source, **changes: object) -> BoundClass:
    declared = _class(**changes)
    return bind(source, declared, {declared.address: declared})


def _open(url: str) -> Source:
    return open_source(SourceConfig(name="crm", url=url, classes={}))


# -- the fence -------------------------------------------------------------------------------------------------------


def test_several_batches_share_a_fence_and_a_hold_waits_for_each(mariadb: Source, sessions: Sessions) -> None:
    batches = [sessions(mariadb) for _ in range(SLOTS)]
    for batch in batches:
        batch.begin(write=True)
        batch.share_fence(["crm.a"])
    passed = threading.Event()
    placing = sessions(mariadb)
    thread = threading.Thread(target=lambda: (placing.pass_fence(["crm.a"]), passed.set()))
    thread.start()
    for batch in batches:
        assert not passed.wait(0.1)
        batch.rollback()
    thread.join(10)
    assert passed.is_set()
    sessions(mariadb).pass_fence(["crm.a"])  # and it let go


def test_a_commit_lets_go(mariadb: Source, sessions: Sessions) -> None:
    batch = sessions(mariadb)
    batch.begin(write=True)
    batch.share_fence(["crm.a"])
    batch.commit()
    sessions(mariadb).pass_fence(["crm.a"])


def test_a_session_that_is_killed_lets_go(mariadb: Source, sessions: Sessions) -> None:
    batch = sessions(mariadb)
    batch.begin(write=True)
    batch.share_fence(["crm.a"])
    [(number,)] = batch.rows("SELECT connection_id() AS n")
    sessions(mariadb).execute(f"KILL CONNECTION {number}")
    sessions(mariadb).pass_fence(["crm.a"])
    with pytest.raises(SourceFailed):
        batch.commit()


def test_a_hold_gives_up_while_a_suspended_session_keeps_its_slot(mariadb: Source, sessions: Sessions) -> None:
    batch, placing = sessions(mariadb), sessions(mariadb)
    batch.begin(write=True)
    batch.share_fence(["crm.a"])
    with pytest.raises(SourceFailed, match="did not end within"):
        placing.pass_fence(["crm.a"], patience=1)
    # what it had taken by then is free again
    other = sessions(mariadb)
    other.begin(write=True)
    other.share_fence(["crm.a"])


# -- the transaction -------------------------------------------------------------------------------------------------


def test_a_statement_that_commits_by_itself_is_noticed(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    session.begin(write=True)
    with pytest.raises(SourceFailed, match="ended the transaction by itself"):
        session.execute("CREATE TABLE other (id integer)")
    with pytest.raises(SourceFailed, match="cannot be committed"):
        session.commit()


def test_nothing_is_done_after_a_failure_in_a_transaction(mariadb: Source, sessions: Sessions) -> None:
    """After a deadlock the server has rolled it back, and would do what follows on its own."""
    session = sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    session.begin(write=True)
    with pytest.raises(SourceFailed):
        session.rows("SELECT nothing FROM logs")
    with pytest.raises(SourceFailed, match="the transaction failed before"):
        session.execute("INSERT INTO logs VALUES (1)")
    session.rollback()
    assert session.execute("INSERT INTO logs VALUES (1)") == 1


def test_definitions_stay_until_the_transaction_ends(mariadb: Source, mariadb_url: str, sessions: Sessions) -> None:
    session, other = sessions(mariadb), sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    bound = _bind(mariadb)
    session.begin(write=True)
    session.keep_definitions(bound.tables)
    other.execute("SET lock_wait_timeout = 1")
    for change in (
        "ALTER TABLE logs ADD note text",
        "CREATE TRIGGER cleaner AFTER DELETE ON logs FOR EACH ROW DELETE FROM logs WHERE id < 0",
    ):
        with pytest.raises(SourceBusy):
            other.execute(change)
    session.rollback()
    other.execute("ALTER TABLE logs ADD note text")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE logs ADD note text",
        "CREATE TRIGGER cleaner AFTER DELETE ON logs FOR EACH ROW SET @gone = OLD.id",
        "CREATE TABLE notes (id integer PRIMARY KEY, log_id integer REFERENCES logs (id) ON DELETE CASCADE)",
    ],
)
def test_what_came_while_a_run_was_at_work_stops_the_next_batch(
    mariadb: Source, sessions: Sessions, change: str
) -> None:
    session = sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    bound = _bind(mariadb)
    session.begin(write=True)
    session.keep_definitions(bound.tables)
    refuse_drift(session, bound)
    session.rollback()
    sessions(mariadb).execute(change)
    session.begin(write=True)
    session.keep_definitions(bound.tables)
    with pytest.raises(SchemaUnsafe, match="changed"):
        refuse_drift(session, bound)


def test_a_reference_that_comes_in_the_middle_of_a_batch_deletes_nothing(
    mariadb: Source, sessions: Sessions, mysql_kind: str
) -> None:
    """MariaDB lets one come although the table is in use; what it would cascade to was never archived."""
    session, other = sessions(mariadb), sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    session.execute("INSERT INTO logs VALUES (1)")
    bound = _bind(mariadb)
    session.begin(write=True)
    session.keep_definitions(bound.tables)
    keep_keys(session, bound, sa.true(), 10)
    other.execute("SET lock_wait_timeout = 1")
    notes = "CREATE TABLE notes (id integer PRIMARY KEY, log_id integer REFERENCES logs (id) ON DELETE CASCADE)"
    if mysql_kind == "mysql":  # which makes it wait, as ALTER TABLE does on both
        with pytest.raises(SourceBusy):
            other.execute(notes)
        return
    other.execute(notes)
    other.execute("INSERT INTO notes VALUES (7, 1)")
    assert session.execute(statements.delete_due(bound, sa.true(), after=None, until=None)) == 1
    session.commit()
    assert session.rows("SELECT log_id FROM notes") == [(1,)]
    with pytest.raises(SourceFailed):  # and the server checks again
        session.execute("INSERT INTO notes VALUES (8, 2)")


def test_noting_keys_locks_nothing_and_reading_them_locks_them_alone(mariadb: Source, sessions: Sessions) -> None:
    session, other = sessions(mariadb), sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY, amount integer)")
    session.execute(f"INSERT INTO logs SELECT seq, seq % 2 FROM {numbers(10)}")
    other.execute("SET innodb_lock_wait_timeout = 1")
    bound = _bind(mariadb)
    odd = bound.column("amount") == sa.literal_column("1")
    session.begin(write=True)
    assert keep_keys(session, bound, odd, 3) == 3
    assert other.execute("UPDATE logs SET amount = 3 WHERE id = 5") == 1
    found = read_rows(session, mariadb, bound.table, statements.select_batch(bound))
    assert found.rows.column("amount").to_pylist() == [1, 1, 3]  # as it is by now, not as it was
    with pytest.raises(SourceBusy):
        other.execute("UPDATE logs SET amount = 4 WHERE id = 3")
    assert other.execute("UPDATE logs SET amount = 4 WHERE id = 4") == 1
    # the one that is not due any more stays, which makes the counts differ
    assert session.execute(statements.delete_due(bound, odd, after=None, until=None)) == 2
    session.rollback()
    assert session.rows("SELECT count(*) AS n FROM logs") == [(10,)]


# -- text ------------------------------------------------------------------------------------------------------------


def test_text_is_compared_exactly_whatever_the_collation(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    session.execute(
        "CREATE TABLE logs (id integer PRIMARY KEY, status varchar(20) CHARACTER SET latin1 COLLATE latin1_general_ci,"
        " tags varchar(20) COLLATE utf8mb4_general_ci)"
    )
    texts = ["open", "OPEN", "open ", "öpen", "'\\\"; --"]
    for number, text in enumerate(texts):
        session.execute(f"INSERT INTO logs VALUES ({number}, {mariadb.text(text)}, {mariadb.text(text)})")
    bound = _bind(mariadb, tags=TagColumn(column="tags"))
    for number, text in enumerate(texts):
        is_it = condition_sql(bound, Compare(column="status", operator=Operator.IS, value=text, mark=MARK), ZONE)
        assert session.rows(sa.select(bound.key[0]).where(is_it)) == [(number,)]
    tagged = sa.select(bound.key[0]).where(carries(bound, "open", ZONE)).order_by(bound.key[0])
    assert session.rows(tagged) == [(0,), (2,)]  # white space around a tag is none of it


def test_a_failure_shows_no_value(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    session.execute("CREATE TABLE logs (id varchar(40) PRIMARY KEY, day date)")
    session.execute("INSERT INTO logs VALUES ('alice@example.com', NULL)")
    for statement in (
        "INSERT INTO logs VALUES ('alice@example.com', NULL)",
        "INSERT INTO logs VALUES ('bob', 'alice@example.com')",
        "SELECT alice FROM 'alice'",
    ):
        with pytest.raises(SourceFailed) as caught:
            session.execute(statement)
        assert "alice" not in str(caught.value)


# -- rights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(mariadb_url: str, mariadb_server: MariadbServer) -> Iterator[Callable[..., Source]]:
    """``limited("SELECT", "DELETE")``: the database as a user sees it that has these rights in it, and no others."""
    database = mariadb_url.rpartition("/")[2]
    user = f"u{database[-8:]}"
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {user} IDENTIFIED BY 's3cret'")

        def grant(*rights: str) -> Source:
            for right in rights:
                cursor.execute(f"GRANT {right} ON `{database.replace('_', chr(92) + '_')}`.* TO {user}")
            return _open(f"mysql://{user}:s3cret@127.0.0.1:{mariadb_server.port}/{database}")

        yield grant
        cursor.execute(f"DROP USER {user}")


def test_what_a_user_may_not_do_is_told_ready_to_paste(
    mariadb: Source, sessions: Sessions, limited: Callable[..., Source]
) -> None:
    sessions(mariadb).execute("CREATE TABLE logs (id integer PRIMARY KEY)")
    source = limited("SELECT")
    with pytest.raises(RightMissing, match="may not see the triggers of logs") as caught:
        _bind(source)
    assert "GRANT CREATE TEMPORARY TABLES ON" in caught.value.hint
    assert "GRANT TRIGGER ON" in caught.value.hint
    with pymysql.connect(**_root(mariadb)) as root, root.cursor() as cursor:
        for statement in caught.value.hint.splitlines():
            cursor.execute(statement)
    assert _bind(source).table.name == "logs"
    session = sessions(source)
    with pytest.raises(SourceFailed, match="DELETE command denied") as denied:
        session.execute("DELETE FROM logs")
    assert denied.value.hint.startswith("grant")


def _root(source: Source) -> dict[str, object]:
    url = source._url  # type: ignore[attr-defined]
    return {"host": url.host, "port": url.port, "user": "root", "autocommit": True}


@pytest.mark.parametrize(
    ("rights", "message"),
    [
        ("ENGINE = MyISAM", "a MyISAM table, of which no deletion can be rolled back"),
        ("WITH SYSTEM VERSIONING", "a system-versioned table, which keeps what is deleted"),
    ],
)
def test_tables_that_cannot_be_deleted_from_safely(
    mariadb: Source, sessions: Sessions, mysql_kind: str, rights: str, message: str
) -> None:
    if mysql_kind == "mysql" and "VERSIONING" in rights:  # MySQL has no such tables
        return
    sessions(mariadb).execute(f"CREATE TABLE logs (id integer PRIMARY KEY) {rights}")
    with pytest.raises(SchemaUnsafe, match=message):
        _bind(mariadb)


def test_each_row_of_a_partitioned_table_goes_once(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY, amount integer) PARTITION BY HASH (id) PARTITIONS 3")
    session.execute(f"INSERT INTO logs SELECT seq, seq % 2 FROM {numbers(10)}")
    bound = _bind(mariadb)
    odd = bound.column("amount") == sa.literal_column("1")
    session.begin(write=True)
    keep_keys(session, bound, odd, 4)
    found = read_rows(session, mariadb, bound.table, statements.select_batch(bound))
    assert found.rows.column("id").to_pylist() == [1, 3, 5, 7]
    assert session.execute(statements.delete_due(bound, odd, after=None, until=None)) == 4
    session.commit()
    assert session.rows("SELECT count(*) AS n FROM logs") == [(6,)]


# -- a server with settings of its own -------------------------------------------------------------------------------


@pytest.fixture
def awkward(tmp_path: Path, mysql_kind: str) -> Iterator[MariadbServer]:
    options = (
        "--sql-mode=ANSI,TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE", "--character-set-server=latin1",
        "--collation-server=latin1_swedish_ci", "--default-time-zone=+13:00", "--completion-type=CHAIN",
        "--transaction-isolation=SERIALIZABLE", "--autocommit=0", "--max-allowed-packet=2M",
        "--lower-case-table-names=1", *(["--old-mode="] if mysql_kind == "mariadb" else []),
    )  # fmt: skip
    server = mysql.new(mysql_kind, tmp_path / mysql_kind, options)
    server.start()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE crm")
    yield server
    server.remove()


def test_no_setting_of_the_server_matters(awkward: MariadbServer, sessions: Sessions) -> None:
    source = _open(awkward.url("crm"))
    session = sessions(source)
    session.execute(
        "CREATE TABLE logs (id integer PRIMARY KEY, moment timestamp(6) NULL, day date, code char(8), note text, tags text)"
    )
    note = 'it\'s \\ "100%" é😀'.replace("é😀", "é")  # latin1 holds no more
    session.execute(
        f"INSERT INTO logs VALUES (0, '2024-02-29 12:00:00.5', '0000-00-00', 'a', {source.text(note)}, '[\"a\"]'),"
        " (1, NULL, '2024-02-31', '', NULL, 'a, b')"
    )
    bound = _bind(source, tags=TagColumn(column="tags"))
    session.begin(write=True)
    keep_keys(session, bound, carries(bound, "a", ZONE), 10)
    found = read_rows(session, source, bound.table, statements.select_batch(bound))
    assert session.execute(statements.delete_due(bound, carries(bound, "a", ZONE), after=None, until=None)) == 2
    session.rollback()
    assert found.rows.to_pylist()[0] == {
        "id": 0, "moment": datetime(2024, 2, 29, 12, 0, 0, 500000, UTC), "day": "0000-00-00", "code": "a", "note": note,
        "tags": '["a"]',
    }  # fmt: skip
    [one, two] = read_records(session, bound, sa.true(), ZONE)
    assert one.values["moment"] == datetime(2024, 2, 29, 12, 0, 0, 500000, UTC)
    assert (one.tags, two.tags, two.values["code"]) == ({"a"}, {"a", "b"}, "")


def test_a_statement_that_the_server_would_not_take_is_told(mariadb: Source, sessions: Sessions) -> None:
    """It would hang up, as a server that is down does."""
    session = sessions(mariadb)
    [(most,)] = session.rows("SELECT @@max_allowed_packet AS n")  # 16 MiB on MariaDB, 64 on MySQL
    with pytest.raises(SourceFailed, match=f"larger than the server's max_allowed_packet, {most:,}") as told:
        session.rows(f"SELECT length('{'x' * most}') AS n")
    assert told.value.hint
    assert session.rows("SELECT 1 AS one") == [(1,)]


def test_a_value_that_the_server_cannot_send_is_an_error(awkward: MariadbServer, sessions: Sessions) -> None:
    """Where the text of a value would be larger than max_allowed_packet, the server says null."""
    source = _open(awkward.url("crm"))
    session = sessions(source)
    session.execute("CREATE TABLE large (id integer PRIMARY KEY, sign longtext CHARACTER SET gbk)")
    session.execute("INSERT INTO large VALUES (1, repeat('''', 1500000))")  # quotes are doubled
    table = source.table("large")
    assert table is not None
    projections = [source.projection(one)[0] for one in table.columns]
    with pytest.raises(SourceFailed, match="allowed packet overflowed"):
        session.arrow(sa.select(*projections).select_from(sa.table("large")))
