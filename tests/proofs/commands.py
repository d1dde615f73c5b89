"""The command line in real processes, quickly: see `zygote.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process."""

    pid: int
    out: Path

    @property
    def said(self) -> str:
        """What it has printed so far, to both outputs."""
        return self.out.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """How it ended, negative for a signal; None while it has not."""
        ended = self.out.with_name(f"{self.out.name}.ended")
        return int(ended.read_text()) if ended.exists() else None

    @property
    def seen(self) -> frozenset[int]:
        """The records that were there at the moment in which the command returned; it was started as a witness."""
        return frozenset(json.loads(self.out.with_name(f"{self.out.name}.seen").read_text()))

    @property
    def stopped(self) -> bool:
        """Whether it is suspended now (proc(5))."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def wait(self, seconds: float = 90) -> int:
        """Until it has ended; a traceback is never right."""
        status = _until(lambda: self.status, seconds, self)
        assert "Traceback" not in self.said, self.said
        return int(status)

    def wait_stopped(self, seconds: float = 90) -> bool:
        """Until it is suspended; False where it ended without."""
        _until(lambda: self.stopped or self.status is not None, seconds, self)
        return self.stopped

    def kill(self) -> None:
        """SIGKILL, if it still lives."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)


class Commands:
    """Starts commands for as long as it is open, and leaves none behind."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="retention-commands-"))
        self._started: list[Command] = []
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._zygote.stdout is not None
        assert self._zygote.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        import shutil

        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        for command in self._started:
            command.kill()
        self._zygote.stdin.close()
        self._zygote.stdout.close()
        self._zygote.wait()
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
        assert self._zygote.stdin is not None
        out = self._folder / str(len(self._started))
        out.touch()
        order: dict[str, Any] = {
            "words": [*words, "--config", str(config)],
            "config": str(config),
            "plan": plan,
            "out": str(out),
            "env": env or {},
            "rows": rows,
            "witness": witness,
        }
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        told = out.with_name(f"{out.name}.started")
        pid = _until(lambda: told.exists() and int(told.read_text()), 30, None)
        command = Command(pid=int(pid), out=out)
        self._started.append(command)
        return command

    def run(self, config: Path, *words: str, plan: str = "", env: dict[str, str] | None = None) -> Command:
        """Start it, and wait until it has ended."""
        command = self.start(config, *words, plan=plan, env=env)
        command.wait()
        return command


def _until(ask: Any, seconds: float, command: Command | None) -> Any:
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        found = ask()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, "too late" if command is None else command.said
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
