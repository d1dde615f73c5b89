"""A record class: which rows of which table are one kind of record, as `retention.yaml` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

from retention.policy.mark import Mark
from retention.policy.tags import TagSource


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """A table whose rows go with the record that ``key`` (one column) refers to."""

    table: str
    key: str
    mark: Mark = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class RecordClass:
    """One class of one source. ``table`` may be schema-qualified; ``columns`` None means that all are offered."""

    source: str
    name: str
    table: str
    key: tuple[str, ...]
    #: the clock that counts where a policy names none
    created: str | None = None
    #: the zone of clock columns without one
    timezone: ZoneInfo | None = None
    #: what a number in a clock column counts, since 1970-01-01 UTC
    unit: Literal["s", "ms", "us"] | None = None
    tags: TagSource | None = None
    #: subject name -> column, for holds on `customer 42`
    subjects: Mapping[str, str] = field(default_factory=dict)
    #: what `where` may name
    columns: tuple[str, ...] | None = None
    dependents: tuple[Dependent, ...] = ()
    mark: Mark = field(compare=False)
    #: dotted path below the class ("created", "tags.column", "dependents.notes.key") -> where it stands
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False)

    @property
    def address(self) -> str:
        """``source.class``, as policies name it."""
        return f"{self.source}.{self.name}"
