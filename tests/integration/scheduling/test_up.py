"""`retention up`: everything in one process, and the same end as with many."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from retention.disposition import clock
from retention.scheduling import up as module
from retention.scheduling.looker import Looker
from retention.scheduling.ticker import Ticker
from retention.scheduling.up import run_up

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site


def events(site: Site) -> list[str]:
    return [json.loads(line)["event"] for line in site.log("up").splitlines() if line.startswith("{")]


def test_a_slot_fires_in_one_process_and_ctrl_c_ends_it(
    make_site: Callable[..., Site], sqlite_url: str, slot_time: Any
) -> None:
    site = make_site(sqlite_url, broker="memory://", now=slot_time - timedelta(seconds=4))
    process = site.start("up")
    site.wait(site.finished, "the runs did not finish")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    site.check()
    assert events(site)[0] == "up.started" and events(site)[-1] == "up.stopped"
    assert site.asked("SELECT max(late_seconds) FROM slot")[0][0] <= 5
    assert "Traceback" not in site.log("up")


@pytest.mark.parametrize(
    ("database", "step"),
    [
        ("sqlite_url", "batch.after-commit"),
        ("postgres_url", "batch.after-prepare"),
        ("postgres_url", "batch.after-commit"),
    ],
)
def test_killed_and_started_again_it_goes_on(
    make_site: Callable[..., Site], request: pytest.FixtureRequest, database: str, step: str
) -> None:
    site = make_site(request.getfixturevalue(database), broker="memory://")
    first = site.start("up", RETENTION_FAILPOINTS=f"{step}=kill@2")
    assert first.wait(timeout=60) == -signal.SIGKILL
    assert not site.finished()
    second = site.start("up")
    site.wait(site.finished, "the runs did not finish")
    site.check()
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(timeout=20) == 0


def test_a_thread_that_dies_is_started_again(
    make_site: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(sqlite_url, broker="memory://", rows=3000)
    for name, value in clock.set_by_this_process(site.ahead).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "SUPERVISE", 0.05)
    died = {"beat": False, "worker": False}

    def once(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any) -> Any:
            if not died[name]:
                died[name] = True
                raise ValueError(f"the {name} dies")
            return real(self)

        return call

    monkeypatch.setattr(Ticker, "tick", once("beat", Ticker.tick))
    monkeypatch.setattr(Looker, "look", once("worker", Looker.look))
    stop = threading.Event()
    with capture_logs() as logs:
        thread = threading.Thread(target=run_up, args=(site.config,), kwargs={"workers": 1, "stop": stop})
        thread.start()
        site.wait(lambda: all(died.values()), "no thread died")
        site.wait(lambda: sum(line["event"] == "thread.restarted" for line in logs) == 2, "not started again")
        stop.set()
        thread.join()
    assert {line["thread"] for line in logs if line["event"] == "thread.failed"} == {"beat", "worker 1"}


def test_bad_policies_end_it_at_the_start_with_every_mistake(make_site: Callable[..., Site], sqlite_url: str) -> None:
    site = make_site(sqlite_url, broker="memory://", rows=3)
    (site.folder / "policies" / "odd.yaml").write_text("policy: odd\n")
    assert site.start("up").wait(timeout=30) == 2
    assert "odd.yaml:1" in site.log("up") and "Traceback" not in site.log("up")
