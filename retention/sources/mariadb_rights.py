"""What a user of MariaDB or MySQL may not do, as the server itself lists its rights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retention.sources.rights import Lack, Need

if TYPE_CHECKING:
    from retention.sources.source import Session
    from retention.sources.table import Table

_NAME = r'\*|"(?:[^"]|"")*"|`(?:[^`]|``)*`'
_GRANT = re.compile(rf"GRANT (?P<rights>.+) ON (?:TABLE )?(?P<schema>{_NAME})\.(?P<table>{_NAME}) TO ")
#: a right on some columns alone is none on the table
_RIGHT = re.compile(r"([A-Z ]+?)( \([^)]*\))?(?:, |$)")


@dataclass(frozen=True, kw_only=True)
class _Grant:
    rights: frozenset[str]
    schema: str
    table: str

    def covers(self, right: str, schema: str, table: str | None) -> bool:
        within = self.table == "*" or self.table == table
        return bool(self.rights & {right, "ALL PRIVILEGES"}) and within and _fits(self.schema, schema)


def mariadb_lacks(session: Session, tables: Sequence[Table], need: Need) -> Iterator[Lack]:
    """What the session's user, with its roles in effect, lacks for ``need`` on ``tables``."""
    [(user, database, read_only)] = session.rows("SELECT current_user() AS a, database() AS b, @@read_only AS c")
    grants = [grant for (line,) in session.rows("SHOW GRANTS") if (grant := _read(line)) is not None]
    to = _account(user)

    def may(right: str, schema: str, table: str | None = None) -> bool:
        return any(grant.covers(right, schema, table) for grant in grants)

    above = any(may(right, "") for right in ("SUPER", "READ_ONLY ADMIN", "READ ONLY ADMIN"))
    if read_only and not above:
        what = f"the server of database {database} is read-only"
        yield Lack(what=what, remedy="name the server that is written to in the source's url")
    if not may("CREATE TEMPORARY TABLES", database):
        yield Lack(
            what=f"user {user} may not create temporary tables in database {database}",
            remedy=f"GRANT CREATE TEMPORARY TABLES ON {_quoted(database)}.* TO {to};",
        )
    for table in tables:
        schema = str(table.schema)
        place = f"{_quoted(schema)}.{_quoted(table.bare_name)}"
        for right, told in (
            (need.value, f"may not {need.value} {table.name}"),
            # who may not, sees none where there are some
            ("TRIGGER", f"may not see the triggers of {table.name}, which may delete what was not archived"),
        ):
            if not may(right, schema, table.bare_name):
                yield Lack(what=f"user {user} {told}", remedy=f"GRANT {right} ON {place} TO {to};")


def _read(line: str) -> _Grant | None:
    """A line of SHOW GRANTS; None for those that grant a role."""
    match = _GRANT.match(line)
    if match is None:
        return None
    rights = frozenset(right for right, columns in _RIGHT.findall(match["rights"]) if not columns)
    return _Grant(rights=rights, schema=_bare(match["schema"]), table=_bare(match["table"]))


def _bare(name: str) -> str:
    return name if name == "*" else name[1:-1].replace(name[0] * 2, name[0])


def _fits(pattern: str, schema: str) -> bool:
    """A database in a grant is a pattern of LIKE."""
    if pattern == "*":
        return True
    parts = re.findall(r"\\(.)|(%)|(_)|(.)", pattern, re.DOTALL)
    expression = "".join(
        ".*" if many else "." if one else re.escape(escaped or plain) for escaped, many, one, plain in parts
    )
    return re.fullmatch(expression, schema, re.DOTALL) is not None


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _account(user: str) -> str:
    name, _, host = user.rpartition("@")
    return f"'{name}'@'{host}'"
