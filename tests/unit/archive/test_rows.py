"""The row digest against a second implementation, in plain Python, of docs/design.md."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive.rows import leaves, prefixed_rows
from retention.errors import ArchiveFailed

_UNSIGNED = (pa.float64(), pa.float32())
_VARIABLE = (pa.string(), pa.binary())


def canonical(kinds: tuple[pa.DataType, ...], row: tuple[Any, ...]) -> bytes:
    presence, fixed, lengths, values = b"", b"", b"", b""
    for kind, value in zip(kinds, row, strict=True):
        presence += b"\0" if value is None else b"\1"
        if kind in _VARIABLE:
            content = b"" if value is None else value.encode() if isinstance(value, str) else value
            lengths += struct.pack("<I", len(content))
            values += content
        else:
            fixed += struct.pack("<Q" if kind in _UNSIGNED else "<q", 0 if value is None else value)
    return presence + fixed + lengths + values


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_equals_the_reference(data: st.DataObject, tables: st.SearchStrategy[Any]) -> None:
    table = data.draw(tables)
    wanted = [canonical(table.kinds, row) for row in table.rows]
    assert [row for rows in prefixed_rows(table.table) for row in rows.to_pylist()] == [b"\0" + row for row in wanted]
    assert leaves(table.table) == [sha256(b"\0" + row).digest() for row in wanted]


def test_many_rows_in_uneven_chunks() -> None:
    numbers = range(25_003)
    texts = [None if number % 7 == 0 else "x" * (number % 11) for number in numbers]
    table = pa.concat_tables(
        [
            pa.table({"n": pa.array(numbers[a:b], pa.int64()), "t": pa.array(texts[a:b], pa.string())})
            for a, b in ((0, 1), (1, 10_001), (10_001, 10_001), (10_001, 25_003))
        ]
    )
    wanted = [canonical((pa.int64(), pa.string()), row) for row in zip(numbers, texts, strict=True)]
    assert leaves(table) == [sha256(b"\0" + row).digest() for row in wanted]


def test_one_row_by_hand() -> None:
    table = pa.table(
        {
            "text": pa.array(["é"]),
            "number": pa.array([-2], pa.int64()),
            "gone": pa.array([None], pa.date32()),
            "yes": pa.array([True]),
        }
    )
    row = bytes.fromhex("01010001" + "feffffffffffffff" + "00" * 8 + "0100000000000000" + "02000000" + "c3a9")
    assert leaves(table) == [sha256(b"\0" + row).digest()]


def test_empty_text_is_not_null_and_values_do_not_run_into_each_other() -> None:
    table = pa.table({"a": ["", None, "ab", "a"], "b": ["", "", "c", "bc"]})
    assert len(set(leaves(table))) == 4


def test_no_rows() -> None:
    assert leaves(pa.table({"a": pa.array([], pa.int64())})) == []


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1], pa.int32()),
        pa.array([1], pa.timestamp("ms")),
        pa.array([1], pa.timestamp("us", "Asia/Shanghai")),
        pa.array(["a"], pa.large_string()),
        pa.array([["a"]]),
        pa.array(["a"]).dictionary_encode(),
        pa.nulls(1),
    ],
    ids=lambda values: str(values.type),
)
def test_other_types_are_refused(values: pa.Array) -> None:
    with pytest.raises(ArchiveFailed, match=r"column odd came as Arrow .*, for which no row digest is defined"):
        leaves(pa.table({"id": [1], "odd": values}))
