"""The digest of what a policy means: the same for files that differ in layout and comments alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from fractions import Fraction
from zoneinfo import ZoneInfo


def digest_of(meaning: object, *, without: Collection[str] = ()) -> str:
    """SHA-256 (hex) of the canonical JSON of a value: of dataclasses those fields that count in comparisons."""
    text = json.dumps(_plain(meaning, without), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object, without: Collection[str] = ()) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        # the type's name tells a condition that holds for any part from one that holds for none
        return [type(value).__name__, {name: _plain(part) for name, part in named.items() if name not in without}]
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, date):  # and datetime; marked, because the text of the same letters is another value
        return ["time", value.isoformat()]
    if isinstance(value, Fraction | ZoneInfo):
        return str(value)
    return value
