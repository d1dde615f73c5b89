"""Only a NUL makes a key that nobody can write: other text that a column of mixed types carries by its bytes is no obstacle."""

from __future__ import annotations

import pyarrow as pa
import pytest

from retention.archive.write import Part
from retention.disposition.unnameable import refuse_unnameable
from retention.errors import SchemaUnsafe
from retention.sources.column_entry import ColumnEntry, Travels

#: as SQLite's quote() and the projection of such a column write them
WRITABLE = ["'a'", "'CAST(a)'", "CAST(X'C3A9' AS TEXT)", "CAST(X'FF61' AS TEXT)", "'7'"]


def part(travels: Travels, keys: list[str] | list[int], declared: str = "TEXT") -> Part:
    column = ColumnEntry(name="k", type=declared, travels=travels)
    return Part(table="notes", key=("k",), columns=(column,), rows=pa.table({"k": keys}))


def test_a_number_beyond_64_bits_with_their_sign_is_no_key() -> None:
    part = Part(
        table="t",
        key=("id",),
        columns=(ColumnEntry(name="id", type="bigint(20) unsigned", travels="text"),),
        rows=pa.table({"id": ["1", "18446744073709551615"]}),
    )
    with pytest.raises(SchemaUnsafe, match="the number 18446744073709551615 in its key, beyond 9223372036854775807"):
        refuse_unnameable(part)


def test_every_other_key_can_be_written() -> None:
    refuse_unnameable(part("literal", WRITABLE))
    refuse_unnameable(part("native", ["a", "CAST(X'61' AS TEXT)", "é"]))
    refuse_unnameable(part("native", [1, 2]))


@pytest.mark.parametrize(
    ("declared", "keys", "what"),
    [
        ("TEXT", ["'a'", "X'61'"], "the key X'61', which is no text"),
        ("BIGINT", ["1", "'a'"], "the key 'a', which is no whole number"),
        ("INTEGER", ["1", "1.5"], "the key 1.5, which is no whole number"),
    ],
)
def test_a_value_of_another_type_is_refused(declared: str, keys: list[str], what: str) -> None:
    refuse_unnameable(part("literal", keys[:1], declared))
    with pytest.raises(SchemaUnsafe, match=f"a record of notes has {what}"):
        refuse_unnameable(part("literal", keys, declared))


@pytest.mark.parametrize(
    ("travels", "keys"), [("literal", [*WRITABLE, "CAST(X'610062' AS TEXT)"]), ("native", ["é", "a\0b"])]
)
def test_a_nul_behind_them_is_refused(travels: Travels, keys: list[str]) -> None:
    with pytest.raises(SchemaUnsafe, match=r"a record of notes has a key with a NUL character in it, 'a\\x00b'"):
        refuse_unnameable(part(travels, keys))
