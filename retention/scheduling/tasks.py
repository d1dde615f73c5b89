"""The one task, `retention.look`, and the life of a worker process around it."""

from __future__ import annotations

import os
import select
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import structlog
from celery import Celery, signals

from retention.errors import Failed
from retention.scheduling.app import send_look
from retention.scheduling.current import Current
from retention.scheduling.entries import LOOK
from retention.scheduling.log import log_as_json
from retention.scheduling.looker import Looker

_log = structlog.get_logger("retention.worker")


class WorkerLife:
    """What a worker's main process and each of its children have.

    The main process opens no database: connections do not survive a fork, and each child makes its own at its start.
    """

    def __init__(self, app: Celery, config_path: Path) -> None:
        self._app = app
        self._config_path = config_path
        self._looker: Looker | None = None
        self._process = 0
        # readable from the moment at which the worker shuts down: children that are killed at any point leave a pipe as
        # it is, where a lock shared with them could stay locked
        self._shutdown, self._shut = os.pipe()

    def install(self) -> None:
        """Register the task and listen to the worker's signals."""
        self._app.task(name=LOOK, ignore_result=True)(self._look)
        signals.setup_logging.connect(_log_as_json, weak=False)
        signals.celeryd_init.connect(self._refuse, weak=False)
        signals.worker_process_init.connect(self._ready, weak=False)
        signals.worker_shutting_down.connect(self._tell_children, weak=False)

    def _look(self) -> None:
        looker = self._ready()
        if looker.look():
            try:
                send_look(self._app)
            except Failed as error:
                # what waits is in the control database, and the next reconciliation tells somebody
                _log.warning("look.unsent", message=error.message)

    def _ready(self, **_: Any) -> Looker:
        """This process's looker; made here in a child that was forked, or in the one process of a pool of threads."""
        if self._looker is None or self._process != os.getpid():
            stop = threading.Event()
            self._looker = Looker(Current(self._config_path), kind="worker", stop=stop)
            self._process = os.getpid()
            threading.Thread(target=self._hear, args=(stop,), name="shutdown", daemon=True).start()
        return self._looker

    def _hear(self, stop: threading.Event) -> None:
        select.select([self._shutdown], [], [])
        stop.set()

    def _tell_children(self, **_: Any) -> None:
        os.write(self._shut, b"!")

    def _refuse(self, options: dict[str, Any], **_: Any) -> None:
        """What would look like a worker and do nothing, or harm."""
        if options.get("beat"):
            _refuse(
                "a beat inside a worker (-B) dies and doubles with it",
                "start `celery -A worker beat` by itself; on a small site, `retention up` does all of it",
            )
        refuse_memory(self._app)


def refuse_memory(app: Celery) -> None:
    """Exit where the broker is in this process's memory: no other process would ever hear of anything."""
    if app.conf.broker_url.startswith("memory:"):
        _refuse(
            "the broker is memory://, which no other process can reach",
            "write broker: redis://HOST:6379/0 in retention.yaml; without Redis, `retention up` does all of it",
        )


def _refuse(message: str, hint: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n  {hint}\n")
    raise SystemExit(4)


def _log_as_json(loglevel: int, **_: Any) -> None:
    log_as_json(loglevel)
