"""A value that a person typed, as the Arrow type of an archived column."""

from __future__ import annotations

import re
from datetime import date, datetime

import pyarrow as pa

from retention.errors import InputError

_WORDS = {"true": True, "1": True, "false": False, "0": False}


def typed(column: str, value: object, kind: pa.DataType) -> pa.Scalar:
    """``value`` as ``kind``: text is read (dates and times in ISO form), anything else is converted if nothing is lost.

    Raises InputError, naming the column, where it cannot be one.
    """
    try:
        if isinstance(value, str):
            return pa.scalar(_read(value, kind), kind)
        scalar = pa.scalar(value, kind)
        if scalar.as_py() != value and not pa.types.is_floating(kind):  # Arrow makes 1 of 1.5, and UTC of no zone
            raise ValueError(value)
        return scalar
    except (ValueError, KeyError, TypeError, OverflowError, pa.ArrowException):
        raise InputError(
            f"{value!r} is no value of column {column}", hint=f"For example  {column}={_example(kind)}"
        ) from None


def _read(text: str, kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return text
    if pa.types.is_boolean(kind):
        return _WORDS[text.lower()]
    if pa.types.is_integer(kind):
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError(text)
        return int(text)
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_date(kind):
        return date.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        moment = datetime.fromisoformat(text)
        if (moment.tzinfo is None) != (kind.tz is None):  # neither a zone made up nor one dropped
            raise ValueError(text)
        return moment
    return bytes.fromhex(text.removeprefix("\\x"))


def _example(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "true"
    if pa.types.is_integer(kind):
        return "42"
    if pa.types.is_floating(kind):
        return "12.5"
    if pa.types.is_date(kind):
        return "2026-10-31"
    if pa.types.is_timestamp(kind):
        return "2026-10-31T09:30:00" + ("Z" if kind.tz else "")
    return "\\xc0ffee" if pa.types.is_binary(kind) else "text"
