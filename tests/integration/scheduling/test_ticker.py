"""Ticks and reconciliations: files that change, databases and brokers that are away, workers that are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from retention.disposition import clock
from retention.errors import Failed
from retention.ledger import observations, policy_loads, workers
from retention.ledger.control import Control
from retention.ledger.observations import EVERYTHING, Observation
from retention.ledger.owner import this_process
from retention.scheduling.current import Current
from retention.scheduling.reconcile import BUSY, IDLE, Reconciler
from retention.scheduling.ticker import INTERVAL, Ticker

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site


class Beat:
    """A ticker whose looks are written down; its reconciler runs when the test says so."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sent: list[int] = []
        self.current = Current(site.config)
        self.reconciler = Reconciler(self.current, kind="beat", send=self.sent.append)
        self.reconciler.ensure_running = lambda: None  # type: ignore[method-assign]
        self.ticker = Ticker(self.current, self.reconciler)


@pytest.fixture
def site(make_site: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = make_site(sqlite_url, broker="memory://", rows=300)
    for name, value in clock.set_by_this_process(made.ahead).items():
        monkeypatch.setenv(name, value)
    with (
        Control.open(made.control_url) as control,
        control.write() as connection,
    ):  # today's was done: it would wait, too
        observations.record(connection, Observation(kind="survey", target=EVERYTHING, at=clock.now(), facts={}))
    return made


@pytest.fixture
def beat(site: Site) -> Iterator[Beat]:
    made = Beat(site)
    yield made
    made.ticker.close()
    made.current.close()


def slots(site: Site) -> list[tuple[Any, ...]]:
    return site.asked("SELECT policy, state FROM slot ORDER BY policy")


def loads(site: Site) -> dict[Any, policy_loads.PolicyLoad]:
    with Control.open(site.control_url) as control, control.read() as connection:
        return policy_loads.read(connection)


def test_a_tick_opens_what_is_due_and_says_when_to_come_back(beat: Beat) -> None:
    with capture_logs() as logs:
        assert 0 < beat.ticker.tick() <= INTERVAL
    assert slots(beat.site) == [("even", "due"), ("odd", "due")]
    late = [line for line in logs if line["event"] == "slot.due"]
    assert [(line["log_level"], line["slot"]) for line in late] == [
        ("warning", "even@2027-01-01T02:00"),
        ("warning", "odd@2027-01-01T02:00"),
    ]
    assert all(line["late_seconds"] >= 59 for line in late)


def test_each_policy_that_a_clock_ahead_has_seen_is_said(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    beat.ticker.tick()
    for name, value in clock.set_by_this_process(beat.site.ahead - timedelta(days=5)).items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        beat.ticker.tick()
        beat.ticker.tick()
    assert sorted(line["policy"] for line in logs if line["event"] == "clock.behind") == ["even", "odd"]


def test_reconciling_sends_one_look_an_item_and_a_worker(beat: Beat) -> None:
    beat.ticker.tick()
    assert beat.reconciler.reconcile() == BUSY
    assert beat.sent == [1], "no worker is known yet, and one may be there"
    with Control.open(beat.site.control_url) as control, control.write() as connection:
        workers.seen(connection, name="elsewhere:1:1", kind="worker", doing=None, at=clock.now())
        workers.seen(connection, name="elsewhere:2:1", kind="worker", doing=None, at=clock.now())
        workers.seen(connection, name="elsewhere:3:1", kind="worker", doing=None, at=clock.now())
    beat.reconciler.reconcile()
    assert beat.sent == [1, 2], "two slots wait"


def test_nothing_to_do_is_nothing_sent(beat: Beat) -> None:
    beat.current.refresh()
    assert beat.reconciler.reconcile() == IDLE
    assert beat.sent == []


def test_a_beat_is_known_by_its_row(beat: Beat) -> None:
    beat.current.refresh()
    beat.reconciler.reconcile()
    beat.reconciler.reconcile()
    assert beat.site.asked("SELECT name, kind FROM worker") == [(this_process(), "beat")]


def test_a_new_worker_takes_the_row_of_a_dead_one(site: Site) -> None:
    now = clock.now()
    with Control.open(site.control_url) as control:
        with control.write() as connection:
            workers.seen(connection, name="elsewhere:1:1", kind="worker", doing=None, at=now - timedelta(minutes=3))
            workers.seen(connection, name="elsewhere:2:1", kind="worker", doing=None, at=now)
            workers.seen(connection, name="elsewhere:3:1", kind="beat", doing="ticking", at=now)
        with control.read() as connection:
            known = workers.known(connection)
    assert [(one.name, one.kind, one.started_at == now) for one in known] == [
        ("elsewhere:2:1", "worker", True),
        ("elsewhere:3:1", "beat", True),
    ]


def test_a_mistake_keeps_the_last_good_set_and_is_told(beat: Beat) -> None:
    beat.ticker.tick()
    path = beat.site.folder / "policies" / "odd.yaml"
    good = path.read_text()
    path.write_text(good.replace("then: delete", "then: delet"))
    with capture_logs() as logs:
        beat.ticker.tick()
        beat.ticker.tick()
    refused = [line for line in logs if line["event"] == "policies.refused"]
    assert len(refused) == 1, "once a minute, not with every tick"
    assert refused[0]["log_level"] == "error" and "odd.yaml:7" in refused[0]["message"]
    assert len(beat.current.project.policies.policies) == 2
    told = loads(beat.site)
    assert told["bad"].at > told["good"].at and "odd.yaml:7" in str(told["bad"].message)
    path.write_text(good)
    beat.ticker.tick()
    told = loads(beat.site)
    assert told["good"].at > told["bad"].at
    assert told["good"].set_digest == beat.current.project.policies.digest


def test_a_mistake_from_the_start_opens_nothing_until_it_is_mended(beat: Beat) -> None:
    path = beat.site.folder / "policies" / "odd.yaml"
    good = path.read_text()
    path.write_text("policy: odd\n")
    assert beat.ticker.tick() == INTERVAL
    assert slots(beat.site) == [] and loads(beat.site)["bad"].message is not None
    path.write_text(good)
    beat.ticker.tick()
    assert slots(beat.site) == [("even", "due"), ("odd", "due")]


def test_a_new_policy_begins_when_it_is_first_seen(beat: Beat) -> None:
    beat.ticker.tick()
    text = (beat.site.folder / "policies" / "odd.yaml").read_text()
    (beat.site.folder / "policies" / "more.yaml").write_text(text.replace("policy: odd", "policy: more"))
    beat.ticker.tick()
    assert [name for name, _ in slots(beat.site)] == ["even", "odd"]
    assert beat.site.asked("SELECT count(*) FROM schedule WHERE policy = 'more'") == [(1,)]


def test_a_tick_never_raises_and_goes_on(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (Failed("the disk is full"), ValueError("a mistake of ours")):
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr("retention.scheduling.ticker.open_slots", _raising(error))
            assert beat.ticker.tick() == INTERVAL
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["beat.failed"]
    beat.ticker.tick()
    assert slots(beat.site) == [("even", "due"), ("odd", "due")]


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def test_a_broker_that_hangs_keeps_no_slot_from_opening(site: Site) -> None:
    current = Current(site.config)
    reconciler = Reconciler(current, kind="beat", send=lambda looks: time.sleep(5))
    ticker = Ticker(current, reconciler)
    began = time.monotonic()
    ticker.tick()
    ticker.tick()
    assert time.monotonic() - began < 4
    assert slots(site) == [("even", "due"), ("odd", "due")]
    ticker.close()
    time.sleep(2.5)  # the thread that hangs ends before its control database is closed
    current.close()


def test_a_reconciler_that_died_is_started_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    current = Current(site.config)
    reconciler = Reconciler(current, kind="beat", send=lambda looks: None)
    with monkeypatch.context() as patch:
        patch.setattr(Reconciler, "_run", lambda self: None)
        reconciler.ensure_running()
        time.sleep(0.2)
    current.refresh()
    with capture_logs() as logs:
        reconciler.ensure_running()
    assert [line["event"] for line in logs][:1] == ["thread.restarted"]
    site.wait(lambda: site.asked("SELECT kind FROM worker") == [("beat",)], "it does not reconcile", 10)
    reconciler.stop()
    current.close()


def test_a_failed_send_is_logged_and_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retention.scheduling.reconcile.BUSY", 0.1)
    current = Current(site.config)
    sent: list[int] = []

    def send(looks: int) -> None:
        sent.append(looks)
        if len(sent) < 3:
            raise Failed("the broker is away")

    reconciler = Reconciler(current, kind="beat", send=send)
    ticker = Ticker(current, reconciler)
    with capture_logs() as logs:
        ticker.tick()
        site.wait(lambda: len(sent) >= 3, "it gave up", 10)
    assert [line["message"] for line in logs if line["event"] == "reconcile.failed"] == ["the broker is away"] * 2
    ticker.close()
    current.close()


def test_what_a_policy_load_says_is_replaced_by_the_next(site: Site) -> None:
    with Control.open(site.control_url) as control:
        for digest in ("a", "b"):
            load = policy_loads.PolicyLoad(outcome="good", at=clock.now(), set_digest=digest, message=None)
            with control.write() as connection:
                policy_loads.record(connection, load)
        with control.read() as connection:
            assert connection.execute(sa.text("SELECT outcome, set_digest FROM policy_load")).all() == [("good", "b")]
