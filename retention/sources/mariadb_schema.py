"""Tables as MariaDB's and MySQL's information_schema describes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from retention.sources.mariadb_types import kind_of
from retention.sources.table import Column, Kind, Reference, Table

if TYPE_CHECKING:
    from retention.sources.source import Session

_JSON_CHECK = re.compile(r"\(*json_valid\([`\"]((?:[^`\"]|``|\"\")+)[`\"]\)+", re.IGNORECASE)


def read_tables(session: Session) -> list[str]:
    """Names of all tables of the session's database."""
    found = session.rows(
        "SELECT table_name AS name FROM information_schema.tables"
        " WHERE table_schema = database() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1"
    )
    return [row[0] for row in found]


def read_table(session: Session, name: str, literal: Callable[[str], str]) -> Table | None:
    """The table of that name, in the session's database or as ``database.table``; None where there is none."""
    [(here, folded)] = session.rows("SELECT database() AS a, @@lower_case_table_names AS b")
    places = [(here, name)] + [(name[:at], name[at + 1 :]) for at, one in enumerate(name) if one == "."]
    wanted = " OR ".join(f"(table_schema = {literal(one)} AND table_name = {literal(two)})" for one, two in places)
    found = session.rows(
        "SELECT table_schema AS a, table_name AS b, table_type AS c, engine AS d, table_rows AS e, create_options AS f"
        f" FROM information_schema.tables WHERE {wanted}"
    )
    if (
        not folded
    ):  # information_schema compares names without regard to case, and the tables' own names may differ in it
        found = [row for row in found if (row[0], row[1]) in places]
    if not found:
        return None
    schema, bare, relation, engine, rows, options = found[0]
    at = f"table_schema = {literal(schema)} AND table_name = {literal(bare)}"
    indexes = _indexes(session, at)
    references = read_references(session, literal, schema, bare, here)
    triggers = session.rows(
        "SELECT trigger_name AS name, event_manipulation AS event FROM information_schema.triggers"
        f" WHERE event_object_schema = {literal(schema)} AND event_object_table = {literal(bare)} ORDER BY 1"
    )
    return Table(
        name=_full(schema, bare, here),
        schema=schema,
        bare_name=bare,
        columns=_columns(session, at, literal, schema, bare),
        primary_key=next((key for index, key, _ in indexes if index == "PRIMARY"), ()),
        unique_keys=tuple(key for index, key, unique in indexes if unique and index != "PRIMARY"),
        referenced_by=tuple(one for one, parent, _ in references if parent == (schema, bare)),
        refers_to=tuple(one for one, _, child in references if child == (schema, bare)),
        relation=_relation(relation, engine, options or ""),
        delete_triggers=tuple(name for name, event in triggers if event == "DELETE"),
        insert_triggers=tuple(name for name, event in triggers if event == "INSERT"),
        indexes=tuple(dict.fromkeys(key for _, key, _ in indexes)),
        estimated_rows=None if rows is None else int(rows),
    )


def read_actions(session: Session, literal: Callable[[str], str], tables: Sequence[Table] | None) -> Mapping[str, str]:
    """See `Session.actions`. A user without the right TRIGGER sees none of them, or not what they do: `mariadb_lacks`
    refuses."""
    schemas = ["database()"] if tables is None else sorted({literal(str(one.schema)) for one in tables})
    [(here,)] = session.rows("SELECT database() AS a")
    marks: dict[str, list[str]] = {}
    for schema in schemas:
        for owner, table, mark in session.rows(
            "SELECT event_object_schema AS a, event_object_table AS b,"
            " concat('t', trigger_name, ' ', event_manipulation, ' ', sha2(coalesce(action_statement, ''), 256)) AS c"
            f" FROM information_schema.triggers WHERE event_object_schema = {schema}"
            " UNION ALL SELECT unique_constraint_schema, referenced_table_name,"
            " concat('r', table_name, ' ', constraint_name, ' ', delete_rule)"
            f" FROM information_schema.referential_constraints WHERE constraint_schema = {schema}"
        ):
            marks.setdefault(_full(owner, table, here), []).append(mark)
    wanted = None if tables is None else {one.name for one in tables}
    return {name: "\n".join(sorted(found)) for name, found in marks.items() if wanted is None or name in wanted}


def read_references(
    session: Session, literal: Callable[[str], str], schema: str, bare: str, here: str
) -> list[tuple[Reference, tuple[str, str], tuple[str, str]]]:
    """Every foreign key from or to the table that this user may see: (the reference, (schema, name) of its parent, of its
    child)."""
    s, t = literal(schema), literal(bare)
    rows = session.rows(
        "SELECT k.constraint_schema AS a, k.constraint_name AS b, k.table_schema AS c, k.table_name AS d, k.column_name AS e,"
        " k.referenced_table_schema AS f, k.referenced_table_name AS g, k.referenced_column_name AS h,"
        # of which a user with rights on these tables alone sees nothing
        " coalesce(r.delete_rule, 'unknown to this user') AS i"
        " FROM information_schema.key_column_usage k LEFT JOIN information_schema.referential_constraints r"
        " ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name"
        " AND r.table_name = k.table_name"
        f" WHERE (k.table_schema = {s} AND k.table_name = {t} AND k.referenced_table_name IS NOT NULL)"
        f" OR (k.referenced_table_schema = {s} AND k.referenced_table_name = {t})"
        " ORDER BY k.constraint_schema, k.table_name, k.constraint_name, k.ordinal_position"
    )
    grouped: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        grouped.setdefault((row[2], row[3], row[1]), []).append(row)
    return [
        (
            Reference(
                name=name,
                table=_full(child_schema, child, here),
                columns=tuple(part[4] for part in parts),
                parent=_full(parts[0][5], parts[0][6], here),
                parent_columns=tuple(part[7] for part in parts),
                on_delete=parts[0][8],
            ),
            (parts[0][5], parts[0][6]),
            (child_schema, child),
        )
        for (child_schema, child, name), parts in grouped.items()
    ]


def _columns(session: Session, at: str, literal: Callable[[str], str], schema: str, bare: str) -> tuple[Column, ...]:
    json = _json_columns(session, literal, schema, bare)
    rows = session.rows(
        "SELECT column_name AS a, column_type AS b, is_nullable AS c, extra AS d, collation_name AS e"
        f" FROM information_schema.columns WHERE {at} ORDER BY ordinal_position"
    )
    return tuple(
        Column(
            name=name,
            type="json" if name in json and declared == "longtext" else declared,
            kind=Kind.JSON if name in json else kind_of(declared),
            nullable=nullable == "YES",
            generated=any(word in extra.upper() for word in ("STORED GENERATED", "VIRTUAL GENERATED", "PERSISTENT")),
            collation=collation,
        )
        for name, declared, nullable, extra, collation in rows
    )


def _json_columns(session: Session, literal: Callable[[str], str], schema: str, bare: str) -> set[str]:
    """MariaDB's JSON is text with a check that it is valid."""
    [(version,)] = session.rows("SELECT version() AS v")
    if "mariadb" not in version.lower():
        return set()
    checks = session.rows(
        "SELECT check_clause AS a FROM information_schema.check_constraints"
        f" WHERE constraint_schema = {literal(schema)} AND table_name = {literal(bare)}"
    )
    found = (_JSON_CHECK.fullmatch(clause) for (clause,) in checks)
    return {match[1].replace("``", "`").replace('""', '"') for match in found if match is not None}


def _indexes(session: Session, at: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """(name, columns, unique) of each index over whole columns."""
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for row in session.rows(
        "SELECT index_name AS a, column_name AS b, non_unique AS c, sub_part AS d, index_type AS e"
        f" FROM information_schema.statistics WHERE {at} ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index"
    ):
        grouped.setdefault(row[0], []).append(row)
    return [
        (name, tuple(part[1] for part in parts), not parts[0][2])
        for name, parts in grouped.items()
        if all(part[1] is not None and part[3] is None and part[4] == "BTREE" for part in parts)
    ]


def _relation(kind: str, engine: str | None, options: str) -> str:
    if kind == "SYSTEM VERSIONED":
        return "system-versioned table, which keeps what is deleted"
    if kind != "BASE TABLE":
        return kind.lower()
    if engine != "InnoDB":
        return f"{engine} table, of which no deletion can be rolled back"
    return "partitioned" if "partitioned" in options else "table"


def _full(schema: str, bare: str, here: str) -> str:
    return bare if schema == here else f"{schema}.{bare}"
