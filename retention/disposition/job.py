"""One shard's work order: everything its batches share, fixed when work on it begins."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from retention.archive.store import Store
from retention.ledger.runs import Run
from retention.ledger.shards import Lease, Shard
from retention.policy.policy import Policy
from retention.policy.policy_set import PolicySet
from retention.sources.bound_class import BoundClass
from retention.sources.source import Source

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of the class's keys in the database's own order: ``after < key <= until``; None is open. With ``rows`` it
    ends with so many due records, wherever that is."""

    after: tuple[object, ...] | None
    until: tuple[object, ...] | None = None
    rows: int | None = None
    #: how many records there were between the two keys, due or not
    keys: int | None = None


@dataclass(frozen=True, kw_only=True)
class Disposed:
    """What one batch did."""

    rows: int
    dependent_rows: int
    #: Arrow bytes of all its rows
    bytes: int
    #: the last key of a window that was given by ``rows``; None where it was the last window
    until: tuple[object, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """``lease`` is this process in the shard's row: a batch is only ever prepared while the row still says so."""

    engine: Engine
    run: Run
    shard: Shard
    lease: Lease
    policy: Policy
    policies: PolicySet
    bound: BoundClass
    as_of: datetime
    #: None for `archive: none`
    store: Store | None
    #: called after each batch with what it did
    progress: Callable[[Disposed], None]
    #: asked before each batch, and may take its time: False ends the work after the batches in flight
    go_on: Callable[[], bool]
    #: numbers for batches, beyond those that the shard has
    numbers: itertools.count[int] = field(compare=False)

    @property
    def source(self) -> Source:
        """Where the records live."""
        return self.bound.source
