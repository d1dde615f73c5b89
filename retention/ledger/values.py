"""Key values and compared values as JSON, without loss: 1, 1.0, "1", true and Decimal("1.0") stay five things.

Text, whole numbers, finite floats, booleans and null are themselves; every other type is an object of one member, which
names the type: ``{"decimal": "1.20"}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from retention.errors import InputError
from retention.holds.scope import Key
from retention.ledger.canonical import canonical

#: in this order, for a datetime is a date too
_TAGGED: tuple[tuple[type, str, Callable[[Any], str], Callable[[str], object]], ...] = (
    (Decimal, "decimal", str, Decimal),
    (UUID, "uuid", str, UUID),
    (bytes, "bytes", bytes.hex, bytes.fromhex),
    (datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "date", date.isoformat, date.fromisoformat),
    (time, "time", time.isoformat, time.fromisoformat),
    (float, "float", repr, float),  # those that JSON has no form for: nan, inf, -inf
)
_READERS = {name: read for _, name, _, read in _TAGGED}


def to_json(value: object) -> object:
    """The value as JSON has it. Raises InputError for a type that no key has."""
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    for kind, name, write, _ in _TAGGED:
        if isinstance(value, kind):
            return {name: write(value)}
    raise InputError(
        f"a value of type {type(value).__name__} cannot stand in a key or a condition",
        hint="Use text, numbers, true or false, dates, times, UUIDs or bytes.",
    )


def from_json(value: object) -> object:
    """What `to_json` was given. Raises ValueError for what it does not make."""
    if isinstance(value, dict):
        if len(value) == 1:
            ((name, text),) = value.items()
            if name in _READERS and isinstance(text, str):
                return _READERS[name](text)
    elif value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{value!r} is not a stored value")


def value_text(value: object) -> str:
    """One value as canonical JSON text. Raises as `to_json` and `canonical` do."""
    return canonical(to_json(value))


def text_value(text: str) -> object:
    """The value that `value_text` wrote."""
    return from_json(json.loads(text))


def key_text(key: Key) -> str:
    """A key as a canonical JSON list: equal keys, equal texts. Raises as `value_text` does."""
    return canonical([to_json(value) for value in key])


def text_key(text: str) -> Key:
    """The key that `key_text` wrote."""
    return tuple(from_json(value) for value in json.loads(text))


def may_lie_between(value: object, least: object, greatest: object) -> bool:
    """Whether the range may hold the value: numbers by number, text by codepoint, other types by their own order.

    True in doubt (an unknown end, types that do not compare): who looks then looks once too often, never too seldom.
    """
    if least is None or greatest is None:
        return True
    try:
        return bool(least <= value <= greatest)  # type: ignore[operator]
    except TypeError:
        return True
