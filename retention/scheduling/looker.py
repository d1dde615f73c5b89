"""A process that works: it looks for something to do when it is told, for at most a slice of time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from retention.disposition import clock
from retention.disposition.shift import claimable, work
from retention.disposition.survey import survey_if_due
from retention.errors import RetentionError
from retention.ledger import workers
from retention.ledger.owner import this_process

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.ledger.workers import WorkerKind
    from retention.scheduling.current import Current

#: seconds that one look works at most, so that everybody's turn comes and a worker can be stopped at any time
SLICE = 30.0
#: how often an idle worker shows that it lives, in seconds: several times within the silence that means death
HEARTBEAT = 30.0

_log = structlog.get_logger("retention.worker")


class Looker:
    """Works in one process, in any number of its threads. ``stop`` ends the work in hand after its batch."""

    def __init__(self, current: Current, *, kind: WorkerKind, stop: threading.Event) -> None:
        self._current = current
        self._kind = kind
        self.stop = stop
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="worker heartbeat", daemon=True)
        self._heart.start()

    def look(self) -> bool:
        """Do one thing that waits, if there is one; whether more waits. What fails is logged: the control database keeps what
        was not done, and how often it was tried."""
        try:
            engine = self._engine()
            if work(engine, seconds=SLICE, stop=self.stop):
                return not self.stop.is_set() and claimable(engine) > 0
            survey_if_due(engine)
            return False
        except RetentionError as error:
            _log.error("look.failed", code=error.code, message=error.message, hint=error.hint)
            return False

    def close(self) -> None:
        """End the heartbeat."""
        self._ended.set()

    def _engine(self) -> Engine:
        self._refresh()
        return self._current.engine()

    def _doing(self) -> str | None:
        self._refresh()
        return workers.WAITS if self._current.waits else None

    def _refresh(self) -> None:
        read = self._current.refresh()
        if read is not None and read.error is not None:
            _log.error("policies.refused", message=read.error.message)

    def _beat(self) -> None:
        while True:
            try:
                with self._current.control.write() as connection:
                    workers.seen(connection, name=this_process(), kind=self._kind, doing=self._doing(), at=clock.now())
            except RetentionError as error:
                _log.error("heartbeat.failed", code=error.code, message=error.message)
            if self._ended.wait(HEARTBEAT):
                return
