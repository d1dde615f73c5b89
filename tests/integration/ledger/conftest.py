"""A control database: as an SQLite file, in a real PostgreSQL, in a real MariaDB and in a real MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from retention.ledger.control import Control


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "mysql"])
def control_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a control database may be made; nothing is there yet, unless the test asks for `control` too."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'control.db'}"
    ready = "control" in request.fixturenames
    kind = "postgres" if request.param == "postgresql" else f"{request.param}_control" if ready else request.param
    url: str = request.getfixturevalue(f"{kind}_url")
    return url


@pytest.fixture
def control(control_url: str) -> Iterator[Control]:
    """A fresh control database."""
    Control.upgrade(control_url)
    with Control.open(control_url) as control:
        yield control


def quoted(connection: sa.Connection, statement: str) -> str:
    """The statement with names in ``backticks`` as the database quotes them."""
    return statement.replace("`", connection.dialect.identifier_preparer.initial_quote)
