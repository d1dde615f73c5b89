"""What a user of MariaDB or MySQL may not do, as the server itself lists its rights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from retention.sources.rights import Lack, Need

if TYPE_CHECKING:
    from retention.sources.source import Session
    from retention.sources.table import Table

_NAME = r'\*|"(?:[^"]|"")*"|`(?:[^`]|``)*`'
_GRANT = re.compile(
    rf"GRANT (?P<rights>.+) ON (?:TABLE )?(?P<schema>{_NAME})\.(?P<table>{_NAME}) TO (?P<user>PUBLIC|{_NAME}(?P<host>@)?)"
)
#: a right on some columns alone is none on the table
_RIGHT = re.compile(r"([A-Z_ ]+?)( \([^)]*\))?(?:, |$)")


class _To(Enum):
    """Whose a grant is. What each of them has adds up; the roles in effect count as one."""

    USER = "user"
    ROLE = "role"
    PUBLIC = "public"


@dataclass(frozen=True, kw_only=True)
class _Grant:
    to: _To
    rights: frozenset[str]
    schema: str
    table: str

    def has(self, right: str) -> bool:
        return bool(self.rights & {right, "ALL PRIVILEGES"})

    def is_of_all(self) -> bool:
        return self.schema == "*"

    def is_of_table(self, schema: str, table: str | None) -> bool:
        return self.table != "*" and (self.schema, self.table) == (schema, table)

    def is_of_schema(self, schema: str) -> bool:
        return self.schema != "*" and self.table == "*" and _fits(self.schema, schema)


class _Grants:
    """All that the session has been granted."""

    def __init__(self, lines: Sequence[str], *, mariadb: bool) -> None:
        self._mariadb = mariadb
        self._all = [grant for line in lines if (grant := _read(line)) is not None]

    def anywhere(self, right: str) -> bool:
        """Whether it is granted on the whole server."""
        return any(grant.has(right) for grant in self._all if grant.is_of_all())

    def on(self, right: str, schema: str, table: str | None = None) -> bool:
        """Whether it is granted on the table, on its database or on all of them."""
        return (
            self.anywhere(right)
            or any(grant.has(right) for grant in self._all if grant.is_of_table(schema, table))
            or any(self._on_schema(right, schema, to) for to in _To)
        )

    def pattern(self, schema: str) -> str:
        """How a further right on the database is to be granted, so that it neither hides what there is nor is hidden."""
        found = self._deciding(schema, _To.USER)
        return found[0].schema if found else re.sub(r"[\\%_]", r"\\\g<0>", schema)

    def _on_schema(self, right: str, schema: str, to: _To) -> bool:
        found = self._deciding(schema, to)
        return bool(found) and all(grant.has(right) for grant in found)

    def _deciding(self, schema: str, to: _To) -> list[_Grant]:
        """Of the grants on databases whose pattern fits, the server goes by one alone: MariaDB by the first that it lists,
        MySQL by the one that says most before its first wildcard; of several such, none may lack a right."""
        fitting = [grant for grant in self._all if grant.to is to and grant.is_of_schema(schema)]
        if self._mariadb or not fitting:
            return fitting[:1]
        most = max(_said(grant.schema) for grant in fitting)
        return [grant for grant in fitting if _said(grant.schema) == most]


def mariadb_lacks(session: Session, tables: Sequence[Table], need: Need) -> Iterator[Lack]:
    """What the session's user, with its roles in effect, lacks for ``need`` on ``tables``."""
    [(user, database, read_only, version)] = session.rows(
        "SELECT current_user() AS a, database() AS b, @@read_only AS c, version() AS d"
    )
    grants = _Grants([line for (line,) in session.rows("SHOW GRANTS")], mariadb="mariadb" in version.lower())
    to = _account(user)
    if read_only and not any(grants.anywhere(right) for right in _above_read_only(version)):
        what = f"the server of database {database} is read-only"
        yield Lack(what=what, remedy="name the server that is written to in the source's url")
    if not grants.on("CREATE TEMPORARY TABLES", database):
        yield Lack(
            what=f"user {user} may not create temporary tables in database {database}",
            remedy=f"GRANT CREATE TEMPORARY TABLES ON {_quoted(grants.pattern(database))}.* TO {to};",
        )
    for schema in sorted({str(table.schema) for table in tables}):
        # the server hides tables, and their references, from who has no right on them
        if not grants.on("SELECT", schema):
            yield Lack(
                what=f"user {user} may not see every table of database {schema}, and one that it does not see may refer to"
                " the records",
                remedy=f"GRANT SELECT ON {_quoted(grants.pattern(schema))}.* TO {to};",
            )
    for table in tables:
        schema = str(table.schema)
        place = f"{_quoted(schema)}.{_quoted(table.bare_name)}"
        for right, told in (
            (need.value, f"may not {need.value} {table.name}"),
            # who may not, sees none where there are some
            ("TRIGGER", f"may not see the triggers of {table.name}, which may delete what was not archived"),
        ):
            if not grants.on(right, schema, table.bare_name):
                yield Lack(what=f"user {user} {told}", remedy=f"GRANT {right} ON {place} TO {to};")


def _read(line: str) -> _Grant | None:
    """A line of SHOW GRANTS; None for those that grant a role."""
    match = _GRANT.match(line)
    if match is None:
        return None
    rights = frozenset(right for right, columns in _RIGHT.findall(match["rights"]) if not columns)
    to = _To.PUBLIC if match["user"] == "PUBLIC" else _To.USER if match["host"] else _To.ROLE
    return _Grant(to=to, rights=rights, schema=_bare(match["schema"]), table=_bare(match["table"]))


def _above_read_only(version: str) -> tuple[str, ...]:
    """The rights with which a user writes to a server that is read-only to others."""
    if "mariadb" not in version.lower():
        return ("SUPER", "CONNECTION_ADMIN")
    numbers = tuple(int(one) for one in version.removeprefix("5.5.5-").split("-")[0].split(".")[:2])
    return ("READ_ONLY ADMIN",) if numbers >= (10, 11) else ("READ_ONLY ADMIN", "SUPER")


def _bare(name: str) -> str:
    return name if name == "*" else name[1:-1].replace(name[0] * 2, name[0])


def _fits(pattern: str, schema: str) -> bool:
    """The database of a grant on all of its tables is a pattern of LIKE."""
    parts = re.findall(r"\\(.)|(%)|(_)|(.)", pattern, re.DOTALL)
    expression = "".join(
        ".*" if many else "." if one else re.escape(escaped or plain) for escaped, many, one, plain in parts
    )
    return re.fullmatch(expression, schema, re.DOTALL) is not None


def _said(pattern: str) -> float:
    """How many characters the pattern says before its first wildcard; one without says all."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return next((place for place, part in enumerate(parts) if part in "%_"), math.inf)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _account(user: str) -> str:
    name, _, host = user.rpartition("@")
    return f"'{name}'@'{host}'"
