"""`python -m retention` in processes of its own, each a fork of one that has imported everything: it saves most of a second.

`command(words)` is a `subprocess.Popen` of `retention WORDS` in every respect but how its process begins, and
`run(words)` the like of `subprocess.run`. Run as a script, this file is the process that forks: it imports before any thread
exists, and for each order (three file descriptors, then JSON) forks a child that is handed over to whoever ordered it.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from retention import failpoint
from retention.cli import main

ROOT = Path(__file__).parents[2]

#: what commands import first, which takes far longer than what they do
_PRELOADED = (
    "adbc_driver_postgresql.dbapi",
    "adbc_driver_sqlite.dbapi",
    "alembic.command",
    "alembic.config",
    "click",
    "croniter",
    "psycopg",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pymysql",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "yaml",
    "retention.cli",
)

#: prctl(2): orphans below this process become its own children
_PR_SET_CHILD_SUBREAPER = 36
_HEADER = 8


@functools.cache
def _zygote(pid: int) -> socket.socket:
    """The line to the process that forks for the process ``pid``, which is this one; it ends when the line does."""
    ours, its = socket.socketpair()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with its:
        words = [sys.executable, "-m", "tests.servers.forked", str(its.fileno())]
        process = subprocess.Popen(words, pass_fds=[its.fileno()], env=environ, cwd=ROOT)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class _Forked(subprocess.Popen[Any]):
    """How the process begins is all that differs."""

    def __init__(self, words: Sequence[str], begin: str, **given: Any) -> None:
        self._begin = begin
        super().__init__(words, **given)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        cwd, env, (p2cread, _, _, c2pwrite, _, errwrite) = rest[4], rest[5], rest[9:15]
        order = json.dumps({
            "words": [os.fspath(word) for word in args],
            "begin": self._begin,
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }).encode()  # fmt: skip
        files = [mine if given == -1 else given for mine, given in enumerate((p2cread, c2pwrite, errwrite))]
        line = _zygote(os.getpid())
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
            line.sendmsg([len(order).to_bytes(_HEADER, "big")], rights)
            line.sendall(order)
            self.pid = int.from_bytes(line.recv(_HEADER, socket.MSG_WAITALL), "big")
        finally:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)
        assert self.pid > 0, "the process that forks has ended"
        self._child_created = True
        self._close_pipe_fds(*rest[9:15])  # type: ignore[attr-defined]


def command(words: Sequence[str], *, begin: Callable[[], None] = main, **given: Any) -> subprocess.Popen[Any]:
    """Start `python -m retention WORDS`; the rest as `subprocess.Popen` takes it (files, cwd, env, text). ``begin`` is a
    function of a module to be called there instead of the command line."""
    return _Forked(words, f"{begin.__module__}:{begin.__name__}", **given)


def alone() -> None:
    """`retention WORDS` with one batch at a time. A process that is suspended at a step of one while another thread of it writes
    to the control database keeps that locked for as long."""
    from retention.sources.postgresql import PostgresqlSource

    PostgresqlSource.in_flight = 1
    main()


def run(
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: Any = None,
    text: bool = False,
    timeout: float = 120,
) -> subprocess.CompletedProcess[Any]:
    """Run `python -m retention WORDS` to its end, and take what it printed."""
    read = None if input is None else subprocess.PIPE
    with command(
        words, cwd=cwd, env=env, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text
    ) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _begin(order: dict[str, Any], files: Sequence[int]) -> None:
    """In the child: what the kernel and Python would have made of a new process."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["retention", *order["words"]]
    encoding = os.environ.get("PYTHONIOENCODING")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False, buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, closefd=False, buffering=1, errors="backslashreplace")
    failpoint.arm(os.environ.get("RETENTION_FAILPOINTS", ""))


def _serve(line: socket.socket) -> str:
    """Until the line ends, fork for each order. Returns in each child, with what is to be called."""
    while True:
        header, rights, _, _ = line.recvmsg(_HEADER, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not header:
            sys.exit(0)
        files = array.array("i")
        files.frombytes(rights[0][2])
        size, order = int.from_bytes(header, "big"), bytearray()
        while len(order) < size:
            order += line.recv(size - len(order))
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                os.close(told)
                os.close(tell)
                line.close()
                wanted = json.loads(order)
                _begin(wanted, files)
                return str(wanted["begin"])
            os.write(tell, child.to_bytes(_HEADER, "big"))
            os._exit(0)
        os.waitpid(between, 0)  # from now on the child is one of whoever ordered it
        for file in (*files, tell):
            os.close(file)
        line.sendall(os.read(told, _HEADER))
        os.close(told)


if __name__ == "__main__":
    for name in _PRELOADED:
        importlib.import_module(name)
    for path in sorted((ROOT / "retention").glob("cli/*.py")):
        importlib.import_module(f"retention.cli.{path.stem}")
    gc.freeze()  # so that a child does not copy what it only looks at
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, function = _serve(socket.socket(fileno=int(sys.argv[1]))).partition(":")
    getattr(importlib.import_module(module), function)()
