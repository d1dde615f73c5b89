"""A source on a fresh database of each dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from retention.config import SourceConfig
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.open import open_source
from retention.sources.source import Session, Source
from retention.sources.sql import Bool


@pytest.fixture
def source(crm_url: str) -> Source:
    """The database as the engine opens it."""
    return open_source(SourceConfig(name="crm", url=crm_url, classes={}))


@pytest.fixture
def postgres(postgres_url: str) -> Source:
    """A PostgreSQL database, for what that alone does."""
    return open_source(SourceConfig(name="crm", url=postgres_url, classes={}))


@pytest.fixture
def mariadb(mariadb_url: str) -> Source:
    """A MariaDB database, for what that alone does."""
    return open_source(SourceConfig(name="crm", url=mariadb_url, classes={}))


@pytest.fixture
def mysql(mysql_url: str) -> Source:
    """A MySQL database, for what that alone does."""
    return open_source(SourceConfig(name="crm", url=mysql_url, classes={}))


@pytest.fixture
def sqlite(sqlite_url: str) -> Source:
    """A SQLite file, for what that alone does."""
    return open_source(SourceConfig(name="crm", url=sqlite_url, classes={}))


@pytest.fixture
def sessions() -> Iterator[Callable[[Source], Session]]:
    """``sessions(source)`` opens one more session; all are closed when the test ends."""
    opened: list[Session] = []

    def open_one(source: Source) -> Session:
        opened.append(source.session())
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()


def keep_keys(session: Session, bound: BoundClass, condition: Bool, rows: int) -> int:
    """Note the keys of the first records that fulfil the condition, as a batch on SQLite and MySQL does."""
    chosen = statements.batch_keys(bound, condition, after=None, rows=rows)
    return session.keep_temporary(statements.BATCH_KEYS, chosen, bound.record_class.key)
