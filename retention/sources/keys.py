"""Keys of records: as text that people write, as values, and as SQL."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import sqlalchemy as sa

from retention.errors import InputError
from retention.holds.scope import Key
from retention.sources.bound_class import BoundClass
from retention.sources.mariadb_types import charset, converted, family, in_utf8
from retention.sources.sql import Declared, raw, string
from retention.sources.table import Column, Kind

#: PostgreSQL's own types whose values travel as they are
_PLAIN = ("smallint", "integer", "bigint", "text", "character varying")

#: what a 64-bit column can hold
_INT64 = range(-(2**63), 2**63)


def plain_key(one: Column, dialect: str) -> bool:
    """Whether the key column's values travel as they are (numbers and text); all others go as the database's text."""
    if dialect == "mysql":
        return one.kind is Kind.INTEGER
    # a domain over whole numbers travels to the archive as the database's text, and so does its key
    return dialect == "sqlite" or one.type.split("(")[0] in _PLAIN


def key_projection(bound: BoundClass) -> list[sa.ColumnElement[Any]]:
    """The key's columns as statements read them: a Key of int and str."""
    return [
        expression.label(one.name) if plain_key(one, bound.dialect) else as_text(bound, one, expression).label(one.name)
        for one, expression in zip(bound.key_columns, bound.key, strict=True)
    ]


def as_text(bound: BoundClass, one: Column, expression: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The key's value, or an expression of its type, as the database writes it."""
    if bound.dialect == "mysql" and family(one.type) in ("binary", "varbinary"):
        return in_utf8(sa.func.concat(string("\\x"), sa.func.lower(sa.func.hex(expression))))
    return sa.cast(expression, sa.Text())


def key_literals(bound: BoundClass, key: Key) -> list[sa.ColumnElement[Any]]:
    """The key's values as statements compare them."""
    return [
        key_expression(bound, one, sa.literal(value) if isinstance(value, int) else string(str(value)))
        for one, value in zip(bound.key_columns, key, strict=True)
    ]


def key_expression(bound: BoundClass, one: Column, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A key's value, or a column of such values, as the key column's own type."""
    if plain_key(one, bound.dialect):
        return value
    if bound.dialect != "mysql":
        return sa.cast(value, Declared(one.type))
    if family(one.type) in ("binary", "varbinary"):
        return sa.func.unhex(sa.func.substring(value, 3))
    if one.collation is not None:  # so that it compares as the column's own values do, and by its index
        return sa.func.convert(value.op("USING")(raw(str(charset(one))))).collate(one.collation)
    return converted(value, one.type)


def row_value(parts: list[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """One column as itself, several as a row value."""
    return parts[0] if len(parts) == 1 else sa.tuple_(*parts)


def key_from_text(bound: BoundClass, text: str) -> Key:
    """The key that ``text`` writes: one value, or a JSON list for a composite key. Raises InputError where it is none."""
    columns = bound.key_columns
    if len(columns) == 1:
        return (_key_value(bound, columns[0], text),)
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    fits = isinstance(parts, list) and len(parts) == len(columns) and all(isinstance(part, str | int) for part in parts)
    if not fits:
        example = json.dumps([one.name for one in columns])
        raise InputError(f"{text!r} is no key of {bound.address}", hint=f"write a JSON list of {example}")
    return tuple(_key_value(bound, one, str(part)) for one, part in zip(columns, parts, strict=True))


def key_text(key: Key) -> str:
    """The text from which `key_from_text` makes this key again."""
    return str(key[0]) if len(key) == 1 else json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))


def _key_value(bound: BoundClass, one: Column, text: str) -> int | str:
    wrong = InputError(f"{text!r} is no key of {bound.address}", hint=f"column {one.name} is {one.type}")
    if "\0" in text:
        raise wrong
    if one.kind is Kind.INTEGER:
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or int(text) not in _INT64:
            raise wrong
        return int(text) if plain_key(one, bound.dialect) else str(int(text))
    if one.type == "uuid":
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise wrong from None
    return text
