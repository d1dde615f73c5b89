"""What fails in the middle of a run: it is tried again where that can help, and otherwise nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from retention.archive.file_store import FileStore
from retention.disposition import execute, windows
from retention.disposition.job import Disposed
from retention.errors import ArchiveFailed, ControlFailed, Refused, SchemaUnsafe, SourceFailed
from retention.ledger import batches
from retention.sources import statements
from retention.sources.mariadb_session import MariadbSession
from retention.sources.postgresql import PostgresqlSession
from retention.sources.read import Widen
from retention.sources.source import SourceBusy

ROWS = 300


def whole(site: Any) -> None:
    """Run again, and everything due is archived once and gone."""
    assert site.run().state == "finished"
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS)
    assert site.archived() == Counter(site.due_ids(ROWS))
    assert site.findings() == []


def test_a_busy_source_is_tried_again(any_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    any_site.fill(ROWS)
    real, turns = execute.dispose, iter(range(100))

    def dispose(lane: execute.Lane, window: object) -> Disposed:
        if next(turns) < 3:
            raise SourceBusy("crm: somebody else is writing")
        return real(lane, window)

    monkeypatch.setattr(execute, "dispose", dispose)
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    whole(any_site)


def test_but_not_for_ever(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_site.fill(ROWS)
    tried = []

    def dispose(lane: execute.Lane, window: object) -> Disposed:
        tried.append(window)
        raise SourceBusy("crm: somebody else is writing")

    with monkeypatch.context() as patch:
        patch.setattr(execute, "dispose", dispose)
        patch.setattr(execute.time, "sleep", lambda seconds: None)
        with pytest.raises(SourceBusy):
            plain_site.run()
    assert execute.ATTEMPTS <= len(tried) <= 2 * execute.ATTEMPTS
    assert plain_site.asked("SELECT state, reason FROM run") == [("failed", "crm: somebody else is writing")]
    whole(plain_site)


def test_values_that_keep_widening_end_in_words(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_site.fill(ROWS)

    def dispose(lane: execute.Lane, window: object) -> Disposed:
        raise Widen(frozenset({"note"}))

    with monkeypatch.context() as patch:
        patch.setattr(execute, "dispose", dispose)
        with pytest.raises(SourceFailed, match="values beyond Arrow's range kept appearing"):
            plain_site.run()
    whole(plain_site)


@pytest.mark.parametrize("how", ["UPDATE activity_logs SET tags = '{tags}'", "DELETE FROM activity_logs"])
def test_a_row_that_the_application_changes_meanwhile(
    server_site: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """PostgreSQL, REPEATABLE READ: the batch fails with SQLSTATE 40001. MariaDB, READ COMMITTED: fewer are read, or go, than
    were noted. Either begins anew, on the changed state, and comes to the end of the table."""
    server_site.fill(ROWS)
    changed = threading.Event()
    tags = "{sales}" if server_site.dialect == "postgresql" else '["sales"]'

    def change() -> None:
        if not changed.is_set():
            changed.set()
            server_site.run_sql(server_site.url, f"{how.format(tags=tags)} WHERE id = 15", "SELECT 1")

    real, select_batch = PostgresqlSession.share_fence, statements.select_batch

    def share_fence(session: PostgresqlSession, addresses: list[str]) -> None:
        real(session, addresses)
        session.rows("SELECT 1 FROM activity_logs LIMIT 1")  # the snapshot is taken
        change()

    def select_noted(bound: Any) -> Any:
        change()
        return select_batch(bound)

    with monkeypatch.context() as patch:
        if server_site.dialect == "postgresql":
            patch.setattr(PostgresqlSession, "share_fence", share_fence)
        else:
            patch.setattr(windows, "FIRST_ROWS", 4)  # a batch that finds fewer would take it for the end
            patch.setattr(statements, "select_batch", select_noted)
        assert server_site.run().state == "finished"
    assert changed.is_set()
    due = server_site.due_ids(ROWS) - {15}
    assert server_site.archived() == dict.fromkeys(due, 1)
    assert set(range(1, ROWS + 1)) - server_site.ids() == due | ({15} if "DELETE" in how else set())
    assert server_site.findings() == []


def test_another_number_of_rows_than_was_read_is_never_committed(
    server_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream cut short would say that all is well: the database itself counts what it deleted."""
    server_site.fill(ROWS)
    before = server_site.everything()
    real = MariadbSession.execute

    def one_more(session: MariadbSession, statement: Any) -> int:
        return real(session, statement) + isinstance(statement, sa.Delete)

    with monkeypatch.context() as patch:
        patch.setattr(execute.time, "sleep", lambda seconds: None)
        if server_site.dialect == "postgresql":
            patch.setattr(PostgresqlSession, "deleted_in_transaction", lambda session, table: 21)
            told = "20 rows of activity_logs were read and 21 deleted"
        else:
            patch.setattr(MariadbSession, "execute", one_more)
            told = "rows of activity_logs changed while they were read"
        with pytest.raises(SourceFailed, match=told):
            server_site.run()
    assert server_site.everything() == before
    assert server_site.archived() == Counter()
    whole(server_site)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_an_archive_that_cannot_be_written_deletes_nothing(
    site: Any, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    """The records' file, their comments' file, the manifest."""
    site.fill(ROWS)
    before = site.everything()
    real, turns = FileStore.write, iter(range(1, 100))

    def write(store: FileStore, path: str, data: bytes) -> None:
        if next(turns) == turn:
            raise ArchiveFailed(f"{path} could not be written: No space left on device")
        real(store, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "write", write)
        with pytest.raises(ArchiveFailed, match="No space left"):
            site.run()
    assert site.everything() == before
    assert site.findings() == []  # no file that nobody knows
    whole(site)


def test_an_archive_that_reads_back_differently_deletes_nothing(any_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    any_site.fill(ROWS)
    before = any_site.everything()
    real = FileStore.read

    def read(store: FileStore, path: str) -> bytes:
        content = bytearray(real(store, path))
        if path.endswith(".parquet"):
            content[len(content) // 2] ^= 1
        return bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "read", read)
        with pytest.raises(ArchiveFailed):
            any_site.run()
    assert any_site.everything() == before
    whole(any_site)


@pytest.mark.parametrize("written", [False, True])
def test_a_control_database_that_refuses_deletes_nothing(
    any_site: Any, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """Also where the row of the batch was written and only its acknowledgement was lost."""
    any_site.fill(ROWS)
    before = any_site.everything()
    real = batches.prepare

    def prepare(connection: Any, owner: str, batch: Any, files: Any) -> None:
        if written:
            real(connection, owner, batch, files)
            connection.commit()
        raise ControlFailed("the control database refused: disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(batches, "prepare", prepare)
        with pytest.raises(ControlFailed):
            any_site.run()
    assert any_site.everything() == before
    assert any_site.asked("SELECT count(*) FROM batch WHERE state <> 'aborted'") == [(0,)]
    assert any_site.findings() == []
    whole(any_site)


def test_an_archive_whose_disk_is_not_mounted_is_not_made_anew(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.run()
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = '2026-01-01 00:00:00' WHERE id = 3")
    archive: Path = plain_site.folder / "archive"
    archive.rename(plain_site.folder / "elsewhere")
    archive.mkdir()
    with pytest.raises(ArchiveFailed, match="is no archive"):
        plain_site.run()
    assert 3 in plain_site.ids()
    assert list(archive.iterdir()) == []
    archive.rmdir()
    (plain_site.folder / "elsewhere").rename(archive)
    assert plain_site.run().deleted == 1


def test_a_table_that_would_cascade_is_refused_before_anything_goes(site: Any) -> None:
    site.fill(ROWS)
    site.run_sql(
        site.url,
        "CREATE TABLE attachments (id INTEGER PRIMARY KEY, activity_id BIGINT REFERENCES activity_logs(id) ON DELETE CASCADE)",
    )
    with pytest.raises(SchemaUnsafe, match="attachments"):
        site.run()
    assert len(site.ids()) == ROWS


def test_a_run_that_is_over_is_not_done_again(plain_site: Any) -> None:
    from retention.disposition.run import perform
    from retention.ledger import runs

    plain_site.fill(ROWS)
    done = plain_site.run()
    engine = plain_site.engine()
    with engine.control.read() as connection:
        run = runs.get(connection, done.run)
    with pytest.raises(Refused, match="is over"):
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
