"""What stands beside a batch's files: what they are, where they came from, under which rule, and how to prove it.

JSON that a person can read. Times are UTC with microseconds, digests SHA-256 in hexadecimal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from retention.errors import ArchiveFailed
from retention.sources.column_entry import ColumnEntry, Travels

#: raised with every change of what a manifest says; readers refuse those that they do not know
FORMAT = 1
_FORMAT_KEY = "retention manifest"

_Value = TypeVar("_Value")

#: a value of a key column
KeyValue = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One data file: the rows of ``table`` in a batch. ``bytes`` and ``sha256`` are the file's own."""

    path: str
    table: str
    rows: int
    bytes: int
    sha256: str
    #: over the rows, in file order; see `merkle`
    merkle_root: str
    key: tuple[str, ...]
    columns: tuple[ColumnEntry, ...]
    #: the rows stayed in the source, and no longer refer to what these columns say; said only where it is so
    detached: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """Which batch it is and why it was due."""

    archive: str
    batch: str
    #: counts the run's batches
    number: int
    run: str
    source: str
    record_class: str
    policy: str
    policy_digest: str
    mandate: str | None
    as_of: datetime
    #: how many changes of holds this batch has seen
    hold_epoch: int
    #: the least and greatest value of the key's first column, by code point or number
    key_least: KeyValue
    key_greatest: KeyValue
    #: the source's kind of database: "postgresql", "sqlite"
    dialect: str
    #: when writing began, by the clock that also says when a batch was prepared
    written_at: datetime


@dataclass(frozen=True, kw_only=True)
class Manifest(BatchFacts):
    """The facts and, the root table's first, the files."""

    #: versions of what wrote it
    retention: str
    pyarrow: str
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        """The manifest as it stands in its file."""
        content = {_FORMAT_KEY: FORMAT} | asdict(self)
        content |= {name: _time_text(content[name]) for name in _TIMES}
        for file in content["files"]:
            if not file["detached"]:
                del file["detached"]
        return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """What `to_bytes` wrote. Raises ArchiveFailed for another version and for what it would not have written."""
        try:
            content = json.loads(data)
        except ValueError as error:
            raise ArchiveFailed(f"it is not JSON: {error}") from None
        if not isinstance(content, dict) or _FORMAT_KEY not in content:
            raise ArchiveFailed("it is not a manifest of retention")
        if content[_FORMAT_KEY] != FORMAT:
            raise ArchiveFailed(
                f"it is a manifest of version {content[_FORMAT_KEY]}, and this retention reads version {FORMAT}",
                hint="Install the version of retention that wrote it, or a later one.",
            )
        try:
            facts: dict[str, Any] = {name: content[name] for name in _PLAIN}
            facts |= {name: datetime.strptime(content[name], _TIME).replace(tzinfo=UTC) for name in _TIMES}
            manifest = _typed(cls(**facts, files=tuple(map(_file, content["files"]))))
            written = manifest.to_bytes()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArchiveFailed(f"it is not a manifest as retention writes it: {error!r}") from None
        if written != data:  # unknown and doubled keys, other types and spellings: all at once
            raise ArchiveFailed("it is not a manifest as retention writes it: it has been edited")
        return manifest


_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_TIMES = ("as_of", "written_at")
_PLAIN = tuple(field.name for field in fields(Manifest) if field.name not in (*_TIMES, "files"))


def _time_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _file(content: Mapping[str, Any]) -> FileEntry:
    columns = tuple(_typed(ColumnEntry(**column)) for column in content["columns"])
    if any(column.travels not in get_args(Travels) for column in columns):
        raise ValueError("a column travels in a way that is not known")
    return _typed(FileEntry(**{**content, "key": tuple(content["key"]), "columns": columns}))


def _typed(value: _Value) -> _Value:
    """The value itself, if every plain field has the type that its class declares; else TypeError."""
    for name, hint in get_type_hints(type(value)).items():
        if isinstance(hint, type | UnionType) and not isinstance(getattr(value, name), hint):
            raise TypeError(f"{name} is {getattr(value, name)!r}")
    return value
