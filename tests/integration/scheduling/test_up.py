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
from retention.scheduling.current import Current
from retention.scheduling.looker import Looker
from retention.scheduling.ticker import Ticker
from retention.scheduling.up import run_up
from retention.watching.read import read_status
from retention.watching.status import Status

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site


def at(site: Site) -> Status:
    """The status by the site's clock, of files as they are."""
    current = Current(site.config)
    current.refresh()
    engine = current.view()
    now = engine.now() + site.ahead
    engine.now = lambda: now  # type: ignore[method-assign]
    seen = read_status(engine)
    current.close()
    return seen


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
    ("database", "control", "step"),
    [
        ("sqlite_url", None, "batch.after-commit"),
        ("postgres_url", None, "batch.after-prepare"),
        ("postgres_url", None, "batch.after-commit"),
        ("mariadb_url", "mariadb_control_url", "batch.after-commit"),
    ],
)
def test_killed_and_started_again_it_goes_on(
    make_site: Callable[..., Site], request: pytest.FixtureRequest, database: str, control: str | None, step: str
) -> None:
    control_url = None if control is None else request.getfixturevalue(control)
    site = make_site(request.getfixturevalue(database), broker="memory://", control=control_url)
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


def test_started_with_a_mistake_it_waits_aloud_and_begins_when_it_is_mended(
    make_site: Callable[..., Site], sqlite_url: str
) -> None:
    site = make_site(sqlite_url, broker="memory://", rows=3_000)
    path = site.folder / "policies" / "odd.yaml"
    good = path.read_text()
    path.write_text(good.replace("then: delete", "then: delet"))
    process = site.start("up")
    site.wait(lambda: "policies.refused" in events(site), "it does not say so")
    site.wait(
        lambda: site.asked("SELECT kind, doing FROM worker") == [("up", "waits until the policy files are mended")],
        "the control database does not say so",
    )
    assert site.asked("SELECT count(*) FROM slot") == [(0,)]
    seen = at(site)
    assert seen.policy_load is not None
    assert (seen.policy_load["ok"], seen.policy_load["in_force"], seen.policy_load["waiting"]) == (False, False, 1)
    [sentence] = [one for one in seen.attention if "no run begins until it is mended" in one]
    assert "policies/odd.yaml:7:7: " in sentence
    path.write_text(good)
    site.wait(site.finished, "the runs did not finish")
    site.check()
    site.wait(lambda: site.asked("SELECT doing FROM worker") == [(None,)], "it still says that it waits")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    refused = next(line for line in site.log("up").splitlines() if "policies.refused" in line)
    assert "policies/odd.yaml:7:7: " in refused and "last good set" not in refused
    assert "Traceback" not in site.log("up")


def test_a_mistake_in_retention_yaml_ends_it_at_the_start(make_site: Callable[..., Site], sqlite_url: str) -> None:
    site = make_site(sqlite_url, broker="memory://", rows=3)
    site.config.write_text(site.config.read_text().replace("sources:", "sourcs:"))
    assert site.start("up").wait(timeout=30) == 2
    assert "retention.yaml:" in site.log("up") and "Traceback" not in site.log("up")
