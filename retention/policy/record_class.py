"""A record class: which rows of which table are one kind of record, as `retention.yaml` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from zoneinfo import ZoneInfo

from retention.policy.condition import Scalar
from retention.policy.dependent import Dependent
from retention.policy.mark import Mark
from retention.policy.tags import TagSource
from retention.policy.unset import Unset, unset_moments
from retention.policy.written import Format, Unit


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A record of another table to which ``column`` of the class refers: its ``key``, None for its primary key."""

    table: str
    column: str
    key: str | None = None
    mark: Mark = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class ClockPart:
    """A column that a clock counts from: the class's own, or that of a dependent's table or a parent, named by ``kin``."""

    kin: str | None
    column: str

    @property
    def path(self) -> str:
        """As retention.yaml writes it."""
        return self.column if self.kin is None else f"{self.kin}.{self.column}"


@dataclass(frozen=True, kw_only=True)
class RecordClass:
    """One class of one source. ``table`` may be schema-qualified; ``columns`` None means that all are offered."""

    source: str
    name: str
    table: str
    key: tuple[str, ...]
    #: the clock that counts where a policy names none: a column, or one of ``clocks``
    created: str | None = None
    #: name -> columns, as `ClockPart.path`: the latest of them counts
    clocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: name -> the record of another table that it stands for
    parents: Mapping[str, Parent] = field(default_factory=dict)
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

    def clock_parts(self, clock: str) -> tuple[ClockPart, ...]:
        """What a clock counts from: that of ``clocks`` by its name, else a column, also ``PARENT.column``."""
        return tuple(map(self._part, self.clocks.get(clock, (clock,))))

    def _part(self, path: str) -> ClockPart:
        known = {*self.parents, *(dependent.table for dependent in self.dependents)}
        kin, _, column = path.rpartition(".")
        return ClockPart(kin=kin, column=column) if kin in known else ClockPart(kin=None, column=path)
