"""One run's work order: everything its batches share, fixed when the run begins."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from retention.archive.store import Store
from retention.ledger.runs import Run
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
    """``owner`` is this process in the run's row: a batch is only ever prepared while the row still says so."""

    engine: Engine
    run: Run
    owner: str
    policy: Policy
    policies: PolicySet
    bound: BoundClass
    as_of: datetime
    #: None for `archive: none`
    store: Store | None
    #: called after each batch with what it did
    progress: Callable[[Disposed], None]
    #: set when the run should end after the batches in flight
    stop: threading.Event
    #: numbers for batches, beyond those that the run has
    numbers: itertools.count[int] = field(compare=False)

    @property
    def source(self) -> Source:
        """Where the records live."""
        return self.bound.source
