"""Backup and restore of the control database as docs/operations.md says: what was archived since is still there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from retention.disposition import clock

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site

ROWS = 6_000


def command(site: Site, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "retention", *words, "--config", str(site.config)]
    shown = {**os.environ, **clock.set_by_this_process(site.ahead), **env}
    return subprocess.run(call, capture_output=True, text=True, env=shown, check=False)


def archived(site: Site) -> list[int]:
    """The ids in all files of the archive, whatever the control database knows."""
    files = sorted(Path(site.folder, "archive").rglob("*.parquet"))
    return sorted(one for path in files for one in pq.read_table(path, columns=["id"])["id"].to_pylist())


@pytest.fixture
def site(make_site: Callable[..., Site], sqlite_url: str) -> Site:
    return make_site(sqlite_url, broker="memory://", rows=ROWS)


def test_the_control_database_comes_back_from_a_backup_of_the_middle_of_a_run(site: Site) -> None:
    due = [number for number in range(1, ROWS + 1) if number % 3]
    killed = command(site, "run", "odd", "--yes", RETENTION_FAILPOINTS="batch.after-settled=kill@1")
    assert killed.returncode == -signal.SIGKILL
    control, backup = site.folder / "retention.db", site.folder / "backup.db"
    with sqlite3.connect(control) as connection:
        connection.execute(f"VACUUM INTO '{backup}'")
    connection.close()
    assert command(site, "run", "--yes").returncode == 0
    assert archived(site) == due
    for name in ("retention.db", "retention.db-wal", "retention.db-shm"):
        (site.folder / name).unlink(missing_ok=True)
    backup.rename(control)
    assert command(site, "control", "upgrade").returncode == 0
    [(run,)] = site.asked("SELECT id FROM run WHERE state = 'running'")
    assert command(site, "cancel", run, "--reason", "restored").returncode == 0
    assert command(site, "run", "--yes").returncode == 0
    assert archived(site) == due, "the only copy of these records"
    told = command(site, "archive", "verify")
    assert told.returncode == 1 and run in told.stdout + told.stderr
    assert command(site, "audit", "verify").returncode == 0
