"""The command line in processes of its own, with failpoints, small batches and witnesses: see `tests/servers/forked.py`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.servers import forked

#: what a process is to do besides, by its environment
_ROWS, _WITNESS = "RETENTION_TEST_ROWS", "RETENTION_TEST_WITNESS"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process."""

    process: subprocess.Popen[bytes]
    out: Path

    @property
    def said(self) -> str:
        """What it has printed so far, to both outputs."""
        return self.out.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """How it ended, negative for a signal; None while it has not."""
        return self.process.poll()

    @property
    def seen(self) -> frozenset[int]:
        """The records that were there at the moment in which the command returned; it was started as a witness."""
        return frozenset(json.loads(self.out.with_suffix(".seen").read_text()))

    @property
    def stopped(self) -> bool:
        """Whether it is suspended now (proc(5))."""
        try:
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def wait(self, seconds: float = 90) -> int:
        """Until it has ended; a traceback is never right."""
        self._until(lambda: self.status is not None, seconds)
        assert "Traceback" not in self.said, self.said
        return int(self.process.returncode)

    def wait_stopped(self, seconds: float = 90) -> bool:
        """Until it is suspended; False where it ended without."""
        self._until(lambda: self.stopped or self.status is not None, seconds)
        return self.stopped

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline, pause = time.monotonic() + seconds, 0.002
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(pause)
            pause = min(0.05, pause * 1.5)


class Commands:
    """Starts commands for as long as it is open, and leaves none behind."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="retention-commands-"))
        self._started: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for command in self._started:
            command.process.kill()
            command.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(
        self,
        config: Path,
        *words: str,
        plan: str = "",
        env: dict[str, str] | None = None,
        rows: int = 1_000,
        witness: bool = False,
    ) -> Command:
        """Start `retention WORDS` with a plan of failpoints, batches of so many rows, and as a witness, see `seen`."""
        out = self._folder / str(len(self._started))
        environ = {**os.environ, **(env or {}), "RETENTION_FAILPOINTS": plan, _ROWS: str(rows)}
        if witness:
            environ[_WITNESS] = json.dumps([str(config), str(out.with_suffix(".seen"))])
        with out.open("wb") as file:
            process = forked.command(
                [*words, "--config", str(config)], begin=child, stdout=file, stderr=subprocess.STDOUT, env=environ
            )
        command = Command(process=process, out=out)
        self._started.append(command)
        return command

    def run(self, config: Path, *words: str, plan: str = "", env: dict[str, str] | None = None) -> Command:
        """Start it, and wait until it has ended."""
        command = self.start(config, *words, plan=plan, env=env)
        command.wait()
        return command


def child() -> None:
    """What the process does instead of the command line alone."""
    from retention.cli import main
    from retention.disposition import windows

    # batches of so many due records, so that a small table has many
    windows.FIRST_ROWS = windows.MOST_ROWS = int(os.environ[_ROWS])
    try:
        main()
    finally:
        if _WITNESS in os.environ:
            _witness(*json.loads(os.environ[_WITNESS]))


def _witness(config: str, seen: str) -> None:
    """Write down which records there are, now: the command has just returned."""
    from retention.config import load_project
    from retention.sources.open import open_source

    session = open_source(load_project(Path(config)).config.sources["crm"]).session()
    found: list[Any] = [row[0] for row in session.rows("SELECT id FROM activity_logs ORDER BY id")]
    session.close()
    Path(seen).write_text(json.dumps(found))
