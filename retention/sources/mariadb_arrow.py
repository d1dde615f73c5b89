"""What a MariaDB or MySQL server answers, as Arrow. The driver's own conversions are off: every value comes as the
server's text, and Arrow reads whole columns of it (measured: Python objects, one a value, are several times slower)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
from pymysql.constants import FIELD_TYPE

_WHOLE = frozenset(
    {
        FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR,
    }
)  # fmt: skip
_TYPES = {
    FIELD_TYPE.FLOAT: pa.float64(),
    FIELD_TYPE.DOUBLE: pa.float64(),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(),
    FIELD_TYPE.DATETIME: pa.timestamp("us"),
    # the session's time zone is UTC
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", "UTC"),
} | dict.fromkeys(_WHOLE, pa.int64())
_STRINGS = frozenset(
    {
        FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.TINY_BLOB, FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB, FIELD_TYPE.BLOB,
    }
)  # fmt: skip
_BYTES = frozenset({FIELD_TYPE.BIT, FIELD_TYPE.GEOMETRY})
#: the number of the character set "binary"
_BINARY = 63


class Field(Protocol):
    """What the server says of a column of its answer."""

    name: str
    type_code: int
    charsetnr: int


def arrow_table(fields: Sequence[Field], rows: Sequence[Sequence[bytes | None]]) -> pa.Table:
    """The rows, each column in the Arrow type of its own type; as text where a value does not fit into that (zero dates,
    numbers above 2^63), as bytes where it is no UTF-8."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    arrays = [_array(field, values) for field, values in zip(fields, columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=[field.name for field in fields])


def _array(field: Field, values: Sequence[bytes | None]) -> Any:
    raw = pa.chunked_array([pa.array(values, pa.binary())]) if values else pa.chunked_array([], pa.binary())
    if field.type_code in _BYTES or (field.type_code in _STRINGS and field.charsetnr == _BINARY):
        return raw
    try:
        text = raw.cast(pa.string())
    except pa.ArrowInvalid:
        return raw
    wanted = _TYPES.get(field.type_code)
    if wanted is None:
        return text
    try:
        if pa.types.is_timestamp(wanted):  # Arrow takes text for a time in UTC where it says so
            return text.cast(pa.timestamp("us")).cast(wanted)
        return text.cast(wanted)
    except pa.ArrowInvalid:
        return text
