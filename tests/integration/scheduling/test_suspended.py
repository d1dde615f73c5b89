"""A process that is suspended (SIGSTOP), as by a debugger or a full virtual machine: others go on, and its locks end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from retention.config import SourceConfig
from retention.errors import SourceFailed
from retention.sources.open import open_source
from tests.servers.mariadb import numbers

if TYPE_CHECKING:
    from retention.sources.source import Session
    from tests.integration.scheduling.conftest import Site

#: locks rows and reads them, as a batch does there; then thinks about it for ever
DELETES = """
import sys
from retention.config import SourceConfig
from retention.sources import mariadb, postgresql
from retention.sources.open import open_source

{shorter}
session = open_source(SourceConfig(name="crm", url=sys.argv[1], classes={{}})).session()
session.begin(write=True)
session.arrow(sys.argv[2])
print("read", flush=True)
sys.stdin.readline()
session.commit()
"""
BATCH = {
    "postgresql": "DELETE FROM t WHERE i <= {rows} RETURNING *",
    "mysql": "SELECT * FROM t WHERE i <= {rows} FOR UPDATE",
}
#: what takes minutes takes three seconds
SHORTER = {
    "postgresql": """
for name in ("idle_in_transaction_session_timeout", "tcp_user_timeout"):
    assert postgresql._SETTINGS[name] == "10min"
    postgresql._SETTINGS[name] = "3s"
""",
    "mysql": """
assert mariadb._SETTINGS["net_write_timeout"] == "60"
mariadb._SETTINGS["net_write_timeout"] = "3"
for settings, name in ((mariadb._MARIADB_SETTINGS, "idle_transaction_timeout"), (mariadb._MYSQL_SETTINGS, "wait_timeout")):
    assert settings[name] == "600"
    settings[name] = "3"
""",
}
ROWS = 100_000
#: 100 MB, and 30: more than the sockets between server and client hold
TABLE = {
    "postgresql": f"CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS n FROM generate_series(1, {ROWS}) i",
    "mysql": "CREATE TABLE t (PRIMARY KEY (i)) AS SELECT seq AS i, repeat(left(sha2(seq, 256), 32), 10) AS n"
    f" FROM {numbers(ROWS)}",
}


@pytest.mark.parametrize(("kind", "where"), [(kind, where) for kind in TABLE for where in ("reading", "idle")])
def test_a_suspended_transaction_is_ended_by_the_server(
    request: pytest.FixtureRequest, run_sql: Callable[..., None], kind: str, where: str
) -> None:
    """Whether it was reading its rows, so that the server waits for it, or thinking, so that nobody waits."""
    url = (
        request.getfixturevalue("own_postgres").listen()
        if kind == "postgresql"
        else request.getfixturevalue("mariadb_url")
    )
    run_sql(url, TABLE[kind])
    rows = ROWS if where == "reading" else 10
    process = subprocess.Popen(
        [sys.executable, "-c", DELETES.format(shorter=SHORTER[kind]), url, BATCH[kind].format(rows=rows)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    other = open_source(SourceConfig(name="crm", url=url, classes={})).session()
    try:
        if where == "idle":
            assert process.stdout.readline() == "read\n"
        else:
            wait_for(other, READING[kind])
        os.kill(process.pid, signal.SIGSTOP)
        if where == "reading":
            wait_for(other, WRITING[kind])
        began = time.monotonic()
        other.execute("DELETE FROM t WHERE i = 1")  # waits for the suspended one's lock
        took = time.monotonic() - began
        print(f"\nrecovery | a transaction on {kind} suspended while {where}, timeout 3 s | {took:.1f} s")
        assert other.rows("SELECT count(*) AS n FROM t") == [(ROWS - 1,)], "nothing else was deleted"
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate("commit\n", timeout=20)
        assert process.returncode == 1 and "SourceFailed" in errors, "what comes back commits nothing"
    finally:
        other.close()
        process.kill()
        process.wait()


#: how many sessions are at such a statement, and how many of them wait for the client to read
READING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (DELETE FROM t%' AND state = 'active'",
    "mysql": "SELECT count(*) AS n FROM information_schema.processlist WHERE info LIKE 'SELECT * FROM t %'",
}
WRITING = {
    "postgresql": f"{READING['postgresql']} AND wait_event = 'ClientWrite'",
    "mysql": f"{READING['mysql']} AND state IN ('Writing to net', 'Sending to client')",
}


def wait_for(session: Session, asked: str) -> None:
    deadline = time.monotonic() + 20
    while session.rows(asked) == [(0,)]:
        assert time.monotonic() < deadline, asked
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
