"""What a role of PostgreSQL may not do, as the server itself answers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from retention.sources.rights import Lack, Need

if TYPE_CHECKING:
    from retention.sources.source import Session, Source
    from retention.sources.table import Table

#: fences, the server's own count of what was deleted, and the outcome of a transaction; anybody may call them, unless revoked
_FUNCTIONS = (
    "pg_advisory_xact_lock(bigint)",
    "pg_advisory_xact_lock_shared(bigint)",
    "pg_stat_force_next_flush()",
    "pg_stat_get_xact_tuples_deleted(oid)",
    "pg_current_xact_id()",
    "pg_xact_status(xid8)",
)


def postgresql_lacks(session: Session, source: Source, tables: Sequence[Table], need: Need) -> Iterator[Lack]:
    """What the session's role lacks for ``need`` on ``tables``."""
    [(role, database, standby, temporary)] = session.rows(
        "SELECT current_user::text, current_database()::text, pg_is_in_recovery(),"
        " has_database_privilege(current_database(), 'TEMPORARY')"
    )
    quote = source.dialect.identifier_preparer.quote
    to = quote(role)
    if standby:
        what = f"the server of database {database} is a standby, which can only be read"
        yield Lack(what=what, remedy="name the primary in the source's url")
    if not temporary:
        yield Lack(
            what=f"role {role} may not create temporary tables in database {database}",
            remedy=f"GRANT TEMPORARY ON DATABASE {quote(database)} TO {to};",
        )
    for function in _FUNCTIONS:
        if session.rows(f"SELECT has_function_privilege('{function}', 'EXECUTE')") != [(True,)]:
            what = f"role {role} may not call {function}"
            yield Lack(what=what, remedy=f"GRANT EXECUTE ON FUNCTION {function} TO {to};")
    for table in tables:
        yield from _lacks_on(session, source, role, table, need)


def _lacks_on(session: Session, source: Source, role: str, table: Table, need: Need) -> Iterator[Lack]:
    quote = source.dialect.identifier_preparer.quote
    schema, to = str(table.schema), quote(role)
    name = f"{quote(schema)}.{quote(table.bare_name)}"
    if session.rows(f"SELECT has_schema_privilege({source.text(schema)}, 'USAGE')") != [(True,)]:
        what = f"role {role} may not use schema {schema}, in which {table.name} is"
        yield Lack(what=what, remedy=f"GRANT USAGE ON SCHEMA {quote(schema)} TO {to};")
        return  # without it no right on the table counts, nor can the table be named
    relation = f"{source.text(name)}::regclass"
    # by column: a right on the table is one on each of its columns, and DELETE there is none by column
    asked = (
        f"SELECT attname::text FROM pg_attribute WHERE attrelid = {relation} AND attnum > 0 AND NOT attisdropped"
        f" AND NOT has_column_privilege(attrelid, attnum, '{need.value}') ORDER BY attnum"
        if need is not Need.DELETE
        else f"SELECT '' WHERE NOT has_table_privilege({relation}, 'DELETE')"
    )
    missing = [row[0] for row in session.rows(asked)]
    if missing:
        which = f"{', '.join(missing)} of " if need is not Need.DELETE and len(missing) < len(table.columns) else ""
        what = f"role {role} may not {need.value} {which}{table.name}"
        yield Lack(what=what, remedy=f"GRANT {need.value} ON {name} TO {to};")
    if session.rows(f"SELECT row_security_active({relation})") == [(True,)]:
        yield Lack(
            what=f"row-level security hides rows of {table.name} from role {role}",
            remedy=f"ALTER ROLE {to} BYPASSRLS;",
        )
