"""Which tags a policy or a hold asks for, and where a class's tags come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from retention.policy.condition import Condition


@dataclass(frozen=True, kw_only=True)
class TagMatch:
    """Carries all of ``all``, at least one of ``any`` (if any is named) and none of ``none``. Case matters."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TagColumn:
    """Tags stand in a column: a PostgreSQL array, a JSON array, or comma-separated text (by type, then text)."""

    column: str


@dataclass(frozen=True, kw_only=True)
class TagTable:
    """Tags stand in a join table: ``record`` refers to the class's key, column by column; ``tag`` holds one tag a row."""

    table: str
    record: tuple[str, ...]
    tag: str


@dataclass(frozen=True, kw_only=True)
class TagRules:
    """Tags are derived: a record carries each tag whose condition it fulfils."""

    rules: tuple[tuple[str, Condition], ...]


TagSource: TypeAlias = TagColumn | TagTable | TagRules
