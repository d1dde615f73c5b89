"""The program as people run it: a process of its own, in the folder of the demo."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.servers import forked


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error that a command with --json prints."""
        return json.loads(self.err)["error"]


@dataclass(frozen=True, kw_only=True)
class Retention:
    """The command `retention` in one project folder."""

    folder: Path

    @property
    def line(self) -> str:
        """How a shell calls it."""
        return shlex.join((sys.executable, "-m", "retention"))

    def __call__(
        self, *words: str, status: int = 0, stdin: str | bytes = "", environ: Mapping[str, str] | None = None
    ) -> Said:
        """Run it; whatever happens, no traceback may reach the person."""
        done = forked.run(
            words,
            cwd=self.folder,
            env=ENVIRON if environ is None else {**ENVIRON, **environ},
            input=stdin.encode() if isinstance(stdin, str) else stdin,
        )
        said = Said(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())
        told = f"retention {' '.join(words)}\nexit {said.status}\n{said.out}\n{said.err}"
        assert "Traceback" not in said.err + said.out, told
        assert status in (said.status, ANY), told
        return said

    def start(self, *words: str, stdout: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start it and go on."""
        return forked.command(
            words,
            cwd=self.folder,
            env=ENVIRON,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sql(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in one of the project's SQLite files, as a stranger would, and commit."""
        with closing(sqlite3.connect(self.folder / database, timeout=30)) as connection, connection:
            return connection.execute(statement).fetchall()


#: a status that a test does not ask for
ANY = -1

#: plain output of a fixed width, whatever the terminal of whoever runs the tests
ENVIRON = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}


def copied(folder: Path, into: Path) -> Path:
    """A copy of a project that nobody changes. What SQLite keeps beside a file while somebody reads it comes and goes."""
    return Path(shutil.copytree(folder, into / "project", ignore=shutil.ignore_patterns("*.db-*")))


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once in a run of the tests, whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, finished = shared / name, shared / f"{name}.finished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def at() -> Callable[[Path], Retention]:
    """The command in any folder."""
    return lambda folder: Retention(folder=folder)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Retention:
    """The demo's project after the demo, which every test shares: read only. What it printed is in ``said.txt``."""

    def make(folder: Path) -> None:
        said = Retention(folder=folder.parent)("demo", "--into", folder.name)
        (folder / "said.txt").write_text(said.out, encoding="utf-8")

    return Retention(folder=once(tmp_path_factory, "demo", make))


@pytest.fixture
def project(demo: Retention, tmp_path: Path) -> Iterator[Retention]:
    """A copy of the demo's project of the test's own."""
    folder = copied(demo.folder, tmp_path)
    yield Retention(folder=folder)
    shutil.rmtree(folder)  # 45 MB each


@pytest.fixture(scope="module")
def shared(demo: Retention, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retention]:
    """A copy of the demo's project for the tests of one file."""
    folder = copied(demo.folder, tmp_path_factory.mktemp("shared"))
    yield Retention(folder=folder)
    shutil.rmtree(folder)


@pytest.fixture
def deleted(demo: Retention) -> int:
    """The key of a record that the demo archived and deleted."""
    return int(demo.sql("retention.db", "SELECT min(CAST(key_least AS INTEGER)) FROM batch")[0][0])
