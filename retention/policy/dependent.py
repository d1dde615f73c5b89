"""What belongs to a record beside its row: the tables whose rows refer to it, as `retention.yaml` declares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from retention.policy.condition import Condition
from retention.policy.mark import Mark


class Then(Enum):
    """What becomes of the rows when their record goes, by the word that operators write."""

    #: they go with it
    DELETE = "archive and delete"
    #: the record refers to them, or what goes with it does, as others may: they go with the last that does
    LAST = "archive and delete with the last"
    #: it does not go while there are any
    BLOCK = "block"
    #: they stay, and refer to nothing from then on
    DETACH = "detach"

    @property
    def goes(self) -> bool:
        """Whether the rows go, with their record or with the last that shares them."""
        return self in (Then.DELETE, Then.LAST)


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """A table whose rows refer to a record, or to a row of the dependent under which this one is declared; or, shared
    between records, are referred to by it (`Then.LAST`)."""

    table: str
    #: the columns that refer, in the order of those that they refer to; where rows are shared, those that are referred to
    key: tuple[str, ...]
    #: the columns that they refer to; None: the key of the class, or the primary key of the dependent above. Where rows
    #: are shared, the columns that refer to them
    of: tuple[str, ...] | None = None
    #: which rows refer there at all, where the table's rows refer to several tables (polymorphic children)
    when: Condition | None = None
    then: Then = Then.DELETE
    #: what refers to its rows in turn
    dependents: tuple[Dependent, ...] = ()
    mark: Mark = field(compare=False)


def every(dependents: tuple[Dependent, ...], path: str = "dependents") -> Iterator[tuple[Dependent, str]]:
    """Each dependent of every level with its dotted path below the class, those above before those below."""
    for one in dependents:
        yield one, f"{path}.{one.table}"
        yield from every(one.dependents, f"{path}.{one.table}.dependents")
