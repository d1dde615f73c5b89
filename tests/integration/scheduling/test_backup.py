"""Backup and restore of the control database as docs/operations.md says: what was archived since is still there."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from retention.disposition import clock
from tests.servers import forked

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site

ROWS = 6_000
DUE = [number for number in range(1, ROWS + 1) if number % 3]


def command(site: Site, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    shown = {**os.environ, **clock.set_by_this_process(site.ahead), **env}
    return forked.run([*words, "--config", str(site.config)], text=True, env=shown)


def killed_at(site: Site, point: str, *words: str) -> None:
    died = command(site, *words, RETENTION_FAILPOINTS=f"{point}=kill@1")
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr


def archived(site: Site) -> list[int]:
    """The ids in all files of the archive, whatever the control database knows."""
    files = sorted(Path(site.folder, "archive").rglob("*.parquet"))
    return sorted(one for path in files for one in pq.read_table(path, columns=["id"])["id"].to_pylist())


def client(program: str, *words: str, database: sa.URL) -> None:
    """A program of MariaDB's own, as docs/operations.md has it."""
    at = ["--protocol=tcp", f"--host={database.host}", f"--port={database.port}", f"--user={database.username}"]
    call = [str(shutil.which(program)), "--no-defaults", *at, *words, str(database.database)]
    subprocess.run(call, check=True, capture_output=True)


def back_up(site: Site) -> None:
    control = sa.make_url(site.control_url)
    if control.drivername == "mysql":
        out = f"--result-file={site.folder / 'backup.sql'}"
        client("mariadb-dump", "--single-transaction", "--hex-blob", out, database=control)
        return
    with sqlite3.connect(site.folder / "retention.db") as connection:
        connection.execute(f"VACUUM INTO '{site.folder / 'backup.db'}'")
    connection.close()


def put_back(site: Site) -> str:
    """The control database as it was backed up; the run that it knows to be under way."""
    control = sa.make_url(site.control_url)
    if control.drivername == "mysql":
        client("mariadb", f"--execute=source {site.folder / 'backup.sql'}", database=control)
    else:
        for name in ("retention.db", "retention.db-wal", "retention.db-shm"):
            (site.folder / name).unlink(missing_ok=True)
        (site.folder / "backup.db").rename(site.folder / "retention.db")
    assert command(site, "control", "upgrade").returncode == 0
    [(run,)] = site.asked("SELECT id FROM run WHERE state = 'running'")
    return str(run)


@pytest.fixture
def site(make_site: Callable[..., Site], crm_url: str, request: pytest.FixtureRequest) -> Site:
    """On MariaDB the control database is there as well."""
    control = request.getfixturevalue("mariadb_control_url") if crm_url.startswith("mysql") else None
    return make_site(crm_url, broker="memory://", rows=ROWS, control=control)


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_control_database_comes_back_from_a_backup_of_the_middle_of_a_run(site: Site, cancelled: bool) -> None:
    killed_at(site, "batch.after-settled", "run", "odd", "--yes")
    back_up(site)
    assert command(site, "run", "--yes").returncode == 0
    assert archived(site) == DUE
    lost, kept = str(site.folder / "lost.jsonl"), str(site.folder / "kept.jsonl")
    assert command(site, "audit", "export", lost).returncode == 0
    run = put_back(site)
    if cancelled:
        assert command(site, "cancel", run, "--reason", "restored").returncode == 0
    for words in (("recover",), ("run", "--yes"), ("run", "--yes")):
        done = command(site, *words)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert archived(site) == DUE, "the only copy of these records"
    told = command(site, "archive", "verify")
    assert told.returncode == 1 and run in told.stdout + told.stderr
    assert command(site, "audit", "verify").returncode == 0
    assert command(site, "audit", "verify", "--against", lost).returncode == 1
    assert command(site, "audit", "export", kept).returncode == 0
    assert "--against" in command(site, "status").stdout
    assert command(site, "audit", "verify", "--against", kept).returncode == 0
    assert "--against" not in command(site, "status").stdout
