"""What is MariaDB's and MySQL's alone: upgrades in which each step commits, the session, exact text, the writers' lock."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from retention.errors import ControlFailed, InputError
from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Everything
from retention.ledger import chain, engine, holds, pauses, tables
from retention.ledger.control import Control
from retention.ledger.cross_check import cross_check
from retention.ledger.migrations import VERSION_TABLE
from retention.ledger.pauses import Pause
from retention.ledger.verify import verify_chain
from tests.integration.ledger.test_upgrade import old_database
from tests.servers import mysql
from tests.servers.mariadb import MariadbServer

NOW = datetime(2026, 10, 1, 2, tzinfo=UTC)


@pytest.fixture
def control(mariadb_control_url: str) -> Iterator[Control]:
    with Control.open(mariadb_control_url) as opened:
        yield opened


@pytest.fixture
def own_server(tmp_path: Path, mysql_kind: str) -> Iterator[Callable[..., MariadbServer]]:
    """A server of the test's own, started with such options."""
    made: list[MariadbServer] = []

    def start(*options: str) -> MariadbServer:
        server = mysql.new(mysql_kind, tmp_path / mysql_kind, options)
        made.append(server)
        server.start()
        with server.connect() as connection:
            connection.cursor().execute("CREATE DATABASE control")
        return server

    yield start
    for server in made:
        server.remove()


def note(target: str, reason: str = "r") -> Pause:
    return Pause(target=target, by="li", at=NOW, reason=reason)


def differences(url: str) -> list[Any]:
    """Between the tables that are there and those that the code knows."""
    with Control.open(url) as control, control.read() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))


class _Killed(Exception):
    pass


@contextmanager
def killed_at_each_step(*, committed: bool) -> Iterator[list[str]]:
    """Every upgrade dies before the first change of a table, or of rows, at which none has died yet.

    ``committed``: a change of a table that it died of had already committed what went before, as each does first. What the
    server sees is what it sees of a killed process: the connection is gone.
    """
    died: list[str] = []

    def die(connection: sa.Connection, statement: str) -> None:
        died.append(statement)
        raw = connection.connection.dbapi_connection
        assert raw is not None
        if committed and not statement.startswith(("INSERT", "UPDATE")):
            raw.commit()
        raw._force_close()  # type: ignore[attr-defined]  # no goodbye
        raise _Killed

    def before(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        statement = statement.strip()
        if statement.startswith(("CREATE", "ALTER", "DROP", "INSERT", "UPDATE")) and statement not in died:
            die(connection, statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    try:
        yield died
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", before)


def upgrade_until_done(url: str) -> int:
    """How many upgrades it took."""
    for number in range(1, 200):
        try:
            Control.upgrade(url)
        except (_Killed, ControlFailed):
            continue
        return number
    raise AssertionError("no upgrade ever ended")


@pytest.mark.parametrize("committed", [False, True])
def test_an_upgrade_that_is_killed_anywhere_is_finished_by_the_next(mariadb_url: str, committed: bool) -> None:
    with killed_at_each_step(committed=committed) as died:
        assert upgrade_until_done(mariadb_url) > 30
    assert sum(one.startswith("CREATE TABLE") for one in died) > 10 and any(one.startswith("ALTER") for one in died)
    assert differences(mariadb_url) == []
    with Control.open(mariadb_url) as control, control.read() as connection:
        assert [entry.kind for entry in chain.entries(connection)] == ["control.created"]
        assert verify_chain(chain.entries(connection), chain.read_head(connection)) == []


@pytest.mark.parametrize("committed", [False, True])
def test_an_older_database_keeps_what_it_knows_when_its_upgrade_is_killed_anywhere(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    old_database(mariadb_url, monkeypatch)
    with killed_at_each_step(committed=committed):
        assert upgrade_until_done(mariadb_url) > 10
    assert differences(mariadb_url) == []
    with Control.open(mariadb_url) as control, control.read() as connection:
        found = connection.execute(sa.text("SELECT run_id, number, owner FROM shard ORDER BY run_id")).all()
    assert found == [
        ("approved", 1, None),
        ("awaiting_approval", 1, None),
        ("failed", 1, None),
        ("running", 1, "elsewhere:1:1"),
    ]


@pytest.mark.parametrize("statements", [7, 20, 38])
def test_an_upgrade_whose_process_is_killed_leaves_no_lock(mariadb_url: str, statements: int) -> None:
    code = """if True:
        import os, signal, sys
        import sqlalchemy as sa
        from retention.ledger.control import Control
        done = []
        def after(*_):
            done.append(1)
            if len(done) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        sa.event.listen(sa.Engine, "after_cursor_execute", after)
        Control.upgrade(sys.argv[1])
    """
    killed = subprocess.run([sys.executable, "-c", code, mariadb_url, str(statements)])
    assert killed.returncode == -9
    began = time.monotonic()
    Control.upgrade(mariadb_url)
    assert time.monotonic() - began < engine.PATIENCE / 2
    assert differences(mariadb_url) == []


def test_a_table_of_another_program_is_not_taken_for_ours(mariadb_url: str, mariadb_server: MariadbServer) -> None:
    database = mariadb_url.rpartition("/")[2]
    with mariadb_server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE run (id int PRIMARY KEY)")
        for _ in range(2):
            with pytest.raises(InputError, match="a table `run` of another program"):
                Control.upgrade(mariadb_url)
        cursor.execute("SHOW TABLES")
        assert cursor.fetchall() == (("run",),)


HOSTILE = (
    "--sql-mode=ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH",
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
    "--default-storage-engine=MyISAM",
    "--transaction-isolation=READ-UNCOMMITTED",
    "--autocommit=OFF",
    "--wait-timeout=1",
    "--init-connect=SET foreign_key_checks = 0, sql_select_limit = 1, sql_safe_updates = 1",
)


def test_the_servers_settings_change_nothing(own_server: Callable[..., MariadbServer], mysql_kind: str) -> None:
    server = own_server(*HOSTILE)
    with server.connect() as connection:  # root alone is spared from init_connect
        connection.cursor().execute("CREATE USER app IDENTIFIED BY 's3cret'")
        connection.cursor().execute("GRANT ALL ON control.* TO app")
    url = server.url("control").replace("root@", "app:s3cret@")
    Control.upgrade(url)
    assert differences(url) == []
    with Control.open(url) as control:
        with pytest.raises(ControlFailed, match="foreign key"), control.write() as connection:
            connection.execute(tables.hold_key.insert().values(hold_id="none", key="[1]"))
        with pytest.raises(ControlFailed, match="too long"), control.write() as connection:
            pauses.put(connection, note("x" * 256))
        with pytest.raises(KeyError), control.write() as connection:
            pauses.put(connection, note("undone"))
            raise KeyError
        texts = [
            "it's",
            'say "when"',
            "C:\\new\\table\\",
            "a || b",
            "%s %(x)s",
            "\0",
            "\x1a",
            "ä \N{PILE OF POO}",
            " x ",
        ]
        with control.write() as connection:
            for number, text in enumerate(texts):
                pauses.put(connection, note(f"p{number}", text))
        with control.read() as before:
            assert {one.target: one.reason for one in pauses.known(before)} == {
                f"p{number}": text for number, text in enumerate(texts)
            }
            with control.write() as connection:
                pauses.put(connection, note("later"))
            assert len(pauses.known(before)) == len(texts)
            time.sleep(1.5)  # longer than the server's wait_timeout
            assert len(pauses.known(before)) == len(texts)
        with control.read() as connection:
            assert len(pauses.known(connection)) == len(texts) + 1
            assert verify_chain(chain.entries(connection), chain.read_head(connection)) == []
            engines = connection.exec_driver_sql(
                "SELECT DISTINCT engine, table_collation FROM information_schema.tables WHERE table_schema = 'control'"
            )
            assert engines.all() == [("InnoDB", f"utf8mb4_{'nopad' if mysql_kind == 'mariadb' else '0900'}_bin")]


def test_names_that_differ_by_case_accent_or_a_space_are_different(control: Control) -> None:
    names = [
        "notes",
        "Notes",
        "nötes",
        "no\N{COMBINING DIAERESIS}tes",
        "notes ",
        "notes\0",
        "straße",
        "strasse",
        "\N{PILE OF POO}",
    ]
    with control.write() as connection:
        for name in names:
            pauses.put(connection, note(name, name))
    with control.read() as connection:
        assert [one.target for one in pauses.known(connection)] == sorted(names)
        for name in names:
            found = connection.execute(sa.select(tables.pause.c.reason).where(tables.pause.c.target == name)).scalars()
            assert found.all() == [name]


def test_long_values_are_kept_whole_and_names_too_long_are_refused(control: Control) -> None:
    long = "ä\N{PILE OF POO}\\'" * 1_000_000  # eight megabytes
    with control.write() as connection:
        pauses.put(connection, note("p", long))
    with control.read() as connection:
        assert pauses.known(connection)[0].reason == long
    with pytest.raises(ControlFailed, match="too long") as caught, control.write() as connection:
        connection.execute(tables.pause.insert().values(target="x" * 256, by="li", at="", reason=""))
    assert "3072 bytes" in caught.value.hint
    everything = Hold(
        id="H-1", matter="m", reason="r", placed_by="li", placed_at=NOW, state=HoldState.PENDING, scope=Everything()
    )
    with control.write() as connection:
        holds.place(connection, everything, [], ["crm"])
        connection.execute(tables.hold_key.insert().values(hold_id="H-1", key="\N{PILE OF POO}" * 728))
    with pytest.raises(ControlFailed, match="too long"), control.write() as connection:
        connection.execute(tables.hold_key.insert().values(hold_id="H-1", key="x" * 729))


@pytest.mark.parametrize("text", ["\udc80", "x\ud800"])
def test_what_is_no_text_is_refused_and_not_sent(control: Control, text: str) -> None:
    with pytest.raises(InputError, match="not valid Unicode") as caught, control.write() as connection:
        connection.execute(tables.pause.insert().values(target=text, by="li", at="", reason=""))
    assert "INSERT" not in str(caught.value)
    with pytest.raises(InputError, match="not valid Unicode"), control.read() as connection:
        connection.execute(sa.select(tables.pause).where(tables.pause.c.target == text))
    with pytest.raises(InputError, match="not valid Unicode"), control.write() as connection:
        rows = [{"target": name, "by": "li", "at": "", "reason": ""} for name in ("good", text)]
        connection.execute(tables.pause.insert(), rows)


def test_a_check_reads_every_row_although_it_asks_again_for_each(control: Control) -> None:
    with control.write() as connection:
        for number in range(1_200):  # more than one page of a stream
            row = {"id": f"H-{number}", "matter": "m", "reason": "r", "placed_by": "li", "placed_at": "", "scope": "{}"}
            connection.execute(tables.hold.insert(), row | {"state": "pending"})
    with control.read() as connection:
        assert len([one for one in cross_check(connection) if "has no hold.placed" in one.what]) == 1_200


def test_a_writer_that_stands_still_is_thrown_out(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "IDLE", 1)
    stuck, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def stand_still() -> None:
        try:
            with control.write() as connection:
                pauses.put(connection, note("lost"))
                stuck.set()
                go_on.wait(60)
        except ControlFailed as error:
            failed.append(error)

    thread = threading.Thread(target=stand_still)
    thread.start()
    assert stuck.wait(30)
    with control.write() as connection:  # waits until the other was thrown out
        pauses.put(connection, note("kept"))
    go_on.set()
    thread.join()
    assert len(failed) == 1 and "s3cret" not in str(failed[0])
    with control.read() as connection:
        assert [one.target for one in pauses.known(connection)] == ["kept"]
    time.sleep(1.5)  # the pool's connections are closed by the server meanwhile
    with control.write() as connection:
        pauses.put(connection, note("later"))


def test_the_lock_of_a_killed_writer_is_free_at_once(control: Control, mariadb_control_url: str) -> None:
    code = """if True:
        import os, signal, sys
        from datetime import UTC, datetime
        from retention.ledger import pauses
        from retention.ledger.control import Control
        with Control.open(sys.argv[1]) as control, control.write() as connection:
            pauses.put(connection, pauses.Pause(target="p", by="li", at=datetime.now(UTC), reason=""))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", code, mariadb_control_url]).returncode == -9
    began = time.monotonic()
    with control.write() as connection:
        assert pauses.known(connection) == []
    assert time.monotonic() - began < engine.PATIENCE / 2


def _session(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one())


@pytest.mark.parametrize("when", ["begun", "written"])
def test_a_connection_that_is_lost_in_mid_transaction(
    control: Control, mariadb_server: MariadbServer, when: str
) -> None:
    with pytest.raises(ControlFailed) as caught, control.write() as connection:
        if when == "written":
            pauses.put(connection, note("lost"))
        with mariadb_server.connect() as other:
            other.cursor().execute(f"KILL CONNECTION {_session(connection)}")
        pauses.put(connection, note("lost too"))
    assert "Check that the server runs" in caught.value.hint
    with control.write() as connection:
        assert pauses.known(connection) == []


def test_a_connection_that_is_lost_at_the_commit(control: Control, mariadb_server: MariadbServer) -> None:
    with pytest.raises(ControlFailed), control.write() as connection:
        pauses.put(connection, note("lost"))
        with mariadb_server.connect() as other:
            other.cursor().execute(f"KILL CONNECTION {_session(connection)}")
    with control.write() as connection:
        assert pauses.known(connection) == []


def test_the_lock_does_not_stay_with_a_pooled_connection(control: Control, mariadb_server: MariadbServer) -> None:
    def held() -> object:
        with mariadb_server.connect() as other, other.cursor() as cursor:
            database = control._engine.url.database
            cursor.execute("SELECT IS_USED_LOCK(CONCAT('retention.control.', LEFT(SHA2(%s, 256), 32)))", (database,))
            return cursor.fetchall()[0][0]

    with control.write() as connection:
        mine = _session(connection)
        assert held() == mine
    assert held() is None
    with pytest.raises(KeyError), control.write():
        raise KeyError
    assert held() is None
    with pytest.raises(ControlFailed), control.write() as connection:
        connection.exec_driver_sql("SELECT nonsense")
    assert held() is None
    with control.read():
        assert held() is None


def test_a_row_that_somebody_else_has_locked(
    control: Control, mariadb_server: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 1)
    with mariadb_server.connect(control._engine.url.database) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM head FOR UPDATE")
        with pytest.raises(ControlFailed) as caught, control.write() as connection:
            connection.execute(tables.head.update().values(hold_epoch=1))
    assert caught.value.hint.startswith("Another process has been writing")


def test_errors_say_what_to_do_and_show_no_secret(mariadb_control_url: str, mariadb_server: MariadbServer) -> None:
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP USER IF EXISTS reader")
        cursor.execute("CREATE USER reader IDENTIFIED BY 's3cret'")
        cursor.execute("GRANT SELECT ON `control\\_%`.* TO reader")
    read_only = mariadb_control_url.replace("root@", "reader:s3cret@")
    with Control.open(read_only) as control:
        with pytest.raises(ControlFailed, match="denied") as caught, control.write() as connection:
            pauses.put(connection, note("p"))
        assert "GRANT ALL" in caught.value.hint and "s3cret" not in str(caught.value)
    for url, hint in (
        (mariadb_control_url.replace("root@", "root:s3cret@"), "GRANT ALL"),
        (mariadb_control_url.rpartition("/")[0] + "/nowhere", "CREATE DATABASE"),
        ("mysql://u:s3cret@127.0.0.1:1/d", "Check that the server runs"),
    ):
        with pytest.raises(ControlFailed) as caught:
            Control.open(url)
        assert hint in caught.value.hint and "s3cret" not in str(caught.value)
        assert "(1" not in str(caught.value), "the words of the server, without the driver's tuple"


def test_a_password_of_any_letters(mariadb_control_url: str, mariadb_server: MariadbServer) -> None:
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP USER IF EXISTS letters")
        cursor.execute("CREATE USER letters IDENTIFIED BY 'пароль:/@'")
        cursor.execute("GRANT ALL ON `control\\_%`.* TO letters")
    Control.open(mariadb_control_url.replace("root@", "letters:пароль%3A%2F%40@")).close()
    for wrong in ("тайна", "\udcff\udcfe"):
        with pytest.raises(ControlFailed, match="denied") as caught:
            Control.open(mariadb_control_url.replace("root@", f"letters:{wrong}@"))
        assert wrong not in str(caught.value)


def test_encryption_that_cannot_be_had_is_an_error(mariadb_control_url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`ssl_ca` in the URL of the control database names no file"):
        Control.open(f"{mariadb_control_url}?ssl_ca={tmp_path}/none.pem")
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=999)).sign(key, None)
    (tmp_path / "ca.pem").write_bytes(made.public_bytes(Encoding.PEM))
    with pytest.raises(
        ControlFailed, match=r"SSL is required|CERTIFICATE_VERIFY_FAILED"
    ):  # never without, where it was asked for
        Control.open(f"{mariadb_control_url}?ssl_ca={tmp_path}/ca.pem")


def test_a_server_that_takes_no_writes(own_server: Callable[..., MariadbServer]) -> None:
    server = own_server()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER app")
        cursor.execute("GRANT ALL ON control.* TO app")
    url = server.url("control").replace("root@", "app@")
    Control.upgrade(url)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only = ON")
    with Control.open(url) as control, control.read() as connection:
        assert pauses.known(connection) == []
    with (
        pytest.raises(ControlFailed, match="read-only") as caught,
        Control.open(url) as control,
        control.write() as connection,
    ):
        pauses.put(connection, note("p"))
    assert "Name the primary" in caught.value.hint


def test_a_server_that_is_restarted(own_server: Callable[..., MariadbServer]) -> None:
    server = own_server()
    url = server.url("control")
    Control.upgrade(url)
    with Control.open(url) as control:
        with control.write() as connection:
            pauses.put(connection, note("before"))
        server.end(9)
        with pytest.raises(ControlFailed), control.read() as connection:
            pauses.known(connection)
        server.start()
        with control.write() as connection:
            pauses.put(connection, note("between"))
        with pytest.raises(ControlFailed), control.write() as connection:
            pauses.put(connection, note("lost"))
            server.end(9)
        server.start()
        with control.write() as connection:
            assert [one.target for one in pauses.known(connection)] == ["before", "between"]
            pauses.put(connection, note("after"))


def test_a_process_that_waits_for_another_says_so(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "NOTICE", 0.1)
    monkeypatch.setattr(engine, "PATIENCE", 1)
    with control.write(), pytest.raises(ControlFailed), control.write():
        pass
    assert "waiting for another process that writes to the control database" in caplog.text


def test_two_databases_of_one_server_do_not_wait_for_each_other(control: Control, mariadb_url: str) -> None:
    with control.write():
        Control.upgrade(mariadb_url)


def test_this_servers_driver_is_the_one_that_is_told(mariadb_control_url: str) -> None:
    for name in ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"):
        with Control.open(mariadb_control_url.replace("mysql:", f"{name}:")) as control, control.read() as connection:
            assert isinstance(connection.connection.dbapi_connection, pymysql.Connection)
