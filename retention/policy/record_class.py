"""A record class: which rows of which table are one kind of record, as `retention.yaml` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from zoneinfo import ZoneInfo

from retention.policy.condition import Scalar
from retention.policy.mark import Mark
from retention.policy.tags import TagSource
from retention.policy.unset import Unset, unset_moments
from retention.policy.written import Format, Unit


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
    unit: Unit | None = None
    #: what digits in a clock column mean, as text or as a number; never together with ``unit``
    format: Format | None = None
    #: values that mean that a time is not set: such a clock is none
    unset: tuple[Scalar, ...] = ()
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

    @cached_property
    def unset_moments(self) -> Unset:
        """The moments that ``unset`` means."""
        return unset_moments(self.unset, self.timezone, self.unit, self.format)
