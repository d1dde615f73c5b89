"""Real workers, beats and brokers, each killed in its turn: what is left is what an undisturbed run leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Broker, Site

#: as pip has it, and as Debian has it
BOTH = pytest.mark.parametrize("broker", ["valkey", "redis"], indirect=True)
#: and on each pair of databases
EACH = pytest.mark.parametrize(
    ("broker", "databases"),
    [("valkey", "postgresql"), ("redis", "postgresql"), ("valkey", "mysql")],
    indirect=True,
)
#: a process stops itself (SIGSTOP) in the middle of its second batch
IN_THE_MIDDLE = {"RETENTION_FAILPOINTS": "batch.before-commit=stop@2"}
#: and one that has planned a slot's run and not written it down
PLANNED = "slot.planned=stop"


@EACH
def test_a_slot_fires_through_beat_broker_and_two_workers(
    make_site: Callable[..., Site], databases: dict[str, Any], broker: Broker, slot_time: Any
) -> None:
    """For real: the policies are first seen before the slot, and the clock runs on until it comes."""
    site = make_site(**databases, broker=broker.url, now=slot_time - timedelta(seconds=10))
    site.start("beat")
    for name in ("one", "two"):
        site.start("worker", "-c", "1", "-n", f"{name}@%h")
    site.recovered("nothing", stated=30)
    assert site.asked("SELECT max(late_seconds) FROM slot")[0][0] <= 5
    lines = [json.loads(line) for line in site.log("beat").splitlines() if line.startswith("{")]
    assert {line["slot"] for line in lines if line["event"] == "slot.due"} == {
        "even@2027-01-01T02:00",
        "odd@2027-01-01T02:00",
    }


def test_two_beats_make_one_run(site: Site) -> None:
    for _ in range(2):
        site.start("beat")
    site.start("worker", "-c", "2")
    site.recovered("two beats", stated=10)
    assert not list(Path(__file__).parents[3].glob("celerybeat*")), "a beat keeps no file"


@EACH
def test_a_killed_worker_s_work_goes_on(
    make_site: Callable[..., Site], databases: dict[str, Any], broker: Broker
) -> None:
    """The worker and its children die in the middle of a batch, and another worker is started."""
    site = make_site(**databases, broker=broker.url)
    site.start("beat")
    first = site.start("worker", "-c", "2", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(first)), "no worker stopped in the middle of a batch")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not site.finished()
    site.start("worker", "-c", "2")
    site.recovered("a worker and its children killed, another started", stated=10)


@BOTH
def test_a_killed_child_s_work_goes_on(site: Site) -> None:
    site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    [child] = site.stopped(worker)
    os.kill(child, signal.SIGKILL)
    with site.continued(worker):
        site.recovered("a worker's child killed", stated=10)
    assert worker.poll() is None


def test_sigterm_ends_a_worker_after_the_batch_in_hand(site: Site) -> None:
    site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    [child] = site.stopped(worker)
    before = site.committed()
    worker.terminate()
    site.wait(lambda: "Warm shutdown" in site.log("worker"), "the worker did not hear SIGTERM")
    time.sleep(0.5)
    os.kill(child, signal.SIGCONT)
    assert worker.wait(timeout=20) == 0
    assert before < site.committed() <= before + 2, "the batches in flight, and no more"
    assert not site.finished()
    assert site.asked("SELECT count(*) FROM batch WHERE state = 'prepared'") == [(0,)]
    site.start("worker", "-c", "1")
    site.recovered("a worker ended by SIGTERM, another started", stated=10)


@pytest.mark.parametrize(
    ("signals", "setting"),
    [((signal.SIGQUIT,), "0"), ((signal.SIGQUIT,), "3"), ((signal.SIGTERM, signal.SIGQUIT), "0")],
    ids=["cold", "soft", "impatient"],
)
def test_a_worker_that_may_not_end_its_batch_loses_nothing(
    site: Site, signals: tuple[signal.Signals, ...], setting: str
) -> None:
    """SIGQUIT is Celery's cold shutdown, or its soft one where that is configured; a supervisor, or a person at Ctrl-C, may
    also lose patience with a warm one."""
    site.start("beat")
    worker = site.start("worker", "-c", "1", "--", f"worker.soft_shutdown_timeout={setting}", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    for one in signals:
        worker.send_signal(one)
        time.sleep(1)
    with site.continued(worker):
        worker.wait(timeout=40)
    assert not site.finished()
    site.start("worker", "-c", "1")
    site.recovered("a worker ended by SIGQUIT, another started", stated=10)


@BOTH
@pytest.mark.parametrize("durable", [True, False], ids=["persistent", "empty"])
def test_redis_is_killed_and_comes_back(site: Site, broker: Broker, durable: bool) -> None:
    broker.kill()
    broker.start(durable=durable)
    site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    broker.kill()
    with site.continued(worker):
        time.sleep(3)
        broker.start(durable=durable)
        site.recovered(f"Redis killed and back {'with' if durable else 'without'} its data", stated=60)
    assert worker.poll() is None, "the worker died with Redis"


@BOTH
def test_a_flushed_redis_loses_nothing(site: Site, broker: Broker) -> None:
    site.start("beat")
    site.wait(lambda: site.asked("SELECT count(*) FROM slot") == [(2,)], "no slot was opened")
    time.sleep(1)
    broker.flush()
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "nobody looked")
    broker.flush()
    with site.continued(worker):
        site.recovered("FLUSHALL", stated=10)


class Silent:
    """A broker that accepts connections and never answers."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=100)
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for one in (*self.taken, self.listener):
            one.close()


@BOTH
def test_a_broker_that_never_answers_keeps_no_slot_from_opening(site: Site, broker: Broker) -> None:
    broker.kill()
    silent = Silent(broker.port)
    site.start("beat")
    worker = site.start("worker", "-c", "1")
    opened = lambda: site.asked("SELECT count(*) FROM slot WHERE state = 'due'") == [(2,)]  # noqa: E731
    assert site.wait(opened, "no slot was opened") < 10
    site.wait(lambda: bool(silent.taken), "nobody asked the broker")
    time.sleep(2)
    silent.close()
    broker.start()
    site.recovered("a broker that never answered, which answers", stated=60)
    assert worker.poll() is None


@pytest.mark.parametrize(
    ("server", "which"),
    [("own_postgres", "control"), ("own_postgres", "source"), ("own_postgres", "both"), ("own_mariadb", "both")],
)
def test_a_database_is_restarted(
    make_site: Callable[..., Site],
    sqlite_url: str,
    broker: Broker,
    request: pytest.FixtureRequest,
    server: str,
    which: str,
) -> None:
    """A real server is stopped in the middle of a batch, and is away for three seconds."""
    own = request.getfixturevalue(server)
    url = sqlite_url if which == "control" else own.url
    site = make_site(url, broker=broker.url, control=None if which == "source" else own.control_url)
    beat = site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    own.stop()
    with site.continued(worker):
        time.sleep(3)
        own.start()
        site.recovered(f"{server.removeprefix('own_')} restarted: {which}", stated=60)
    assert beat.poll() is None and worker.poll() is None


def test_a_plan_that_the_time_limit_ended_is_made_by_the_next_worker(site: Site, broker: Broker) -> None:
    """Six hours are the limit, here four seconds: who is ended by it has lost nothing. A message carries its sender's limits."""
    limits = "from retention.scheduling.app import SETTINGS; SETTINGS.update(task_soft_time_limit=2, task_time_limit=4)"
    beat = site.start("beat", first=limits)
    limited = site.start("worker", "-c", "1", first=limits, RETENTION_FAILPOINTS=PLANNED)
    site.wait(lambda: bool(site.stopped(limited)), "nobody planned")
    site.wait(lambda: "Hard time limit" in site.log("worker"), "the limit ended nothing")
    for process in (beat, limited):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    broker.flush()
    assert site.asked("SELECT count(*) FROM run") == [(0,)]
    site.start("beat")
    site.start("worker", "-c", "1")
    site.recovered("a plan ended by the time limit", stated=30)
