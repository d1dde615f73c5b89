from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from retention.errors import ControlFailed, EvidenceBroken, InputError, NotFound, Refused
from retention.ledger import chain
from retention.ledger.control import Control
from retention.ledger.migrations import REVISIONS, VERSION_TABLE
from retention.ledger.tables import metadata


def test_migrations_make_exactly_the_tables(control: Control) -> None:
    with control.read() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_code_knows_every_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "retention.ledger:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)
    assert scripts.get_current_head() == REVISIONS[-1]


def test_upgrade_twice_changes_nothing_and_begins_the_chain_once(control_url: str) -> None:
    Control.upgrade(control_url)
    Control.upgrade(control_url)
    with Control.open(control_url) as control, control.read() as connection:
        assert [entry.kind for entry in chain.entries(connection)] == ["control.created"]


def test_two_processes_upgrade_at_once(control_url: str) -> None:
    code = "import sys; from retention.ledger.control import Control; sys.stdin.read(); Control.upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, control_url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    with Control.open(control_url) as control, control.read() as connection:
        assert len(list(chain.entries(connection))) == 1


def test_threads_upgrade_different_databases_at_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(4)]
    threads = [threading.Thread(target=Control.upgrade, args=[url]) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for url in urls:
        Control.open(url).close()


def test_open_before_upgrade(control_url: str) -> None:
    with pytest.raises(InputError) as caught:
        Control.open(control_url)
    assert caught.value.hint.startswith("Run `retention control upgrade`.")


def test_open_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Control.open(f"sqlite:///{tmp_path / 'control.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_database_is_refused_by_open_and_upgrade(control: Control, control_url: str) -> None:
    with control.write() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for attempt in (Control.open, Control.upgrade):
        with pytest.raises(Refused, match="newer release"):
            attempt(control_url)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    for attempt in (Control.open, Control.upgrade):
        with pytest.raises(InputError, match=f"no folder {tmp_path / 'nowhere'}"):
            attempt(f"sqlite:///{tmp_path / 'nowhere' / 'control.db'}")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_text("a letter to the tax office, of some length, that is no database\n" * 20)
    with pytest.raises(ControlFailed, match=r"control\.db refused: file is not a database"):
        Control.open(f"sqlite:///{tmp_path / 'control.db'}")


@pytest.mark.parametrize("password", ["s3cret", "p%40ss%2Fword", "a+b"])
def test_no_error_shows_a_password(password: str) -> None:
    with pytest.raises(ControlFailed) as caught:
        Control.open(f"postgresql://user:{password}@127.0.0.1:1/nowhere")
    text = str(caught.value)
    assert "127.0.0.1/nowhere" in text
    assert password not in text and "p@ss/word" not in text


@pytest.mark.parametrize(
    "url", ["mssql://u:s3cret@h/d", "mysql://u:s3cret@h", "mysql://u:s3cret@h/d?init_command=x", "mysql+asyncmy://u:s3cret@h/d",
            "mysql://u:s3cret@h/d?read_timeout=s3cret",
            "oracle://u:s3cret@h/d", "postgres://u:s3cret@h/d", "nonsense s3cret", "", "sqlite://",
            "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)  # fmt: skip
def test_other_urls_are_input_errors_that_show_no_secret(url: str) -> None:
    for attempt in (Control.open, Control.upgrade):
        with pytest.raises(InputError) as caught:
            attempt(url)
        assert "s3cret" not in str(caught.value)
        assert caught.value.hint


def test_an_error_inside_rolls_everything_back(control: Control) -> None:
    with pytest.raises(KeyError), control.write() as connection:
        connection.execute(metadata.tables["head"].update().values(hold_epoch=7))
        raise KeyError
    with control.read() as connection:
        head = chain.read_head(connection)
    assert head is not None and head.hold_epoch == 0


def test_a_statement_that_the_database_refuses_is_a_control_failure(control: Control) -> None:
    with pytest.raises(ControlFailed, match="refused"), control.write() as connection:
        connection.execute(metadata.tables["head"].insert().values(id=1, seq=0, hash="", hold_epoch=0))
    with control.write() as connection:  # and the connection can be used again
        connection.execute(metadata.tables["head"].update().values(hold_epoch=1))


def test_foreign_keys_are_kept(control: Control) -> None:
    with pytest.raises(ControlFailed), control.write() as connection:
        connection.execute(metadata.tables["hold_key"].insert().values(hold_id="none", key="[1]"))


def test_a_reader_sees_one_state(control: Control) -> None:
    count = sa.select(sa.func.count()).select_from(metadata.tables["ledger"])
    with control.read() as reading:
        before = reading.execute(count).scalar()
        with control.write() as writing:
            chain.append(writing, kind="policies.changed", subject="s", body={}, at=datetime.now(UTC))
        assert reading.execute(count).scalar() == before
    with control.read() as reading:
        assert reading.execute(count).scalar() == 2


def test_one_writes_at_a_time_and_reads_what_the_one_before_wrote(control: Control) -> None:
    head = metadata.tables["head"]

    def count_up() -> None:
        for _ in range(20):
            with control.write() as connection:
                epoch = connection.execute(sa.select(head.c.hold_epoch)).scalar_one()
                connection.execute(head.update().values(hold_epoch=epoch + 1))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with control.read() as connection:
        assert connection.execute(sa.select(head.c.hold_epoch)).scalar_one() == 80


def test_sqlite_is_durable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    Control.upgrade(url)
    with Control.open(url) as control, control.write() as connection:
        names = ("journal_mode", "synchronous", "busy_timeout")
        settings = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}


def test_an_older_database_asks_for_the_upgrade(
    control: Control, control_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retention.ledger.control.REVISIONS", (*REVISIONS, "9000"))
    with pytest.raises(InputError, match=r"of an older release \(revision 0002\)") as caught:
        Control.open(control_url)
    assert caught.value.hint == "Run `retention control upgrade`."


def test_a_writer_waits_and_then_says_so(control_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retention.ledger.engine.PATIENCE", 0.2)
    Control.upgrade(control_url)
    with Control.open(control_url) as control, control.write():
        with pytest.raises(ControlFailed) as caught, control.write():
            pass
        assert caught.value.hint.startswith("Another process has been writing")


def test_the_chain_does_not_fork_even_outside_of_write(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    with control.write() as connection:
        stale = chain.read_head(connection)
        chain.append(connection, kind="policies.changed", subject="a", body={}, at=datetime.now(UTC))
        connection.execute(metadata.tables["ledger"].delete().where(metadata.tables["ledger"].c.seq == 2))
        monkeypatch.setattr(chain, "read_head", lambda _: stale)
        with pytest.raises(EvidenceBroken, match="moved the head"):
            chain.append(connection, kind="policies.changed", subject="b", body={}, at=datetime.now(UTC))


def test_there_is_no_such_entry(control: Control) -> None:
    with control.read() as connection, pytest.raises(NotFound, match="no entry 2"):
        chain.get(connection, 2)
