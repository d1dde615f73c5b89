"""A batch's files: written, read back from the store and compared, before anybody may rely on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from hashlib import sha256

import pyarrow as pa

from retention import __version__
from retention.archive import merkle
from retention.archive.data_file import decode, encode, same
from retention.archive.manifest import BatchFacts, FileEntry, Manifest
from retention.archive.rows import leaves
from retention.archive.store import Store
from retention.errors import ArchiveFailed
from retention.sources.column_entry import ColumnEntry


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of one table in a batch. ``columns`` describe those of ``rows``, in the same order."""

    table: str
    key: tuple[str, ...]
    columns: tuple[ColumnEntry, ...]
    rows: pa.Table
    #: the rows stay in the source, and have null where these columns say to what they referred
    detached: bool = False


@dataclass(frozen=True, kw_only=True)
class Written:
    """What now stands in the archive, verified. ``files[0]`` is the root table's."""

    manifest_path: str
    manifest_sha256: str
    manifest: Manifest

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The data files, the root table's first."""
        return self.manifest.files


def write_batch(store: Store, parts: Sequence[Part], facts: BatchFacts) -> Written:
    """Write the files of ``parts`` (the root table's first) and their manifest.

    When this returns, each file is on disk and was read back equal: digest, count and every value. Raises ArchiveFailed
    otherwise, with what it had written removed again; where even that fails, the error says so.
    """
    written: list[str] = []
    stem = f"{run_folder(facts)}/{_plain(facts.batch)}"
    try:
        files = []
        for number, part in enumerate(parts):
            path = f"{stem}.{number}-{_plain(part.table)}.parquet" if number else f"{stem}.parquet"
            files.append(_write_part(store, path, part, facts, written))
        manifest = Manifest(
            **asdict(facts),
            retention=__version__,
            pyarrow=pa.__version__,
            files=tuple(files),
        )
        path = f"{stem}.json"
        content = _write_back(store, path, manifest.to_bytes(), written)
        manifest = Manifest.from_bytes(content)  # as `retention archive verify` will read it
    except BaseException as error:
        try:
            discard(store, reversed(written))  # the manifest first: one that stands vouches for all its files
        except ArchiveFailed as failure:
            error.add_note(f"What had been written could not be removed again: {failure.message}")
        raise
    return Written(manifest_path=path, manifest_sha256=sha256(content).hexdigest(), manifest=manifest)


def run_folder(facts: BatchFacts) -> str:
    """Where every file of the run lies: ``source/class/year/run``, the year being that of `as_of` in UTC."""
    year = facts.as_of.astimezone(UTC).year
    return f"{_plain(facts.source)}/{_plain(facts.record_class)}/{year:04}/{_plain(facts.run)}"


def discard(store: Store, paths: Iterable[str]) -> None:
    """Remove the files of a batch that was not committed. Those that are not there (any more) are passed over."""
    for path in paths:
        if store.exists(path):
            store.remove(path)


def _write_part(store: Store, path: str, part: Part, facts: BatchFacts, written: list[str]) -> FileEntry:
    if part.rows.column_names != [column.name for column in part.columns]:
        raise ArchiveFailed(f"the rows of {part.table} have other columns than were announced")
    about = {"source": facts.source, "class": facts.record_class, "table": part.table, "run": facts.run}
    data = encode(part.rows, {f"retention.{name}": value for name, value in {**about, "batch": facts.batch}.items()})
    try:
        back = decode(_write_back(store, path, data, written))
    except ArchiveFailed as failure:
        raise ArchiveFailed(f"{path}: {failure.message}", hint=failure.hint) from failure
    if back.num_rows != part.rows.num_rows or not same(back, part.rows):
        raise _differs(path)
    return FileEntry(
        path=path,
        table=part.table,
        rows=part.rows.num_rows,
        bytes=data.size,
        sha256=sha256(data).hexdigest(),
        merkle_root=merkle.root(leaves(part.rows)).hex(),
        key=part.key,
        columns=part.columns,
        detached=part.detached,
    )


def _write_back(store: Store, path: str, data: bytes | pa.Buffer, written: list[str]) -> bytes:
    """Write, and return what the store then holds: the same bytes."""
    store.write(path, data)
    written.append(path)  # only now: what stood there before is not ours to discard
    back = store.read(path)
    if back != memoryview(data).cast("B"):
        raise _differs(path)
    return back


def _differs(path: str) -> ArchiveFailed:
    return ArchiveFailed(
        f"{path}: what was read back from the archive differs from what was written. Nothing was deleted.",
        hint="Check the disk (dmesg, smartctl) before you run this again.",
    )


def _plain(name: str) -> str:
    """The name as a part of a path: letters, digits and ``_-.``, at most 60 characters. Two names may become one; batch
    ids keep their files apart."""
    return re.sub(r"[^\w.-]+", "-", name).lstrip(".")[:60] or "-"
