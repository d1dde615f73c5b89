"""Canonical JSON: one text for one value, so that its SHA-256 means something."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> str:
    """Sorted keys, no white space, no ASCII escapes; encode it as UTF-8.

    Raises ValueError for NaN and infinity, and for text that is not Unicode (half of a surrogate pair), TypeError for
    what JSON has no form for.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()  # UnicodeEncodeError is a ValueError
    return text


def sha256(text: str) -> str:
    """SHA-256 of the text as UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
