from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive.data_file import decode, encode, same
from retention.errors import ArchiveFailed


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_was_written_is_read(data: st.DataObject, tables: st.SearchStrategy[Any]) -> None:
    table = data.draw(tables).table
    back = decode(encode(table, {"batch": "b-1"}))
    assert same(back, table)
    assert same(table, back)
    back.validate(full=True)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_changed_value_is_a_difference(data: st.DataObject, tables: st.SearchStrategy[Any]) -> None:
    """Two generated tables of the same columns are the same exactly where their raw values are."""
    one, other = data.draw(tables), data.draw(tables)
    if one.kinds == other.kinds:
        assert same(one.table, other.table) == (one.rows == other.rows)
    else:
        assert not same(one.table, other.table)
    if one.rows:
        assert not same(one.table, one.table.slice(1))


def floats(*bits: int | None) -> pa.Table:
    return pa.table({"x": pa.array(bits, pa.int64()).view(pa.float64())})


ONE_NAN, OTHER_NAN, MINUS_ZERO = 0x7FF8000000000000, 0x7FF8000000000001, -(2**63)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (floats(ONE_NAN), floats(ONE_NAN), True),
        (floats(ONE_NAN), floats(OTHER_NAN), False),
        (floats(0), floats(MINUS_ZERO), False),
        (floats(0), floats(None), False),
        (floats(0, 1), floats(0), False),
        (floats(), floats(), True),
        (pa.table({"x": ["", "a"]}), pa.table({"x": [None, "a"]}), False),
        (pa.table({"x": ["a"]}), pa.table({"y": ["a"]}), False),
        (pa.table({"x": pa.array([], pa.string())}), pa.table({"x": pa.array([], pa.binary())}), False),
        (pa.table({"x": ["a"], "y": ["a"]}), pa.table({"y": ["a"], "x": ["a"]}), False),
        (pa.table({"x": ["a"], "y": ["a"]}), pa.table({"x": ["a"]}), False),
        (pa.table({"x": pa.chunked_array([["a"], ["b"]])}), pa.table({"x": ["a", "b"]}), True),
        (pa.table({"x": ["a"]}).replace_schema_metadata({"k": "v"}), pa.table({"x": ["a"]}), True),
    ],
)
def test_same_looks_at_bits(one: pa.Table, other: pa.Table, equal: bool) -> None:
    assert same(one, other) is equal


def test_the_file_says_what_it_is_and_checks_its_pages() -> None:
    rows = 5_000
    table = pa.table(
        {
            "id": range(rows),
            "status": ["open", "closed"] * (rows // 2),
            "note.text": [f"note {number}" for number in range(rows)],
            "seldom": pa.array([None] * (rows - 1) + [1.5], pa.float64()),
            "flag": [True, False] * (rows // 2),
        }
    )
    data = encode(table, {"retention.batch": "b-1", "retention.class": "活动"})
    file = pq.ParquetFile(pa.BufferReader(data))
    assert file.schema_arrow.metadata[b"retention.batch"] == b"b-1"
    assert file.schema_arrow.metadata[b"retention.class"].decode() == "活动"
    columns = {
        column.path_in_schema: column
        for column in (file.metadata.row_group(0).column(number) for number in range(table.num_columns))
    }
    assert {name: column.has_dictionary_page for name, column in columns.items()} == {
        "id": False,
        "status": True,
        "note.text": False,
        "seldom": True,
        "flag": False,
    }
    assert "DELTA_BINARY_PACKED" in columns["id"].encodings
    assert "DELTA_LENGTH_BYTE_ARRAY" in columns["note.text"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert decode(data).schema.metadata is None

    at = columns["note.text"].data_page_offset + columns["note.text"].total_compressed_size // 2
    damaged = bytearray(data)
    damaged[at] ^= 1
    with pytest.raises(ArchiveFailed, match=r"it is not a readable Parquet file: .*CRC"):
        decode(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100, b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_what_is_no_parquet_file(data: bytes) -> None:
    with pytest.raises(ArchiveFailed, match="it is not a readable Parquet file"):
        decode(data)
