"""Keys that no person can write: such a record could neither be held nor restored by its key, so it is not deleted."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from retention.archive.write import Part
from retention.errors import SchemaUnsafe
from retention.sources.literal import value_of
from retention.sources.sqlite_schema import kind_of
from retention.sources.table import Kind


def refuse_unnameable(part: Part) -> None:
    """Raise SchemaUnsafe for a key with a NUL in it, which SQLite and MySQL store, and which no command line carries and
    SQLite's own functions read to the NUL alone; for a number beyond 64 bits with their sign, which only MySQL stores; and for
    a value of another type than the key is declared, which SQLite takes also after the class was looked at."""
    literal = {entry.name for entry in part.columns if entry.travels == "literal"}
    unsigned = {entry.name for entry in part.columns if entry.type.startswith("bigint") and entry.travels == "text"}
    for name in part.key:
        column = part.rows[name]
        if not pa.types.is_string(column.type):
            continue
        if name in unsigned:  # one of its numbers did not fit, or all would travel as such
            greatest = max(int(text) for text in column.to_pylist())
            raise SchemaUnsafe(
                f"a record of {part.table} has the number {greatest} in its key, beyond {2**63 - 1}, so nothing of its batch was"
                " deleted: nobody could hold or restore it by its key",
                hint="give this record another key, or leave it out by a `where`",
            )
        if name in literal:
            _refuse_other_types(part, name)
        # text that is not plain travels by its bytes: CAST(X'...' AS TEXT)
        suspect = pc.match_substring(column, "CAST(" if name in literal else "\0")
        for value in column.filter(suspect).to_pylist():
            text = value_of(value) if name in literal else value
            if isinstance(text, str) and "\0" in text:
                raise SchemaUnsafe(
                    f"a record of {part.table} has a key with a NUL character in it, {text!r}, so nothing of its batch was"
                    " deleted: nobody could hold or restore it by its key",
                    hint="give this record another key, or leave it out by a `where`",
                )


def _refuse_other_types(part: Part, name: str) -> None:
    [declared] = [entry.type for entry in part.columns if entry.name == name]
    whole = kind_of(declared) is Kind.INTEGER
    for literal in part.rows[name].to_pylist():
        if not isinstance(value_of(literal), int if whole else str):
            raise SchemaUnsafe(
                f"a record of {part.table} has the key {literal}, which is no {'whole number' if whole else 'text'}, so nothing"
                " of its batch was deleted: nobody could hold or restore it by its key",
                hint=f"give every record a {name} of the declared type",
            )
