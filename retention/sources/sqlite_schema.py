"""What SQLite's free-form declarations mean: the kind of a declared type, the event of a trigger."""

from __future__ import annotations

import re

from retention.sources.table import Kind

#: the first word found decides; the order is that of https://www.sqlite.org/datatype3.html#determination_of_column_affinity,
#: after the words for dates, truth and JSON that SQLite itself leaves to the application
_WORDS: tuple[tuple[str, Kind], ...] = (
    ("BOOL", Kind.BOOLEAN),
    ("DATETIME", Kind.WALL),
    ("TIMESTAMP", Kind.WALL),
    ("DATE", Kind.DATE),
    ("JSON", Kind.JSON),
    ("INT", Kind.INTEGER),
    ("CHAR", Kind.TEXT),
    ("CLOB", Kind.TEXT),
    ("TEXT", Kind.TEXT),
    ("BLOB", Kind.BINARY),
    ("REAL", Kind.NUMBER),
    ("FLOA", Kind.NUMBER),
    ("DOUB", Kind.NUMBER),
    ("NUM", Kind.NUMBER),
    ("DEC", Kind.NUMBER),
)

_TOKEN = re.compile(r"""--[^\n]*|/\*.*?\*/|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|'(?:[^']|'')*'|\w+|\S""", re.DOTALL)


def kind_of(declared: str) -> Kind:
    """What a column declared so holds for a policy; OTHER where the declaration says nothing known."""
    upper = declared.upper()
    return next((kind for word, kind in _WORDS if word in upper), Kind.OTHER)


def affinity(declared: str) -> str:
    """``integer``, ``real``, ``text``, ``blob`` or ``numeric``: what SQLite prefers to store in a column declared so."""
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper or not upper.strip():
        return "blob"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "real"
    return "numeric"


def fires_on_delete(sql: str) -> bool:
    """Whether a CREATE TRIGGER fires on DELETE. What cannot be read is taken to do so (fail closed)."""
    return fires_on(sql) not in ("INSERT", "UPDATE")


def fires_on(sql: str) -> str | None:
    """The event of a CREATE TRIGGER, in capitals; None where it cannot be read."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]
    words = [token.upper() for token in tokens]
    if "TRIGGER" not in words:
        return None
    at = words.index("TRIGGER") + 1
    if words[at : at + 3] == ["IF", "NOT", "EXISTS"]:
        at += 3
    at += 1  # the trigger's name
    if words[at : at + 1] == ["."]:
        at += 2
    if words[at : at + 1] in (["BEFORE"], ["AFTER"]):
        at += 1
    elif words[at : at + 2] == ["INSTEAD", "OF"]:
        at += 2
    event = words[at : at + 1]
    return event[0] if event and event[0] in ("DELETE", "INSERT", "UPDATE") else None
