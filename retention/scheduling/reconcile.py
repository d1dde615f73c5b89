"""What makes up for every lost message: what waits is counted, and that many workers are told to look.

It also settles what a worker that died left in doubt. Both may wait for a database or the broker, so they have a thread of
their own, and no slot is opened late because of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from retention.disposition import clock
from retention.disposition.recover import recover
from retention.disposition.shift import claimable
from retention.disposition.survey import survey_is_due
from retention.errors import RetentionError
from retention.ledger import runs, slots, workers
from retention.ledger.owner import this_process
from retention.ledger.runs import RunState
from retention.ledger.slots import SlotState
from retention.ledger.workers import WorkerKind

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.scheduling.current import Current

#: seconds between two reconciliations while nothing goes on
IDLE = 60.0
#: and while a run does: this long nobody may work on it after a worker died with the message in hand
BUSY = 10.0

_log = structlog.get_logger("retention.reconcile")


class Reconciler:
    """Reconciles when it is woken, and every now and then. ``send(n)`` tells up to ``n`` workers to look; it may fail."""

    def __init__(self, current: Current, *, kind: WorkerKind, send: Callable[[int], None]) -> None:
        self._current = current
        self._kind = kind
        self._send = send
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Start the thread where there is none, or where it has died."""
        if self._stopped.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is not None:
            _log.error("thread.restarted", thread=self._thread.name)
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something became due: tell workers now."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread. What it is in the middle of is rolled back or done again by the next one."""
        self._stopped.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=3.0)

    def reconcile(self) -> float:
        """Tell workers about what waits, and settle what is in doubt. Returns the seconds until it should be done again.

        Raises RetentionError.
        """
        doing = workers.WAITS if self._current.waits else None
        with self._current.control.write() as connection:
            workers.seen(connection, name=this_process(), kind=self._kind, doing=doing, at=clock.now())
        engine = self._current.engine()
        self._tell(engine)  # first: settling may have to wait for a source that is away
        recover(engine)
        with engine.control.read() as connection:
            running = any(run.state is RunState.RUNNING for run in runs.unfinished(connection))
            return BUSY if running or slots.in_state(connection, SlotState.DUE) else IDLE

    def _tell(self, engine: Engine) -> None:
        """One look for each item that waits, but not more than there are workers: each goes on while anything waits. One as
        well where the daily survey is due, for whoever has nothing else to do."""
        waiting = claimable(engine) + survey_is_due(engine)
        if not waiting:
            return
        with engine.control.read() as connection:
            living = sum(one.kind == "worker" and one.is_alive(engine.now()) for one in workers.known(connection))
        self._send(min(waiting, max(living, 1)))  # a worker that is not known yet may be there

    def _run(self) -> None:
        while not self._stopped.is_set():
            pause = BUSY
            try:
                pause = self.reconcile()
            except RetentionError as error:
                _log.error("reconcile.failed", code=error.code, message=error.message, hint=error.hint)
            except Exception:
                # as in a tick: the next time is the remedy
                _log.exception("reconcile.failed")
            self._woken.wait(pause)
            self._woken.clear()
