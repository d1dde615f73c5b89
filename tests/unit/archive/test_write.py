from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention import __version__
from retention.archive import merkle
from retention.archive.data_file import decode, encode, same
from retention.archive.file_store import FileStore
from retention.archive.manifest import BatchFacts, Manifest
from retention.archive.rows import leaves
from retention.archive.write import Part, discard, run_folder, write_batch
from retention.errors import ArchiveFailed


def test_a_batch_and_what_is_said_of_it(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    written = write_batch(store, parts, facts)
    stem = "crm/activities/2026/run-1/b-1"
    assert list(store.paths()) == [f"{stem}.1-crm.activity-comments.parquet", f"{stem}.json", f"{stem}.parquet"]
    assert written.manifest_path == f"{stem}.json"
    content = store.read(written.manifest_path)
    assert written.manifest_sha256 == sha256(content).hexdigest()
    assert Manifest.from_bytes(content) == written.manifest
    assert {field.name: getattr(written.manifest, field.name) for field in dataclasses.fields(facts)} == vars(facts)
    assert (written.manifest.retention, written.manifest.pyarrow) == (__version__, pa.__version__)
    assert [file.path for file in written.files] == [f"{stem}.parquet", f"{stem}.1-crm.activity-comments.parquet"]
    for file, part in zip(written.files, parts, strict=True):
        data = store.read(file.path)
        assert (file.table, file.key, file.columns) == (part.table, part.key, part.columns)
        assert (file.rows, file.bytes, file.sha256) == (part.rows.num_rows, len(data), sha256(data).hexdigest())
        assert file.merkle_root == merkle.root(leaves(part.rows)).hex()
        assert same(decode(data), part.rows)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_generated_tables_come_back_equal(
    data: st.DataObject,
    tables: st.SearchStrategy[Any],
    part_of: Callable[..., Part],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    table = data.draw(tables).table
    store = FileStore(tmp_path_factory.mktemp("archive"))
    store.create()
    facts = BatchFacts(
        archive="cold",
        batch="b",
        number=1,
        run="r",
        source="s",
        record_class="c",
        policy="p",
        policy_digest="d",
        mandate=None,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        hold_epoch=0,
        key_least=None,
        key_greatest=None,
        dialect="sqlite",
        written_at=datetime(2026, 10, 1, 2, 1, tzinfo=UTC),
    )
    written = write_batch(store, [part_of(table, key=("c0",))], facts)
    assert same(decode(store.read(written.files[0].path)), table)


def test_the_folder_of_a_run(facts: BatchFacts) -> None:
    assert run_folder(facts) == "crm/activities/2026/run-1"
    new_year_in_shanghai = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=8)))
    odd = dataclasses.replace(facts, source="../a b", record_class=".hidden", run="运行/1", as_of=new_year_in_shanghai)
    assert run_folder(odd) == "-a-b/hidden/2025/运行-1"
    assert run_folder(dataclasses.replace(facts, source="..", record_class="x" * 300)) == f"-/{'x' * 60}/2026/run-1"


class Corrupting(FileStore):
    """Changes what it gives back, from the read on that is named."""

    def __init__(self, root: Path, change: Callable[[bytes], bytes], suffix: str) -> None:
        super().__init__(root)
        self.change = change
        self.suffix = suffix

    def read(self, path: str) -> bytes:
        content = super().read(path)
        return self.change(content) if path.endswith(self.suffix) else content


@pytest.mark.parametrize("suffix", ["b-1.parquet", "comments.parquet", ".json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content + b"\0",
    ],
)
def test_what_reads_back_otherwise_is_no_archive(
    tmp_path: Path, parts: list[Part], facts: BatchFacts, change: Callable[[bytes], bytes], suffix: str
) -> None:
    store = Corrupting(tmp_path / "archive", change, suffix)
    FileStore(store.root).create()
    with pytest.raises(ArchiveFailed, match=r"b-1.*what was read back from the archive differs") as caught:
        write_batch(store, parts, facts)
    assert "dmesg" in caught.value.hint
    assert list(store.paths()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rows: rows.slice(1),
        lambda rows: rows.slice(0, 0),
        lambda rows: rows.set_column(0, "id", pa.array([1, 2, 3, 5], pa.int64())),
        lambda rows: rows.set_column(2, "amount", pa.array([1.5, 0.0, float("nan"), None])),
        lambda rows: rows.drop_columns(["action"]),
        lambda rows: rows.set_column(1, "action", pa.array(["call", "note", "", ""])),
    ],
)
def test_every_value_is_compared_and_not_the_bytes_alone(
    store: FileStore,
    parts: list[Part],
    facts: BatchFacts,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[pa.Table], pa.Table],
) -> None:
    """An encoder that loses something writes bytes that read back as they are: only the values tell."""
    monkeypatch.setattr("retention.archive.write.encode", lambda rows, metadata: encode(wrong(rows), metadata))
    with pytest.raises(ArchiveFailed, match="differs from what was written"):
        write_batch(store, parts[:1], facts)
    assert list(store.paths()) == []


def test_an_encoder_that_writes_nonsense(
    store: FileStore, parts: list[Part], facts: BatchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retention.archive.write.encode", lambda rows, metadata: pa.py_buffer(b"PAR1"))
    with pytest.raises(ArchiveFailed, match=r"b-1\.parquet: it is not a readable Parquet file"):
        write_batch(store, parts, facts)
    assert list(store.paths()) == []


@pytest.mark.parametrize("file_number", [1, 2, 3])
def test_a_full_disk_leaves_nothing(
    store: FileStore, parts: list[Part], facts: BatchFacts, monkeypatch: pytest.MonkeyPatch, file_number: int
) -> None:
    link, done = os.link, []

    def full(source: Path, target: Path) -> None:
        done.append(target)
        if len(done) == file_number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(ArchiveFailed, match="No space left on device") as caught:
        write_batch(store, parts, facts)
    assert "make room" in caught.value.hint
    assert list(store.paths()) == []
    assert list(store.leftovers()) == []


def test_the_first_failure_is_told_even_where_cleaning_up_fails_too(
    store: FileStore, parts: list[Part], facts: BatchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FileStore.write

    def second_fails(self: FileStore, path: str, data: Any) -> None:
        if "comments" in path:
            raise ArchiveFailed("the disk is full")
        write(self, path, data)

    def refuse(self: FileStore, path: str) -> None:
        raise ArchiveFailed(f"{path} could not be removed")

    monkeypatch.setattr(FileStore, "write", second_fails)
    monkeypatch.setattr(FileStore, "remove", refuse)
    with pytest.raises(ArchiveFailed, match="the disk is full") as caught:
        write_batch(store, parts, facts)
    assert caught.value.__notes__ == [
        "What had been written could not be removed again: crm/activities/2026/run-1/b-1.parquet could not be removed"
    ]


def test_a_batch_is_never_written_over_another(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    written = write_batch(store, parts, facts)
    before = {path: store.read(path) for path in store.paths()}
    with pytest.raises(ArchiveFailed, match="File exists"):
        write_batch(store, parts[:1], facts)
    assert {path: store.read(path) for path in store.paths()} == before
    store.remove(written.files[0].path)
    with pytest.raises(ArchiveFailed, match="File exists"):
        write_batch(store, parts, facts)
    assert list(store.paths()) == sorted([written.manifest_path, written.files[1].path])


def test_columns_must_be_those_announced(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    part = dataclasses.replace(parts[0], columns=parts[0].columns[::-1])
    with pytest.raises(ArchiveFailed, match="the rows of activity_logs have other columns than were announced"):
        write_batch(store, [part], facts)


def test_facts_that_could_not_be_read_again(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    with pytest.raises(ArchiveFailed, match=r"it is not a manifest as retention writes it: .*number is '1'"):
        write_batch(store, parts, dataclasses.replace(facts, number="1"))  # type: ignore[arg-type]
    assert list(store.paths()) == []


def test_discard_passes_over_what_is_gone(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    written = write_batch(store, parts, facts)
    paths = [written.manifest_path, *(file.path for file in written.files)]
    store.remove(paths[1])
    discard(store, paths)
    discard(store, paths)
    assert list(store.paths()) == []


def test_the_data_file_says_whose_it_is(store: FileStore, parts: list[Part], facts: BatchFacts) -> None:
    import pyarrow.parquet as pq

    written = write_batch(store, parts, facts)
    said = pq.read_schema(store.local_path(written.files[1].path)).metadata
    assert said[b"retention.batch"] == b"b-1"
    assert said[b"retention.table"] == b"crm.activity comments"
    assert json.loads(store.read(written.manifest_path))["files"][1]["table"] == "crm.activity comments"
