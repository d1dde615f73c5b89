"""A process that is suspended (SIGSTOP), as by a debugger or a full virtual machine: others go on, and its locks end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from retention.config import SourceConfig
from retention.errors import SourceFailed
from retention.sources.open import open_source

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import OwnPostgres, Site

#: deletes everything and reads it; then thinks about it for ever. What takes ten minutes takes three seconds
DELETES = """
import sys, time
from retention.config import SourceConfig
from retention.sources import postgresql
from retention.sources.open import open_source

for name in ("idle_in_transaction_session_timeout", "tcp_user_timeout"):
    assert postgresql._SETTINGS[name] == "10min"
    postgresql._SETTINGS[name] = "3s"
session = open_source(SourceConfig(name="crm", url=sys.argv[1], classes={})).session()
session.begin(write=True)
session.arrow("DELETE FROM t WHERE i <= " + sys.argv[2] + " RETURNING *")
print("deleted", flush=True)
sys.stdin.readline()
session.commit()
"""
ROWS = 100_000


@pytest.fixture
def table(own_postgres: OwnPostgres, run_sql: Callable[..., None]) -> str:
    """A table of 100 MB; the URL of its server."""
    url = own_postgres.listen()
    run_sql(url, f"CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS n FROM generate_series(1, {ROWS}) i")
    return url


@pytest.mark.parametrize("where", ["reading", "idle"])
def test_a_suspended_transaction_is_ended_by_the_server(table: str, where: str) -> None:
    """Whether it was reading what it deleted, so that the server waits for it, or thinking, so that nobody waits."""
    rows = ROWS if where == "reading" else 10
    process = subprocess.Popen(
        [sys.executable, "-c", DELETES, table, str(rows)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with psycopg.connect(table, autocommit=True) as connection:
            if where == "idle":
                assert process.stdout.readline() == "deleted\n"
            else:
                wait_for(connection, "state = 'active'")
            os.kill(process.pid, signal.SIGSTOP)
            if where == "reading":
                wait_for(connection, "wait_event = 'ClientWrite'")
            began = time.monotonic()
            connection.execute("SET lock_timeout = '20s'")
            connection.execute("DELETE FROM t WHERE i = 1")  # waits for the suspended one's lock
            print(f"\nrecovery | a transaction suspended while {where}, timeout 3 s | {time.monotonic() - began:.1f} s")
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS - 1,), "nothing else was deleted"
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate("commit\n", timeout=20)
        assert process.returncode == 1 and "SourceFailed" in errors, "what comes back commits nothing"
    finally:
        process.kill()
        process.wait()


def wait_for(connection: Any, condition: str) -> None:
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (DELETE FROM t%' AND {condition}"
    deadline = time.monotonic() + 20
    while connection.execute(asked).fetchone() == (0,):
        assert time.monotonic() < deadline, f"no deletion whose {condition}"
        time.sleep(0.01)


def test_others_do_the_other_shards_meanwhile(sharded: Callable[..., Site]) -> None:
    site = sharded(24_000, 10)
    site.start("beat")
    suspended = site.start("worker", "-c", "1", "-n", "one@%h", RETENTION_FAILPOINTS="batch.before-commit=stop@1")
    site.wait(lambda: bool(site.stopped(suspended)), "no child stopped in the middle of a batch")
    site.start("worker", "-c", "1", "-n", "two@%h")
    left = "SELECT count(*) FROM shard WHERE state <> 'done'"
    took = site.wait(lambda: site.asked(left) == [(1,)], "the other shards were not done")
    print(f"\nrecovery | a worker suspended, 19 other shards done by another | {took:.1f} s")
    [child] = site.stopped(suspended)
    os.kill(child, signal.SIGKILL)
    with site.continued(suspended):
        site.recovered("the suspended worker killed", stated=10)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_server_that_accepts_and_never_answers_is_an_error_soon(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as silent:
        port = silent.getsockname()[1]
        source = open_source(SourceConfig(name="crm", url=f"{kind}://u@127.0.0.1:{port}/d", classes={}))
        began = time.monotonic()
        with pytest.raises(SourceFailed, match="cannot connect"):
            source.session()
        assert 8 < time.monotonic() - began < 30
