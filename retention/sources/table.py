"""A table as the database itself describes it: columns, key, references, triggers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a column's values are to a policy, whatever the database calls its type."""

    TEXT = "text"
    INTEGER = "whole number"
    NUMBER = "number"
    BOOLEAN = "true or false"
    DATE = "date"
    #: date and time without a zone (SQLite: text in ISO form under a DATE/TIME type)
    WALL = "date and time without a zone"
    #: an instant: date and time with a zone
    INSTANT = "date and time with a zone"
    JSON = "JSON"
    TEXT_ARRAY = "array of text"
    #: bytes; where they are ASCII they may be the text of a time
    BINARY = "binary"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Column:
    """``type`` is the database's own name for it, ready for a CAST (``numeric(12,2)``)."""

    name: str
    type: str
    kind: Kind
    nullable: bool
    generated: bool = False
    identity_always: bool = False
    #: MariaDB: how text in it compares, and in which character set it stands; SQLite: how that of a unique column does which
    #: does not compare as it is
    collation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A foreign key: ``columns`` of ``table`` refer to ``parent_columns`` of ``parent``."""

    name: str
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str
    #: its columns are null all together, or none of them is (PostgreSQL's MATCH FULL)
    match_full: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """``name`` is schema-qualified on PostgreSQL where the schema is not the default one."""

    name: str
    schema: str | None
    bare_name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    #: SQLite: the primary key is the rowid, which is a whole number whatever is put into it; any other key may be anything
    rowid: bool = False
    #: column lists of unique indexes over whole columns and all rows, the primary key's own aside
    unique_keys: tuple[tuple[str, ...], ...] = ()
    #: every foreign key elsewhere that refers to this table
    referenced_by: tuple[Reference, ...]
    #: every foreign key of this table
    refers_to: tuple[Reference, ...]
    #: "table", "partitioned", or what is refused: "view", "partition", ...
    relation: str
    #: of a partition or an inheriting table: what it belongs to
    part_of: str | None = None
    #: names of triggers that fire on delete
    delete_triggers: tuple[str, ...] = ()
    #: names of triggers and rules that fire on insert: what they change, a restore finds changed
    insert_triggers: tuple[str, ...] = ()
    #: column lists of indexes, in order
    indexes: tuple[tuple[str, ...], ...] = ()
    #: the database's estimate, None where there is none
    estimated_rows: int | None = None

    def column(self, name: str) -> Column | None:
        """The column of that exact name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def is_named(self, name: str) -> bool:
        """Whether ``name``, as retention.yaml writes it, means this table."""
        return name in (self.name, f"{self.schema}.{self.bare_name}")
