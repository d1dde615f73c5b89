"""What is asked between two batches: whether the work goes on, and how long it rests first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from retention.errors import InputError
from retention.ledger import pauses
from retention.ledger.runs import Run
from retention.policy.throttle import Throttle

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

#: seconds between two looks at a throttle that says wait
AGAIN = 1.0
#: seconds for which an answer holds: pauses and throttles are not asked about after each of many small batches
FRESH = 1.0

#: how far the replica that is furthest behind is, in seconds; no row and nulls mean none
_LAG = "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication"


class Pace:
    """Called before each batch, by any lane: False where the work is to end after the batches in flight.

    It rests as the source's throttle says, and asks for pauses; ``patient``, it waits until the source has room, else that
    ends the work too. ``over`` says what else does.
    """

    def __init__(self, engine: Engine, run: Run, *, over: Callable[[], bool], patient: bool) -> None:
        self._engine = engine
        self._run = run
        self._over = over
        self._patient = patient
        self._source = run.records.partition(".")[0]
        self._throttle = engine.project.config.sources[self._source].throttle
        self._lane = threading.local()
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._paused = False
        #: why it waits, for a person; None while it does not
        self.waits_for: str | None = None

    def __call__(self) -> bool:
        self._rest()
        while not self._over():
            if self._is_paused():
                return False
            if self.waits_for is None:
                self._lane.began = time.monotonic()
                return True
            if not self._patient:
                return False
            time.sleep(AGAIN)
        return False

    def _rest(self) -> None:
        """After a batch, rest in proportion to the time that it took, so that the lane works its share of the time."""
        began: float | None = getattr(self._lane, "began", None)
        if began is None or self._throttle.duty is None:
            return
        took = time.monotonic() - began
        until = time.monotonic() + took * float(1 / self._throttle.duty - 1)
        while not self._over() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, AGAIN))

    def _is_paused(self) -> bool:
        with self._lock:
            if self._asked_at == 0.0 or time.monotonic() - self._asked_at >= FRESH:
                with self._engine.control.read() as connection:
                    self._paused = pauses.waiting(connection, self._run.policy, self._run.id)
                self.waits_for = None if self._paused else waits_for(self._engine, self._source, self._throttle)
                self._asked_at = time.monotonic()
            return self._paused


def waits_for(engine: Engine, source: str, throttle: Throttle) -> str | None:
    """Why the source is to be spared now, for a person; None where it need not be. Raises InputError for a query that
    yields no number, and SourceFailed."""
    if throttle.query is None and throttle.replica_lag is None:
        return None
    session = engine.source(source).session()
    try:
        session.begin(write=False)
        if throttle.replica_lag is not None:
            [(lag,)] = session.rows(_LAG)
            if lag > throttle.replica_lag:
                return f"a replica of {source} is {lag:.0f} seconds behind"
        if throttle.query is not None and throttle.below is not None:
            value = _number(session.rows(throttle.query), source)
            if not value < throttle.below:  # so that "not a number" waits too
                return f"the throttle's query on {source} says {value:g}, not below {throttle.below:g}"
    finally:
        session.close()
    return None


def _number(rows: list[tuple[object, ...]], source: str) -> float:
    try:
        [(value,)] = rows
        return float(value)  # type: ignore[arg-type]  # whatever it is: what is no number raises
    except (ValueError, TypeError):
        raise InputError(
            f"the throttle's query on source {source} does not yield one number",
            hint="correct `throttle:` in retention.yaml; its query is a SELECT of one row and one column",
        ) from None
