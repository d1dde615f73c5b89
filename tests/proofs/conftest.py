"""The sites of the proofs: one small project on each database, and commands in processes of their own.

A new dialect joins by its parameter in `crm_url` (tests/conftest.py) and its tables in `TABLES` and `FILL` of the
disposition's conftest, and its large values in `LARGE` (test_environment.py): every proof then runs on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from retention import failpoint
from tests.integration.disposition.conftest import (
    Site,
    any_site,
    mariadb_site,
    plain_site,
    server_site,
    site,
    site_control,
    sqlite_site,
)
from tests.proofs.cases import fresh
from tests.proofs.commands import Commands

__all__ = ["any_site", "mariadb_site", "plain_site", "server_site", "site", "site_control", "sqlite_site"]


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """`retention` in processes of its own, a fork away."""
    with Commands() as opened:
        yield opened


@pytest.fixture
def disarmed() -> Iterator[None]:
    """No failpoint is left armed in this process, whatever happens."""
    yield
    failpoint.arm("")


@pytest.fixture
def case(site: Site) -> Callable[[], Site]:
    """A fresh project each time that it is called, with comments as dependents, on the test's database."""
    return lambda: fresh(site)


@pytest.fixture
def plain_case(plain_site: Site) -> Callable[[], Site]:
    """A fresh project each time that it is called, without dependents, on the test's database."""
    return lambda: fresh(plain_site)
