"""What `where` says: comparisons over the columns that a class offers, joined by all, any and none.

Two-valued: null equals only null, and any other comparison with null is false.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import TypeAlias

from retention.policy.mark import Mark

Scalar: TypeAlias = str | int | float | bool | date | datetime | None


class Operator(Enum):
    """The comparisons of policy-language.md, by the word that officers write."""

    IS = "is"
    NOT = "not"
    IN = "in"
    NOT_IN = "not in"
    BELOW = "below"
    ABOVE = "above"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    BEFORE = "before"
    AFTER = "after"
    CONTAINS = "contains"
    STARTS_WITH = "starts with"


@dataclass(frozen=True, kw_only=True)
class Compare:
    """One column against one value, or, for IN and NOT_IN, against a tuple of values."""

    column: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]
    mark: Mark = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class NoneOf:
    """No part holds."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Compare | AllOf | AnyOf | NoneOf
