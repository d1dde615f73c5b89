"""A table as the bytes of a Parquet file, and back, and whether the two are the same to the last bit.

The encodings are those that were fastest and smallest on records of a CRM (`benchmarks/rows.py`): dictionary where few
values recur, else DELTA for whole numbers, times and text. DuckDB, pandas and Polars read them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retention.errors import ArchiveFailed

#: a column gets a dictionary where at most a tenth of its first 1,000 values differ
_SAMPLE = 1_000
_RECURRING = 10

#: floats by the integers of their bits: as numbers, NaN is not NaN and 0.0 is -0.0
_BITS = {pa.float32(): pa.int32(), pa.float64(): pa.int64()}


def encode(table: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
    """The bytes of a Parquet file (zstd, a CRC-32 on every page) that carries ``metadata`` beside the rows."""
    dictionary = [name for name, column in zip(table.column_names, table.columns, strict=True) if _recurs(column)]
    encodings = {
        field.name: encoding
        for field in table.schema
        if field.name not in dictionary and (encoding := _encoding(field.type)) is not None
    }
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(dict(metadata)),
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=dictionary,
        column_encoding=encodings,
        write_page_checksum=True,
    )
    return sink.getvalue()


def decode(data: bytes | pa.Buffer) -> pa.Table:
    """The rows of the file, read in this thread alone. Raises ArchiveFailed where they cannot be read."""
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            return file.read(use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveFailed(f"it is not a readable Parquet file: {error}") from error


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether both hold the same columns, by name and type, and the same values in the same order: nulls, every NaN's
    bits and the sign of zero included. Metadata and division into chunks do not count."""
    if not one.schema.equals(other.schema):
        return False
    return all(_bits(left).equals(_bits(right)) for left, right in zip(one.columns, other.columns, strict=True))


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = _BITS.get(column.type)
    return column if kind is None else pa.chunked_array([chunk.view(kind) for chunk in column.chunks], kind)


def _recurs(column: pa.ChunkedArray) -> bool:
    sample = column.slice(0, _SAMPLE)
    if pa.types.is_boolean(column.type):  # one bit a value: nothing to gain
        return False
    return bool(pc.count_distinct(sample).as_py() * _RECURRING <= len(sample))


def _encoding(kind: pa.DataType) -> str | None:
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return "DELTA_LENGTH_BYTE_ARRAY"
    return None
