"""Tables as PostgreSQL's own catalogue describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from retention.sources.table import Column, Kind, Reference, Table

if TYPE_CHECKING:
    from retention.sources.source import Session

_RELATIONS = {"r": "table", "p": "partitioned", "v": "view", "m": "materialized view", "f": "foreign table"}

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

#: by format_type without modifier; everything else is OTHER
_KINDS = {
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "character": Kind.TEXT,
    "name": Kind.TEXT,
    "citext": Kind.TEXT,
    "uuid": Kind.TEXT,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "numeric": Kind.NUMBER,
    "real": Kind.NUMBER,
    "double precision": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp without time zone": Kind.WALL,
    "timestamp with time zone": Kind.INSTANT,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "text[]": Kind.TEXT_ARRAY,
    "character varying[]": Kind.TEXT_ARRAY,
    "bytea": Kind.BINARY,
}

#: an event as pg_trigger.tgtype and pg_rewrite.ev_type have it
_DELETE, _INSERT = (8, "4"), (4, "3")

_OWN = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_t%'"

#: how Table.name says it: bare where the search path finds it
_NAME = "CASE WHEN pg_table_is_visible({c}.oid) THEN {c}.relname::text ELSE {n}.nspname || '.' || {c}.relname END"


def read_tables(session: Session) -> list[str]:
    """Names of all ordinary and partitioned tables; partitions go with their table."""
    return [
        row[0]
        for row in session.rows(
            f"SELECT {_NAME.format(c='c', n='n')} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND {_OWN} ORDER BY 1"
        )
    ]


def read_table(session: Session, name: str, literal: Callable[[str], str]) -> Table | None:
    """The table of that name: bare as the search path finds it, or ``schema.name``; None where there is none."""
    wanted = [f"(c.relname = {literal(name)} AND pg_table_is_visible(c.oid))"]
    wanted += [
        f"(n.nspname = {literal(name[:dot])} AND c.relname = {literal(name[dot + 1 :])})"
        for dot, character in enumerate(name)
        if character == "."
    ]
    found = session.rows(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition, "
        "c.reltuples::bigint, EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid), "
        "EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class f ON f.oid = t.relid WHERE f.relkind = 'f'), "
        "(SELECT min(inhparent::regclass::text) FROM pg_inherits i WHERE i.inhrelid = c.oid), "
        f"{_NAME.format(c='c', n='n')} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ({' OR '.join(wanted)}) "
        "ORDER BY pg_table_is_visible(c.oid) DESC LIMIT 1"
    )
    if not found:
        return None
    oid, schema, bare, relkind, partition, estimate, inherited, foreign, part_of, full = found[0]
    columns, names = _columns(session, oid)
    keys = _indexes(session, oid, names)
    return Table(
        name=full,
        schema=schema,
        bare_name=bare,
        columns=columns,
        primary_key=next((key for key, primary, _ in keys if primary), ()),
        unique_keys=tuple(key for key, primary, unique in keys if unique and not primary),
        referenced_by=_references(session, f"k.confrelid IN ({_tree(oid)})"),
        refers_to=_references(session, f"k.conrelid = {oid}"),
        relation=_relation(relkind, partition, inherited, foreign),
        part_of=part_of,
        delete_triggers=_triggers(session, oid, _DELETE),
        insert_triggers=_triggers(session, oid, _INSERT),
        indexes=tuple(dict.fromkeys(key for key, _, _ in keys)),
        estimated_rows=None if estimate < 0 else int(estimate),
    )


def _tree(oid: int) -> str:
    """The table and all of its partitions, as a subquery: triggers and references may belong to one of these alone."""
    return f"SELECT {oid} UNION SELECT relid FROM pg_partition_tree({oid})"


def _relation(relkind: str, partition: bool, inherited: bool, foreign: bool) -> str:
    if partition:
        return "partition"
    if relkind == "p" and foreign:
        return "table with a foreign partition"
    if relkind == "r" and inherited:
        return "table with inheriting tables"
    return _RELATIONS[relkind]


def _columns(session: Session, oid: int) -> tuple[tuple[Column, ...], dict[int, str]]:
    rows = session.rows(
        "WITH RECURSIVE base AS ("
        " SELECT a.attnum, a.atttypid AS type, a.attnotnull AS required FROM pg_attribute a"
        f" WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped"
        " UNION ALL SELECT b.attnum, t.typbasetype, b.required OR t.typnotnull"
        " FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'"
        ") SELECT a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(t.oid, NULL), t.typtype::text,"
        " NOT b.required, a.attgenerated::text, a.attidentity::text"
        " FROM pg_attribute a JOIN base b ON b.attnum = a.attnum JOIN pg_type t ON t.oid = b.type"
        f" WHERE a.attrelid = {oid} AND t.typtype <> 'd' ORDER BY a.attnum"
    )
    return (
        tuple(
            Column(
                name=name,
                type=declared,
                kind=Kind.TEXT if typtype == "e" else _KINDS.get(base, Kind.OTHER),
                nullable=nullable,
                generated=generated != "",
                identity_always=identity == "a",
            )
            for _, name, declared, base, typtype, nullable, generated, identity in rows
        ),
        {row[0]: row[1] for row in rows},
    )


def _indexes(session: Session, oid: int, names: dict[int, str]) -> list[tuple[tuple[str, ...], bool, bool]]:
    """(columns, primary, unique) of each valid index over whole columns of all rows."""
    rows = session.rows(
        "SELECT i.indexrelid::bigint, i.indisprimary, i.indisunique AND i.indimmediate, k.column, k.place <= i.indnkeyatts"
        ' FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k("column", place)'
        f" WHERE i.indrelid = {oid} AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
        " ORDER BY i.indisprimary DESC, i.indexrelid, k.place"
    )
    grouped: dict[int, tuple[list[str], bool, bool]] = {}
    for index, primary, unique, column, is_key in rows:
        columns, _, _ = grouped.setdefault(index, ([], primary, unique))
        if is_key and column in names:
            columns.append(names[column])
    return [(tuple(columns), primary, unique) for columns, primary, unique in grouped.values()]


def _references(session: Session, condition: str) -> tuple[Reference, ...]:
    rows = session.rows(
        "SELECT k.oid::bigint, k.conname::text, k.confdeltype::text, "
        f"{_NAME.format(c='c', n='n')}, {_NAME.format(c='p', n='m')}, a.attname::text, b.attname::text, "
        "k.confmatchtype = 'f' FROM pg_constraint k "
        "JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace, "
        "unnest(k.conkey, k.confkey) WITH ORDINALITY AS u(child, parent, place), "
        "pg_attribute a, pg_attribute b "
        # the database repeats a reference for each partition; what has a parent is such a copy
        f"WHERE k.contype = 'f' AND k.conparentid = 0 AND {condition} "
        "AND a.attrelid = k.conrelid AND a.attnum = u.child AND b.attrelid = k.confrelid AND b.attnum = u.parent "
        "ORDER BY k.conname, k.oid, u.place"
    )
    grouped: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    return tuple(
        Reference(
            name=parts[0][1],
            table=parts[0][3],
            columns=tuple(part[5] for part in parts),
            parent=parts[0][4],
            parent_columns=tuple(part[6] for part in parts),
            on_delete=_ACTIONS[parts[0][2]],
            match_full=parts[0][7],
        )
        for parts in grouped.values()
    )


def _triggers(session: Session, oid: int, event: tuple[int, str]) -> tuple[str, ...]:
    """Triggers and rules that act on the event; a rule may do something else instead."""
    bit, rule = event
    rows = session.rows(
        f"SELECT tgname::text FROM pg_trigger WHERE tgrelid IN ({_tree(oid)}) "
        f"AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & {bit} <> 0 "
        f"UNION SELECT rulename::text FROM pg_rewrite WHERE ev_class IN ({_tree(oid)}) AND ev_type = '{rule}' ORDER BY 1"
    )
    return tuple(row[0] for row in rows)
