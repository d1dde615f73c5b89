"""Arrow's rows as MariaDB takes them into a temporary table: column types, and lists of VALUES."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from retention.sources.mariadb_types import double

#: bytes of one INSERT, well below the least max_allowed_packet in use
_BYTES = 512 * 2**10


def temporary_type(values: pa.ChunkedArray) -> str:
    """The column of a temporary table that holds them."""
    kind = values.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return "BIGINT"
    if pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_date(kind):
        return "DATE"
    if pa.types.is_timestamp(kind):
        return "DATETIME(6)"
    if pa.types.is_binary(kind):
        return "LONGBLOB"
    longest = pc.max(pc.utf8_length(values)).as_py() or 0
    length = "LONGTEXT" if longest > 250 else f"VARCHAR({max(longest, 1)})"
    return f"{length} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


def chunks(rows: pa.Table) -> list[str]:
    """The rows as lists of VALUES, none longer than need be."""
    chunks: list[list[str]] = []
    room = 0
    for values in zip(*(_literals(column) for column in rows.columns), strict=True):
        text = f"({', '.join(values)})"
        if len(text) > room:
            chunks.append([])
            room = _BYTES
        chunks[-1].append(text)
        room -= len(text)
    return [", ".join(chunk) for chunk in chunks]


def _literals(values: pa.ChunkedArray) -> list[str]:
    """Text and bytes by their bytes, which no character set and no quoting changes."""
    kind = values.type
    if pa.types.is_string(kind):
        values = values.cast(pa.binary())
        kind = values.type
    if pa.types.is_binary(kind):
        return ["NULL" if one is None else f"X'{one.hex()}'" for one in values.to_pylist()]
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us"))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return ["NULL" if one is None else f"'{one}'" for one in values.to_pylist()]
    if pa.types.is_floating(kind):
        return ["NULL" if one is None else double(one) for one in values.to_pylist()]
    return ["NULL" if one is None else str(int(one)) for one in values.to_pylist()]
