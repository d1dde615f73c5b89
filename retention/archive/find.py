"""Reading archived records again: all of a file, one by its key, those with certain values; and proving one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from retention.archive import merkle
from retention.archive.data_file import decode
from retention.archive.manifest import FileEntry, Manifest
from retention.archive.rows import leaves
from retention.archive.store import Store
from retention.archive.value import typed
from retention.errors import ArchiveFailed, InputError, NotFound


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """That one record stands in an archive file: anyone can check ``proof`` with `merkle.check` against the
    ``merkle_root`` that ledger and manifest name. ``leaf`` is the digest of the row's canonical bytes."""

    path: str
    row: int
    leaf: bytes
    proof: merkle.Proof
    merkle_root: bytes


def rows_of(store: Store, file: FileEntry) -> pa.Table:
    """Every row of a file. Raises ArchiveFailed where it is gone, or not what was written."""
    content = store.read(file.path)
    if sha256(content).hexdigest() != file.sha256:
        raise ArchiveFailed(
            f"{file.path} has been changed since it was written", hint="`retention archive verify` says what else is."
        )
    return decode(content)


def find_key(store: Store, manifest: Manifest, key: Sequence[object]) -> tuple[int, dict[str, Any]] | None:
    """The root record with this key: its row, counted from 0, and its values by column. None where it is not there.

    The key's values may be text, as a person typed them, or values of the columns' own types.
    """
    file = manifest.files[0]
    rows = rows_of(store, file)
    index = _index(rows, file, key)
    return None if index is None else (index, rows.slice(index, 1).to_pylist()[0])


def proof_for(store: Store, manifest: Manifest, key: Sequence[object]) -> Inclusion | None:
    """The inclusion proof of the root record with this key, or None where it is not there."""
    file = manifest.files[0]
    rows = rows_of(store, file)
    index = _index(rows, file, key)
    if index is None:
        return None
    digests = leaves(rows)
    return Inclusion(
        path=file.path,
        row=index,
        leaf=digests[index],
        proof=merkle.prove(digests, index),
        merkle_root=bytes.fromhex(file.merkle_root),
    )


def select(store: Store, manifest: Manifest, where: Mapping[str, object]) -> pa.Table:
    """The root records in which every column of ``where`` has that value (None: is null).

    Text is read as the column's type. Raises NotFound for a column that the file does not have, and InputError for a
    value that its type cannot be.
    """
    file = manifest.files[0]
    rows = rows_of(store, file)
    return rows.filter(_mask(rows, file, where))


def _index(rows: pa.Table, file: FileEntry, key: Sequence[object]) -> int | None:
    if len(key) != len(file.key):
        raise InputError(f"a key of {file.table} has {len(file.key)} values ({', '.join(file.key)}), not {len(key)}")
    try:
        found = pc.indices_nonzero(_mask(rows, file, dict(zip(file.key, key, strict=True))))
    except InputError:  # a key that its column's type cannot be is the key of no record
        return None
    return found[0].as_py() if len(found) else None


def _mask(rows: pa.Table, file: FileEntry, where: Mapping[str, object]) -> pa.ChunkedArray:
    mask = pa.chunked_array([pa.repeat(True, rows.num_rows)])
    for name, value in where.items():
        mask = pc.and_(mask, _is(rows, file, name, value))
    return mask


def _is(rows: pa.Table, file: FileEntry, name: str, value: object) -> pa.ChunkedArray:
    entry = next((column for column in file.columns if column.name == name), None)
    if entry is None:
        near = difflib.get_close_matches(name, rows.column_names, n=1)
        raise NotFound(
            f"{file.table} has no column {name} in {file.path}",
            hint=f"Did you mean {near[0]}?" if near else f"It has {', '.join(rows.column_names)}.",
        )
    column = rows[name]
    if value is None:
        nothing = pc.is_null(column)
        return pc.or_(nothing, pc.fill_null(pc.equal(column, "NULL"), False)) if entry.travels == "literal" else nothing
    if entry.travels == "literal":  # SQLite's quote(): a number stands as it is, text in quotes
        text = str(value)
        quoted = "'" + text.replace("'", "''") + "'"
        return pc.is_in(column, pa.array([text, quoted] if text != "NULL" else [quoted]))
    return pc.fill_null(pc.equal(column, typed(name, value, column.type)), False)
