"""The heartbeat of who works on a shard or slot: others see that it lives, and it learns when it lost it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from retention.errors import ControlFailed

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from retention.disposition.engine import Engine

#: how often, in seconds: several fit into the two minutes after which an owner is taken for dead
BEAT_SECONDS = 20.0


@contextmanager
def heartbeat(engine: Engine, seen: Callable[[Connection, datetime], bool]) -> Iterator[threading.Event]:
    """Call ``seen`` every now and then, which writes down that the owner lives; yields an event that is set once it says
    False: the owner has nothing any more, because another took it over or somebody cancelled the run."""
    ended, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            # a control database that is away lets no batch be prepared either; if it stays away, the lease runs out
            with suppress(ControlFailed), engine.control.write() as connection:
                if not seen(connection, engine.now()):
                    lost.set()
                    return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
