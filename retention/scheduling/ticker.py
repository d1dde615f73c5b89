"""One tick of the clock: files are read where they changed, slots that came are opened, workers are told.

`celery beat` and `retention up` do the same. Nothing is kept outside the control database: a tick may be repeated, missed
or done by several at once.
"""

from __future__ import annotations

import time
from datetime import datetime

import structlog

from retention.disposition import clock
from retention.errors import RetentionError
from retention.ledger import policy_loads, workers
from retention.ledger.policy_loads import PolicyLoad
from retention.ledger.slots import SlotState
from retention.scheduling.current import Current, Read
from retention.scheduling.opening import next_slot, open_slots
from retention.scheduling.reconcile import Reconciler

#: seconds between two ticks at most
INTERVAL = 5.0
#: how often what is wrong is said again, in seconds
AGAIN = 60.0

_log = structlog.get_logger("retention.beat")


class Ticker:
    """Ticks for one process. Its reconciler, which may wait for databases and the broker, has a thread of its own."""

    def __init__(self, current: Current, reconciler: Reconciler) -> None:
        self._current = current
        self._reconciler = reconciler
        #: readings that the control database has not been told yet
        self._untold: list[PolicyLoad] = []
        self._refused: RetentionError | None = None
        self._said: dict[tuple[str, object], float] = {}

    def tick(self) -> float:
        """Do what is due, and return the seconds until it should be done again. Never raises: what is wrong is logged, and
        tried again."""
        try:
            return self._tick()
        except RetentionError as error:
            self._say("beat.failed", code=error.code, message=error.message, hint=error.hint)
        except Exception:
            # whatever it was, the next tick is the remedy; a beat that has ended opens no slot at all
            _log.exception("beat.failed")
        return INTERVAL

    def close(self) -> None:
        """End the reconciler."""
        self._reconciler.stop()

    def _tick(self) -> float:
        self._read_files()
        self._reconciler.ensure_running()
        self._tell()
        engine = self._current.engine()
        now = engine.now()
        policies = engine.project.policies.policies
        looked = open_slots(engine.control, policies, now)
        for slot in looked.opened:
            say = _log.info if slot.state is SlotState.DUE and not slot.late_seconds else _log.warning
            say(
                f"slot.{slot.state.value}",
                slot=slot.id,
                policy=slot.policy,
                due_at=slot.due_at.isoformat(),
                late_seconds=slot.late_seconds,
                reason=slot.reason,
            )
        for policy, until in looked.ahead:
            self._say("clock.behind", policy=policy, checked_until=until.isoformat(), now=now.isoformat())
        if any(slot.state is SlotState.DUE for slot in looked.opened):
            self._reconciler.wake()
        return 0.0 if looked.more else _until(next_slot(policies, now), now)

    def _read_files(self) -> None:
        read = self._current.refresh()
        if read is not None:
            self._untold.append(_load(read))
            self._refused = read.error
            if read.error is None:
                _log.info("policies.taken", set_digest=read.set_digest)
            else:
                self._said.pop(("policies.refused", None), None)
        if self._refused is not None:
            hint = workers.WAITS if self._current.waits else "the last good set stays in force"
            self._say("policies.refused", message=self._refused.message, hint=hint)

    def _tell(self) -> None:
        while self._untold:
            with self._current.control.write() as connection:
                policy_loads.record(connection, self._untold[0])
            del self._untold[0]

    def _say(self, event: str, **facts: object) -> None:
        """An error, of each policy apart, at once and then every minute while it lasts."""
        now, this = time.monotonic(), (event, facts.get("policy"))
        if this not in self._said or now - self._said[this] >= AGAIN:
            self._said[this] = now
            _log.error(event, **facts)


def _load(read: Read) -> PolicyLoad:
    return PolicyLoad(
        outcome="good" if read.error is None else "bad",
        at=clock.now(),
        set_digest=read.set_digest,
        message=None if read.error is None else str(read.error),
    )


def _until(following: datetime | None, now: datetime) -> float:
    """Seconds to sleep: to the next slot, but not longer than files and reconciler can wait."""
    if following is None:
        return INTERVAL
    return min(INTERVAL, max((following - now).total_seconds(), 0.0))
