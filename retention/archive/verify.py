"""Whether the archive still holds what the control database says was put there: every byte, no file more or less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from retention.archive import merkle
from retention.archive.data_file import decode
from retention.archive.manifest import FileEntry, Manifest
from retention.archive.rows import leaves
from retention.archive.store import Store
from retention.errors import ArchiveFailed

#: what a file is that no batch has: added by somebody, or written by batches that a restored control database lost
UNKNOWN = (
    "is not known: no batch of the control database has this file; if that came back from a backup, it may be the only copy"
    " of deleted records: keep it"
)


@dataclass(frozen=True, kw_only=True)
class ExpectedFile:
    """A data file as the control database knows it; digests in hexadecimal."""

    path: str
    sha256: str
    rows: int
    merkle_root: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A batch as the control database knows it."""

    batch_id: str
    manifest_path: str
    manifest_sha256: str
    files: tuple[ExpectedFile, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: ``what`` continues the sentence that begins with ``path``."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


def verify_archive(store: Store, expected: Iterable[Expected]) -> Iterator[Finding]:
    """Verify every batch, then name the files that belong to none.

    The archive is listed before the first of ``expected`` is taken: read those lazily, and a batch that another process
    commits meanwhile is not taken for one that somebody added.
    """
    try:
        store.open()
    except ArchiveFailed as failure:
        yield Finding(path="the archive", what=f"cannot be relied on: {failure.message}")
    unknown: dict[str, str] = {}
    try:
        unknown |= dict.fromkeys(store.paths(), UNKNOWN)
        unknown |= dict.fromkeys(store.leftovers(), "is left over from a write that was interrupted")
    except ArchiveFailed as failure:
        yield Finding(path="the archive", what=f"cannot be searched for files that nobody knows: {failure.message}")
    for batch in expected:
        for path in (batch.manifest_path, *(file.path for file in batch.files)):
            unknown.pop(path, None)
        yield from verify_batch(store, batch)
    for path, what in sorted(unknown.items()):
        yield Finding(path=path.encode("utf-8", "backslashreplace").decode(), what=what)


def verify_batch(store: Store, expected: Expected) -> list[Finding]:
    """Read every file of the batch back: digests, counts, Merkle roots, and the manifest against ``expected``."""
    found: list[Finding] = []
    entries: dict[str, FileEntry] | None = None
    try:
        manifest = Manifest.from_bytes(_intact(store, expected.manifest_path, expected.manifest_sha256))
    except ArchiveFailed as failure:
        found.append(Finding(path=expected.manifest_path, what=f"does not verify: {failure.message}"))
    else:
        entries = {entry.path: entry for entry in manifest.files}
        found.extend(Finding(path=expected.manifest_path, what=what) for what in _disagreements(manifest, expected))
    for file in expected.files:
        found.extend(Finding(path=file.path, what=what) for what in _faults(store, file, entries))
    return found


def _disagreements(manifest: Manifest, expected: Expected) -> Iterator[str]:
    if manifest.batch != expected.batch_id:
        yield f"is the manifest of batch {manifest.batch}, not of {expected.batch_id}"
    named, known = {entry.path for entry in manifest.files}, {file.path for file in expected.files}
    yield from (f"names {path}, which the control database does not know" for path in sorted(named - known))
    yield from (f"does not name {path}, which the control database knows" for path in sorted(known - named))


def _faults(store: Store, file: ExpectedFile, entries: dict[str, FileEntry] | None) -> Iterator[str]:
    """What is wrong with one data file; ``entries`` are the manifest's, None where that itself does not verify."""
    try:
        rows = decode(_intact(store, file.path, file.sha256))
    except ArchiveFailed as failure:
        yield f"does not verify: {failure.message}"
        return
    if rows.num_rows != file.rows:
        yield f"holds {rows.num_rows} rows, not {file.rows}"
    if merkle.root(leaves(rows)).hex() != file.merkle_root:
        yield f"holds other rows than were archived: their Merkle root is not {file.merkle_root}"
    entry = entries.get(file.path) if entries is not None else None
    if entry is not None:
        if (entry.sha256, entry.rows, entry.merkle_root) != (file.sha256, file.rows, file.merkle_root):
            yield "is described otherwise by its manifest than by the control database"
        if [column.name for column in entry.columns] != rows.column_names:
            yield "has other columns than its manifest says"


def _intact(store: Store, path: str, digest: str) -> bytes:
    """The file's content. Raises ArchiveFailed unless it is there and has this SHA-256."""
    if not store.exists(path):
        raise ArchiveFailed("it is missing")
    content = store.read(path)
    if sha256(content).hexdigest() != digest:
        raise ArchiveFailed(f"it has been changed since it was written: its SHA-256 is not {digest}")
    return content
