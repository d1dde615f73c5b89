"""The main job with its control database in MariaDB: a whole life of records, crashes at every step, a server that ends."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retention.disposition import destroy, holding, restore
from retention.disposition.recover import recover
from retention.errors import ControlFailed
from retention.holds.scope import Keys
from retention.ledger.control import Control
from tests.servers import mysql
from tests.servers.mariadb import MariadbServer

ROWS = 600


@pytest.fixture
def site_control(mariadb_control_url: str) -> str:
    return mariadb_control_url


def test_plan_hold_run_restore_and_destroy(any_site: Any) -> None:
    any_site.fill(ROWS)
    before, everything = any_site.ids(), any_site.everything()
    due = any_site.due_ids(ROWS)
    held = holding.place(
        any_site.engine(), matter="M-1", reason="court", scope=Keys(records="crm.activities", count=1), keys=["15"]
    )
    assert any_site.run().deleted == len(due) - 1
    assert before - any_site.ids() == due - {15}
    assert any_site.findings() == []
    choice = restore.choose(any_site.engine(), run=None, keys=["30"], where=(), address=None)
    restore.restore(any_site.engine(), choice, reason="asked for")
    assert before - any_site.ids() == due - {15, 30}
    holding.release(any_site.engine(), held.hold.id, reason="settled")
    [(run,)] = any_site.asked("SELECT DISTINCT run_id FROM batch WHERE state = 'committed'")
    choice = restore.choose(any_site.engine(), run=run, keys=(), where=(), address=None)
    restore.restore(any_site.engine(), choice, reason="to compare")
    assert any_site.everything() == everything
    with any_site.at(datetime(2035, 1, 1, tzinfo=UTC)):
        engine = any_site.engine()
        for plan in destroy.plan_destruction(engine, ("cold",)):
            destroy.destroy(engine, plan)
    assert any_site.findings() == []


@pytest.mark.parametrize(
    "when", ["batch.after-prepare", "batch.after-commit", "control.begun", "control.before-commit"]
)
def test_killed_and_recovered(plain_site: Any, when: str) -> None:
    plain_site.fill(ROWS)
    due = plain_site.due_ids(ROWS)
    words = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")
    killed = plain_site.cli(*words, env={"RETENTION_FAILPOINTS": f"{when}=kill@1"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    recover(plain_site.engine())
    done = plain_site.cli(*words)
    assert done.returncode == 0, done.stderr
    assert set(range(1, ROWS + 1)) - plain_site.ids() == due
    assert plain_site.archived() == Counter(due)
    assert plain_site.findings() == []


@pytest.fixture
def own_server(tmp_path: Path, mysql_kind: str) -> Iterator[MariadbServer]:
    server = mysql.new(mysql_kind, tmp_path / mysql_kind)
    server.start()
    yield server
    server.remove()


@pytest.mark.parametrize("when", ["batch.after-prepare", "batch.after-commit", "control.before-commit"])
def test_the_server_of_the_control_database_ends_in_the_middle(
    sqlite_site: Any, own_server: MariadbServer, when: str
) -> None:
    with own_server.connect() as connection:
        connection.cursor().execute("CREATE DATABASE control")
    url = own_server.url("control")
    Control.upgrade(url)
    old = next(line for line in sqlite_site.config.read_text().splitlines() if line.startswith("control:"))
    sqlite_site.config.write_text(sqlite_site.config.read_text().replace(old, f"control: {url}"))
    sqlite_site.fill(ROWS)
    due = sqlite_site.due_ids(ROWS)
    words = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")
    stopped = sqlite_site.start_and_stop_at(when, *words)
    own_server.end(signal.SIGKILL)
    stopped.send_signal(signal.SIGCONT)
    _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 1 and "Traceback" not in said and "the control database" in said, said
    with pytest.raises(ControlFailed):
        recover(sqlite_site.engine())
    own_server.start()
    recover(sqlite_site.engine())
    done = sqlite_site.cli(*words)
    assert done.returncode == 0, done.stderr
    assert set(range(1, ROWS + 1)) - sqlite_site.ids() == due
    assert sqlite_site.archived() == Counter(due)
    assert sqlite_site.findings() == []
