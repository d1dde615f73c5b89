"""What a hold covers. A scope names classes by ``source.class``; it never widens and never narrows by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from retention.policy.condition import Condition

#: a key is the tuple of its columns' values, also where there is only one column
Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Records of one class by key; 100,000 keys are a normal size, so they are stored beside the hold, not in it."""

    records: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """Every record that carries the tag, in the named classes."""

    tag: str
    records: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Every record that fulfils the condition, in the named classes."""

    where: Condition
    records: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Every record of one data subject (`customer` = `42`), in every class that declares the subject."""

    subject: str
    value: str


@dataclass(frozen=True, kw_only=True)
class WholeClass:
    """Every record of one class."""

    records: str


@dataclass(frozen=True, kw_only=True)
class Everything:
    """Every record of every class of every source."""


Scope: TypeAlias = Keys | Tagged | Matching | Subject | WholeClass | Everything
