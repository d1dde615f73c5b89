"""An archived record as a policy or a hold sees one: plain values instead of the forms in which they travelled."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation

import pyarrow as pa

from retention.archive.manifest import FileEntry
from retention.archive.write import Part
from retention.sources.column_entry import ColumnEntry
from retention.sources.keys import key_text
from retention.sources.literal import value_of

#: a number with a fraction: without the zeros at its end
_ZEROS = re.compile(r"^(-?[0-9]+)(?:\.0+|(\.[0-9]*[1-9])0*)$")

#: names of letters that are another with a stroke or the like; of the two kana that are one
_LIKE = re.compile(r"LATIN SMALL LETTER (?P<latin>[A-Z]) WITH .*|(?:HIRAGANA|KATAKANA) LETTER (?:SMALL )?(?P<kana>\w+)")
#: letters that may be what their names do not say
_UNLIKE = {"æ": "ae", "œ": "oe", "ð": "d", "ı": "i", "\u0640": ""}


class Unreadable(Exception):
    """A value whose archived form says nothing that a condition could compare. What depends on it counts as covered."""


class ArchivedValues(Mapping[str, object]):
    """One row. Reading a column that cannot be compared raises Unreadable; one that is not there raises KeyError."""

    def __init__(
        self, columns: Mapping[str, ColumnEntry], row: Mapping[str, object], *, nan: float | None = None
    ) -> None:
        self._columns = columns
        self._row = row
        self._nan = nan

    def with_nan_as(self, number: float) -> ArchivedValues:
        """The row with another number in the place of every NaN."""
        return ArchivedValues(self._columns, self._row, nan=number)

    def __getitem__(self, name: str) -> object:
        value = self._value(name)
        return self._nan if value != value and self._nan is not None else value

    def _value(self, name: str) -> object:
        value = self._row[name]
        if value is None or self._columns[name].travels == "native":
            return value
        assert isinstance(value, str)
        if self._columns[name].travels == "literal":
            return value_of(value)
        return _value(value, self._columns[name].type)

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)


def rows_as_values(rows: pa.Table, file: FileEntry) -> Iterator[ArchivedValues]:
    """Every row of a data file."""
    columns = {entry.name: entry for entry in file.columns}
    for batch in rows.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            yield ArchivedValues(columns, row)


def key_texts(rows: pa.Table, file: FileEntry | Part) -> list[str]:
    """Each row's key as `hold place --key` and `explain` take it: literals read, and everything that is neither a whole
    number nor text in the form in which PostgreSQL would cast it to text."""
    literal = {entry.name for entry in file.columns if entry.travels == "literal"}
    columns = []
    for name in file.key:
        values = rows[name].to_pylist()
        if name in literal:
            values = [value_of(value) for value in values]
        elif not (pa.types.is_integer(rows[name].type) or pa.types.is_string(rows[name].type)):
            values = [as_text(value) for value in values]
        columns.append(values)
    return [key_text(key) for key in zip(*columns, strict=True)]


def loosely(key: Sequence[str | None]) -> tuple[str | None, ...]:
    """A key's texts without what may not matter to the database: case, accents, strokes, signs that are not seen and spaces at
    the end, where a collation says so, and zeros at the end of a number."""
    return tuple(None if part is None else _ZEROS.sub(_without_zeros, _letters(part)) for part in key)


def _without_zeros(number: re.Match[str]) -> str:
    return number[1] + (number[2] or "")


def _letters(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(_letter(one) for one in apart if not unicodedata.combining(one)).casefold().rstrip()


def _letter(one: str) -> str:
    """What is left of a character by the collation that tells fewest apart: to `utf8mb4_0900_ai_ci`, which is MySQL's own, a
    control character is nothing and ø is o; to `utf8mb4_unicode_ci` all emoji are the same."""
    category = unicodedata.category(one)
    if one > "\uffff" or (category.startswith("C") and one not in "\t\n\v\f\r\x85"):
        return ""
    if one.isascii():
        return one
    if category == "Nd":
        return str(unicodedata.decimal(one))
    like = _LIKE.fullmatch(unicodedata.name(one, ""))
    return (like["latin"] or like["kana"]).lower() if like else _UNLIKE.get(one, one)


def as_text(value: object) -> str:
    """A native value as PostgreSQL writes it (in UTC, as every session of ours is), and `keys.key_projection` on MySQL."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return "\\x" + value.hex()
        case datetime():
            wall = value.replace(tzinfo=None).isoformat(" ")
            return (wall.rstrip("0") if "." in wall else wall) + ("" if value.tzinfo is None else "+00")
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def _value(text: str, kind: str) -> object:
    """What the text form of PostgreSQL or MariaDB stands for; the types that both have by one name mean the same."""
    if kind.startswith(("numeric", "decimal")):
        try:
            return Decimal(text)
        except InvalidOperation:
            raise Unreadable(kind) from None
    if kind in ("text[]", "character varying[]") or kind.startswith("character varying("):
        return _array(text) if kind.endswith("[]") else text
    if kind in ("uuid", "json", "jsonb") or kind.startswith(("character(", "citext", "name", "enum(", "set(")):
        return text
    raise Unreadable(kind)


def _array(text: str) -> list[str | None]:
    """A one-dimensional PostgreSQL array of text in its output form (manual, section 8.15.6)."""
    if not text.startswith("{"):
        raise Unreadable("array")  # with explicit bounds
    items: list[str | None] = []
    position, end = 1, len(text) - 1
    while position < end:
        if text[position] == "{":
            raise Unreadable("array")  # more than one dimension
        if text[position] == '"':
            item, position = _quoted(text, position + 1)
            items.append(item)
        else:
            stop = text.find(",", position, end)
            stop = end if stop < 0 else stop
            bare = text[position:stop]
            items.append(None if bare == "NULL" else bare)
            position = stop
        position += 1  # the comma
    return items


def _quoted(text: str, position: int) -> tuple[str, int]:
    characters = []
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
        characters.append(text[position])
        position += 1
    return "".join(characters), position + 1
