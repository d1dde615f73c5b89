"""Keys that no person can write: such a record could neither be held nor restored by its key, so it is not deleted."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from retention.archive.write import Part
from retention.errors import SchemaUnsafe
from retention.sources.literal import value_of


def refuse_unnameable(part: Part) -> None:
    """Raise SchemaUnsafe for a key with a NUL in it, which only SQLite stores, and which no command line carries and
    SQLite's own functions read to the NUL alone."""
    literal = {entry.name for entry in part.columns if entry.travels == "literal"}
    for name in part.key:
        column = part.rows[name]
        if not pa.types.is_string(column.type):
            continue
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
