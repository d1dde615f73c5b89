"""Small pieces of SQL that every builder uses. Identifiers are always quoted: no list of reserved words is complete."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import quoted_name, visitors
from sqlalchemy.types import UserDefinedType

from retention.sources.table import Table

Bool = sa.ColumnElement[bool]


class Declared(UserDefinedType[Any]):
    """A type by the database's own name for it, as reflection gave it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The name itself."""
        return self.name


class Temporary(sa.TableClause):
    """A temporary table of the session."""

    inherit_cache = False


@compiles(Temporary, "mysql")
def _opened_once(table: Temporary, compiler: Any, asfrom: bool = False, **options: Any) -> str:
    """MySQL opens a temporary table once a statement: each further place that names it reads a copy, under the same name
    (`copy_of`; the session makes them)."""
    text: str = compiler.visit_table(table, asfrom=asfrom, **options)
    if not asfrom:
        return text
    places = compiler.__dict__.setdefault("temporary_places", {})
    places[table.name] = place = places.get(table.name, 0) + 1
    return text if place == 1 else f"{compiler.preparer.quote(name(copy_of(table.name, place)))} AS {text}"


def copy_of(temporary_table: str, place: int) -> str:
    """The name of the copy of a temporary table that the ``place``-th mention of it in a statement reads, from 2 on."""
    return f"{temporary_table}__{place}"


def copies_named(temporary_table: str, statement: str) -> set[int]:
    """The places for which the text of a statement names copies of the temporary table."""
    return {int(place) for place in re.findall(rf"{re.escape(temporary_table)}__(\d+)", statement)}


def name(text: str) -> quoted_name:
    """An identifier, quoted whatever it says."""
    return quoted_name(text, True)


def column(text: str) -> sa.ColumnClause[Any]:
    """A column of the only table in sight."""
    return sa.column(name(text))


def of_rows(expression: sa.ColumnElement[Any], rows: sa.FromClause) -> sa.ColumnElement[Any]:
    """An expression over a column of the only table in sight (`column`), where others are in sight too."""

    def owned(element: Any, **_: Any) -> Any:
        bare = isinstance(element, sa.ColumnClause) and element.table is None and not element.is_literal
        return rows.c[element.name] if bare else None

    found: sa.ColumnElement[Any] = visitors.replacement_traverse(expression, {}, owned)
    return found


def rows_of(table: Table) -> sa.TableClause:
    """The table as statements name it: always with its schema, so that no temporary table can stand in for it."""
    return sa.table(
        name(table.bare_name), *(column(one.name) for one in table.columns), schema=name(table.schema or "main")
    )


def temporary(dialect: str, text: str, columns: Iterable[str]) -> sa.TableClause:
    """A temporary table of the session (`Session.load_temporary`)."""
    schema = {"sqlite": name("temp"), "postgresql": name("pg_temp")}.get(
        dialect
    )  # MySQL has no place of their own for them
    return Temporary(name(text), *(column(one) for one in columns), schema=schema)


def string(text: str) -> sa.ColumnElement[str]:
    """A text literal."""
    return sa.literal(text, sa.String())


def raw(text: str) -> sa.ColumnElement[Any]:
    """SQL text that this package made itself, in full."""
    return sa.literal_column(text)


def any_of(parts: Iterable[Bool]) -> Bool:
    """Whether one of them is true; false where there are none."""
    return sa.or_(sa.false(), *parts)


def all_of(parts: Iterable[Bool]) -> Bool:
    """Whether all are true; true where there are none."""
    return sa.and_(sa.true(), *parts)
