"""The order in which rows are put back, each after all that they refer to, and the references that go against it.

Where references go round in a circle (accounts refer to their main contact, contacts to their account) no order serves all
of them. One that may be null closes the circle: a restore leaves it empty at first, and sets it once all rows are in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retention.policy.dependent import Then
from retention.sources.bound_dependent import BoundDependent
from retention.sources.table import Reference, Table

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass


@dataclass(frozen=True, kw_only=True)
class Closing:
    """A foreign key of ``table`` to rows that are put back after the table's own, those of ``target``."""

    reference: Reference
    table: Table
    target: Table
    #: by which the table's rows are known again
    key: tuple[str, ...]
    #: those of its columns that a restore leaves empty at first; none where that cannot be
    loose: tuple[str, ...]

    @property
    def name(self) -> str:
        """``accounts (primary_contact_id)``."""
        return f"{self.table.name} ({', '.join(self.reference.columns)})"

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each column that refers, with the one of ``target`` to which it does."""
        return tuple(zip(self.reference.columns, self.reference.parent_columns or self.target.primary_key, strict=True))


def closings(bound: BoundClass) -> tuple[Closing, ...]:
    """Every foreign key of what goes to what is put back after it. MariaDB and MySQL look at each row by itself, so there that
    may be a row of the same table (answers to comments)."""
    found = [] if bound.dialect != "mysql" else [one for one in _within(bound) if one.loose]
    before: list[tuple[Table, tuple[str, ...]]] = []
    for one in put_back_order(bound):
        target = bound.table if one is None else one.table
        for reference in target.referenced_by:
            for table, key in before:
                if table.is_named(reference.table):
                    loose = loose_columns(table, key, reference)
                    found.append(Closing(reference=reference, table=table, target=target, key=key, loose=loose))
        before.append((target, bound.record_class.key if one is None else target.primary_key))
    return tuple(found)


def put_back_order(bound: BoundClass) -> list[BoundDependent | None]:
    """In which order a restore inserts; None is the record. What records share comes first, for they refer to it."""
    return [*bound.shared, None, *(one for one in bound.dependents if not one.shared)]


def own_reference(bound: BoundClass, shared: BoundDependent) -> Reference | None:
    """The foreign key by which what is above the shared rows refers to them."""
    above = bound.table if shared.parent is None else shared.parent.table
    said = dict(zip(shared.of, shared.key, strict=True))
    for one in shared.table.referenced_by:
        referred = one.parent_columns or shared.table.primary_key
        if above.is_named(one.table) and dict(zip(one.columns, referred, strict=False)) == said:
            return one
    return None


def _within(bound: BoundClass) -> Iterator[Closing]:
    """References of dependents to rows of their own table. A record's go by themselves: others that refer to it block it."""
    for one in bound.dependents:
        table, key = one.table, one.table.primary_key
        for reference in table.referenced_by:
            if table.is_named(reference.table):
                loose = loose_columns(table, key, reference)
                yield Closing(reference=reference, table=table, target=table, key=key, loose=loose)


def loose_columns(table: Table, key: Sequence[str], reference: Reference) -> tuple[str, ...]:
    """Those of the reference's columns that may be null for a while: with one of them null a row refers to nothing. Not
    where the row is known by them, or referred to, and not where ``key`` is empty, so that it could not be found again."""
    held = {*key, *table.primary_key, *(one for other in table.referenced_by for one in other.parent_columns)}
    columns = [table.column(one) for one in reference.columns]
    loose = tuple(
        one.name for one in columns if one is not None and one.nullable and not one.generated and one.name not in held
    )
    # a reference that says MATCH FULL takes all of its columns as null, or none
    return loose if key and (not reference.match_full or len(loose) == len(columns)) else ()


def in_order(declared: Sequence[BoundDependent]) -> tuple[BoundDependent, ...]:
    """Each after all whose rows its own refer to, so that in this order they can be put back. In a circle a reference that
    may be null is passed over; where none may be, binding refuses the class."""
    ordered: list[BoundDependent] = []
    waiting = list(declared)
    while waiting:
        free = [one for one in waiting if not any(_must_follow(one, other) for other in waiting)]
        # who has the least to wait for: nothing, unless all that is left goes round in circles, and then nothing beyond
        # the own circle, so that no reference is passed over that closes none
        ordered.append(min(free or waiting[:1], key=lambda one: len(_awaited(one, waiting))))
        waiting.remove(ordered[-1])
    return tuple(ordered)


def _awaited(one: BoundDependent, waiting: Sequence[BoundDependent]) -> set[BoundDependent]:
    """Itself, what its rows refer to, what those refer to, and so on."""
    found, fresh = {one}, [one]
    while fresh:
        here = fresh.pop()
        further = {other for other in waiting if other not in found and _refers(here, other)}
        found |= further
        fresh += further
    return found


def _refers(one: BoundDependent, other: BoundDependent) -> bool:
    """Whether rows of the one are best put back after those of the other."""
    return one.parent is other or any(True for _ in _references(one, other))


def _must_follow(one: BoundDependent, other: BoundDependent) -> bool:
    """Whether rows of the one cannot be put back before those of the other. What is declared under another is chosen from
    the archive by its rows."""
    return one.parent is other or any(
        not loose_columns(one.table, one.table.primary_key, reference) for reference in _references(one, other)
    )


def _references(one: BoundDependent, other: BoundDependent) -> Iterator[Reference]:
    """The foreign keys by which rows of the one that go refer to rows of another table that go."""
    if one.then is Then.DELETE and other.then is Then.DELETE and one.table != other.table:
        yield from (reference for reference in other.table.referenced_by if one.table.is_named(reference.table))
