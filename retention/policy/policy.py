"""A policy, as officers write it in `policies/*.yaml`, and the legal bounds around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo

from retention.policy.condition import Condition
from retention.policy.keep_last import KeepLast
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.tags import TagMatch
from retention.policy.window import RunWindow

Starts = Literal["next month", "next quarter", "next year", "next fiscal year"]
#: what becomes of slots at which nothing could run
Missed = Literal["run once", "skip", "run all"]


@dataclass(frozen=True, kw_only=True)
class Retain:
    """How long, from when. ``clock`` None means the class's `created` column."""

    period: Period
    clock: str | None = None
    starts: Starts | None = None
    #: month and day on which the fiscal year begins, from retention.yaml
    fiscal_year_starts: tuple[int, int] = (1, 1)
    #: the newest of each group stay, whatever their age
    keep_last: KeepLast | None = None


@dataclass(frozen=True, kw_only=True)
class ArchiveRule:
    """The archive that takes the records, and how long it keeps them (counted from the day of their deletion)."""

    to: str
    keep: Period


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When the policy runs: a five-field cron in an IANA zone."""

    cron: str
    timezone: ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest plan that may run. ``share`` is of the class's records, 0 < share <= 1."""

    rows: int | None = None
    share: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One policy. ``tags`` and ``where`` both None means `all: true`, said out loud in the file."""

    name: str
    title: str
    mandate: str | None
    owner: str | None
    #: SOURCE.CLASS
    records: str
    tags: TagMatch | None
    where: Condition | None
    retain: Retain
    #: None means `archive: none`
    archive: ArchiveRule | None
    schedule: Schedule
    approval: bool
    limits: Limits
    #: SHA-256 (hex) of the policy's meaning: the same for files that differ in layout and comments alone
    digest: str
    mark: Mark = field(compare=False)
    #: the newest of several missed slots runs for all, none that is late runs, or each runs as of its own time
    missed: Missed = "run once"
    #: in the schedule's zone; None: a scheduled run works at any hour
    window: RunWindow | None = None
    #: dotted path ("retain.from", "tags", "where.status") -> where it stands in the file
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class LegalBound:
    """A legal minimum or maximum from retention.yaml, counted from the class's `created` clock."""

    kind: Literal["minimum", "maximum"]
    records: str
    tags: TagMatch | None
    where: Condition | None
    period: Period
    mandate: str
    mark: Mark = field(compare=False)
