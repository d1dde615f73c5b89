"""A control database, once as an SQLite file and once in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retention.ledger.control import Control


@pytest.fixture(params=["sqlite", "postgresql"])
def control_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a control database may be made; nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'control.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def control(control_url: str) -> Iterator[Control]:
    """A fresh control database."""
    Control.upgrade(control_url)
    with Control.open(control_url) as control:
        yield control
