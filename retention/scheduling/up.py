"""A small site's scheduled worker: beat, reconciler and workers as threads of one process, without broker.

The same parts as `celery beat` and `celery worker`, told by a semaphore instead of messages. Killed at any point, it
leaves rows in the control database, and whoever starts next goes on with them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from retention.scheduling.current import Current
from retention.scheduling.looker import Looker
from retention.scheduling.reconcile import Reconciler
from retention.scheduling.ticker import Ticker

#: how often the threads are looked after, in seconds
SUPERVISE = 1.0

_log = structlog.get_logger("retention.up")


@dataclass(kw_only=True)
class _Part:
    """A thread that is started again when it dies."""

    name: str
    target: Callable[[], None]
    thread: threading.Thread | None = field(default=None)

    def ensure_running(self) -> None:
        if self.thread is not None and self.thread.is_alive():
            return
        if self.thread is not None:
            _log.error("thread.restarted", thread=self.name)
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.target()
        except Exception:
            _log.exception("thread.failed", thread=self.name)


def run_up(config_path: Path, *, workers: int, stop: threading.Event) -> None:
    """Tick, reconcile and work until ``stop`` is set; then end after the batches in hand."""
    looks = threading.Semaphore(0)
    watched, worked_on = Current(config_path), Current(config_path)
    reconciler = Reconciler(watched, kind="up", send=lambda _: looks.release(workers))
    ticker = Ticker(watched, reconciler)
    looker = Looker(worked_on, kind="up", stop=stop)

    def beat() -> None:
        while not stop.wait(ticker.tick()):
            pass

    def work() -> None:
        while not stop.is_set():
            # without a timeout nobody would hear of `stop`
            if looks.acquire(timeout=SUPERVISE) and looker.look():
                looks.release()

    parts = [_Part(name="beat", target=beat), *(_Part(name=f"worker {n + 1}", target=work) for n in range(workers))]
    _log.info("up.started", workers=workers)
    while not stop.is_set():
        for part in parts:
            part.ensure_running()
        stop.wait(SUPERVISE)
    for part in parts:
        if part.thread is not None:
            part.thread.join()
    ticker.close()
    looker.close()
    watched.close()
    worked_on.close()
    _log.info("up.stopped")
