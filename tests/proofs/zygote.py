"""Commands in processes of their own, a fork away: everything is imported once, before any thread exists.

Run by `tests/proofs/commands.py` as a script. A line of JSON in (``words``, ``plan``, ``out``), a line out: the process
id; its output and its exit status go to files beside ``out``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path

#: what a command would import first, which takes far longer than what it does
_PRELOADED = (
    "adbc_driver_postgresql.dbapi",
    "adbc_driver_sqlite.dbapi",
    "croniter",
    "pymysql",
    "retention.cli.archive",
    "retention.cli.audit",
    "retention.cli.clean_up",
    "retention.cli.hold",
    "retention.cli.hold_scope",
    "retention.cli.run",
    "retention.config",
    "retention.disposition.restore",
    "retention.ledger.control",
    "retention.sources.mariadb",
    "retention.sources.open",
    "retention.sources.postgresql",
    "retention.sources.sqlite",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
)


def _preload() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)


def _child(order: dict[str, str]) -> None:
    from retention import failpoint
    from retention.cli.main import main
    from retention.disposition import windows

    with Path(order["out"]).open("wb", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    failpoint.arm(order["plan"])
    os.environ.update(order["env"])  # type: ignore[call-overload]
    # batches of so many due records, so that a small table has many
    windows.FIRST_ROWS = windows.MOST_ROWS = int(order["rows"])
    try:
        main(order["words"])  # type: ignore[arg-type]
    except SystemExit as ended:
        sys.stdout.flush()
        if order["witness"]:
            _witness(order["config"], Path(order["out"]))
        os._exit(int(ended.code or 0))


def _witness(config: str, out: Path) -> None:
    """Write down which records there are, now: the command has just returned."""
    from retention.config import load_project
    from retention.sources.open import open_source

    session = open_source(load_project(Path(config)).config.sources["crm"]).session()
    found = [row[0] for row in session.rows("SELECT id FROM activity_logs ORDER BY id")]
    session.close()
    out.with_name(f"{out.name}.seen").write_text(json.dumps(found))


def _tell(out: Path, what: str, number: int) -> None:
    """Whole or not at all: whoever waits for the file must not read half of it."""
    new = out.with_name(f"{out.name}.new")
    new.write_text(str(number))
    new.rename(out.with_name(f"{out.name}.{what}"))


def serve() -> None:
    """Until the input ends: fork for each order, and tell the process id; a reaper writes how each ended."""
    _preload()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        watcher = os.fork()
        if watcher:
            os.waitpid(watcher, 0)
            continue
        # the watcher: its child does the command, and it itself is nobody's zombie
        if os.fork():
            os._exit(0)
        read, write = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(read)
            os.close(write)
            os.setsid()
            _child(order)
        _tell(Path(order["out"]), "started", worker)
        _, status = os.waitpid(worker, 0)
        _tell(Path(order["out"]), "ended", os.waitstatus_to_exitcode(status))
        os._exit(0)


if __name__ == "__main__":
    serve()
