"""What the role of a source may not do, told before anything begins: "nothing is due" must never mean "I may not look"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from retention.errors import RightMissing

if TYPE_CHECKING:
    from retention.sources.source import Source
    from retention.sources.table import Table


class Need(Enum):
    """What is to be done with the rows of a table; the value is the right that SQL asks for."""

    READ = "SELECT"
    DELETE = "DELETE"
    INSERT = "INSERT"
    UPDATE = "UPDATE"


@dataclass(frozen=True, kw_only=True)
class Lack:
    """A right that is missing: ``what``, naming role and table, and what to do, where it can be ready to paste."""

    what: str
    remedy: str


def lacks(source: Source, tables: Sequence[Table], *needs: Need) -> list[Lack]:
    """What the source's role lacks to do that with these tables; each lack once. Raises SourceFailed."""
    session = source.session()
    try:
        return list(dict.fromkeys(lack for need in needs for lack in session.lacks(tables, need)))
    finally:
        session.close()


def refuse_without(source: Source, tables: Sequence[Table], *needs: Need) -> None:
    """Raise RightMissing, with every lack, where the role may not do all that with these tables."""
    found = lacks(source, tables, *needs)
    if found:
        raise RightMissing.of_all([(f"{source.name}: {lack.what}", lack.remedy) for lack in found])
