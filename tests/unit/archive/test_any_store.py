"""What every store promises: a folder, a bucket, a bucket with versions, and one whose copies are locked."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from retention.archive.file_store import FileStore
from retention.archive.manifest import BatchFacts
from retention.archive.marker import MARKER
from retention.archive.s3_store import S3Store
from retention.archive.store import Store
from retention.archive.verify import verify_archive
from retention.archive.write import Part, discard, write_batch
from retention.errors import ArchiveFailed

#: makes the same archive again, as another process would
Opened = Callable[[], Store]


@pytest.fixture(params=["folder", "bucket", "versions", "locked"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """An archive that is not yet made."""
    if request.param == "folder":
        return lambda: FileStore(tmp_path / "archive")
    server: Any = request.getfixturevalue("s3_server")
    bucket = server.bucket(versions=request.param == "versions", locks=request.param == "locked")
    lock = "governance" if request.param == "locked" else None
    return lambda: S3Store(bucket, "deep/archive", endpoint=server.endpoint, lock=lock)


@pytest.fixture
def any_store(opened: Opened) -> Store:
    """A new archive."""
    store = opened()
    store.create()
    return store


def test_write_read_list_remove(any_store: Store) -> None:
    any_store.write("crm/a/2026/r/b.parquet", b"one")
    any_store.write("crm/a/2026/r/b.json", memoryview(b"two"))
    any_store.write("other", pa.py_buffer(b"three"))
    any_store.write("höhe", b"")
    assert any_store.read("crm/a/2026/r/b.parquet") == b"one"
    assert any_store.read("crm/a/2026/r/b.json") == b"two"
    assert any_store.read("other") == b"three"
    assert any_store.read("höhe") == b""
    assert list(any_store.paths()) == ["crm/a/2026/r/b.json", "crm/a/2026/r/b.parquet", "höhe", "other"]
    assert list(any_store.paths("crm/a/2026/r/b.p")) == ["crm/a/2026/r/b.parquet"]
    assert list(any_store.paths("crm/a/2026/r/")) == ["crm/a/2026/r/b.json", "crm/a/2026/r/b.parquet"]
    assert list(any_store.paths("cr")) == ["crm/a/2026/r/b.json", "crm/a/2026/r/b.parquet"]
    assert list(any_store.paths("nowhere/x")) == []
    assert any_store.exists("other")
    assert not any_store.exists("crm/a")
    assert not any_store.exists("oth")
    assert not any_store.exists("other/deeper")
    any_store.remove("other")
    assert not any_store.exists("other")
    assert "other" not in list(any_store.paths())
    for use, what in ((any_store.remove, "removed"), (any_store.read, "read")):
        with pytest.raises(ArchiveFailed, match=f"other could not be {what}"):
            use("other")
    assert list(any_store.leftovers()) == []


def test_nothing_is_overwritten(any_store: Store) -> None:
    any_store.write("a/b", b"one")
    with pytest.raises(ArchiveFailed, match="a/b could not be written: ") as caught:
        any_store.write("a/b", b"two")
    assert caught.value.hint == "What is in an archive is never overwritten."
    assert any_store.read("a/b") == b"one"
    assert list(any_store.paths()) == ["a/b"]
    assert list(any_store.leftovers()) == []


def test_one_of_many_writers_wins(any_store: Store) -> None:
    refused: list[str] = []

    def write(number: int) -> None:
        try:
            any_store.write("x/y/z", f"{number}".encode())
        except ArchiveFailed as failure:
            refused.append(failure.message)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert list(any_store.paths()) == ["x/y/z"]


def test_no_path_leaves_the_archive_by_its_text(any_store: Store) -> None:
    for path in ("", ".", "..", "a/../b", "../b", "/etc/passwd", "a//b", "a/", "a\\b", "a\0b", "a/./b"):
        for use in (any_store.read, any_store.exists, any_store.remove, lambda path: any_store.write(path, b"")):
            with pytest.raises(ArchiveFailed, match="is not a path inside an archive"):
                use(path)


def test_a_new_archive_is_made_once(opened: Opened) -> None:
    assert not opened().is_archive()
    with pytest.raises(ArchiveFailed, match=r"is no archive|is not there"):
        opened().ensure(expected=True)
    identity = opened().ensure(expected=False)
    assert uuid.UUID(identity)
    assert opened().ensure(expected=False) == opened().ensure(expected=True) == opened().open() == identity
    assert list(opened().paths()) == []
    with pytest.raises(ArchiveFailed, match="is no archive, and not empty"):
        opened().create()


def test_a_changed_marker_is_found(any_store: Store) -> None:
    content = any_store.read(MARKER)
    any_store.remove(MARKER)
    with pytest.raises(ArchiveFailed, match="is no archive: its marker"):
        any_store.ensure(expected=True)
    _put(any_store, content.replace(b'"archive": "', b'"archive": "0'))
    with pytest.raises(ArchiveFailed, match="has been changed since it was written") as caught:
        any_store.open()
    assert "backup" in caught.value.hint


def _put(store: Store, content: bytes) -> None:
    if isinstance(store, FileStore):
        (store.root / MARKER).write_bytes(content)
    else:
        store.write(MARKER, content)


def test_a_batch_is_written_verified_and_discarded(
    any_store: Store, parts: list[Part], facts: BatchFacts, expected_of: Callable[..., Any]
) -> None:
    written = write_batch(any_store, parts, facts)
    assert list(verify_archive(any_store, [expected_of(written)])) == []
    any_store.write("crm/activities/2026/run-1/extra.parquet", b"x")
    [finding] = verify_archive(any_store, [expected_of(written)])
    assert str(finding).startswith("crm/activities/2026/run-1/extra.parquet is not known")
    any_store.remove(written.files[1].path)
    missing = [finding.what for finding in verify_archive(any_store, [expected_of(written)])]
    assert "does not verify: it is missing" in missing
    discard(any_store, [written.manifest_path, *(file.path for file in written.files)])
    assert list(any_store.paths()) == ["crm/activities/2026/run-1/extra.parquet"]
