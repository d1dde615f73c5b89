"""The literals in which SQLite's columns of mixed types travel, and the values that they stand for."""

from __future__ import annotations


def value_of(literal: str | None) -> int | float | str | bytes | None:
    """The value of what quote() wrote (https://www.sqlite.org/lang_corefunc.html#quote), or of ``CAST(X'...' AS TEXT)``,
    as text with more than printable ASCII travels. Bytes that are no UTF-8 become surrogates (PEP 383)."""
    if literal is None or literal == "NULL":
        return None
    if literal.startswith("'"):
        return literal[1:-1].replace("''", "'")
    if literal.startswith("X'"):
        return bytes.fromhex(literal[2:-1])
    if literal.startswith("CAST(X'"):
        return bytes.fromhex(literal[7:-10]).decode(errors="surrogateescape")
    try:
        return int(literal)
    except ValueError:
        return float(literal)
