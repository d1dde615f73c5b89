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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site, Valkey

#: a process stops itself (SIGSTOP) in the middle of its second batch
IN_THE_MIDDLE = {"RETENTION_FAILPOINTS": "batch.before-commit=stop@2"}


def ended(site: Site, seconds: float = 60) -> float:
    took = site.wait(site.finished, "the runs did not finish", seconds)
    site.check()
    return took


def test_a_slot_fires_through_beat_broker_and_two_workers(
    make_site: Callable[..., Site], postgres_url: str, valkey: Valkey, slot_time: Any
) -> None:
    """For real: the policies are first seen before the slot, and the clock runs on until it comes."""
    site = make_site(postgres_url, broker=valkey.url, now=slot_time - timedelta(seconds=10))
    site.start("beat")
    for name in ("one", "two"):
        site.start("worker", "-c", "1", "-n", f"{name}@%h")
    ended(site)
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
    ended(site)


def test_a_killed_worker_s_work_goes_on(site: Site) -> None:
    """The worker and its children die in the middle of a batch, and another worker is started."""
    site.start("beat")
    first = site.start("worker", "-c", "2", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(first)), "no worker stopped in the middle of a batch")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not site.finished()
    site.start("worker", "-c", "2")
    assert ended(site) < 45


def test_a_killed_child_s_work_goes_on(site: Site) -> None:
    site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    [child] = site.stopped(worker)
    os.kill(child, signal.SIGKILL)
    with site.continued(worker):
        assert ended(site) < 45
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
    ended(site)


@pytest.mark.parametrize("durable", [True, False], ids=["persistent", "empty"])
def test_redis_is_killed_and_comes_back(site: Site, valkey: Valkey, durable: bool) -> None:
    valkey.kill()
    valkey.start(durable=durable)
    site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    valkey.kill()
    with site.continued(worker):
        time.sleep(3)
        valkey.start(durable=durable)
        assert ended(site) < 60
    assert worker.poll() is None, "the worker died with Redis"


def test_a_flushed_redis_loses_nothing(site: Site, valkey: Valkey) -> None:
    site.start("beat")
    site.wait(lambda: site.asked("SELECT count(*) FROM slot") == [(2,)], "no slot was opened")
    time.sleep(1)
    valkey.flush()
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "nobody looked")
    valkey.flush()
    with site.continued(worker):
        assert ended(site) < 60


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


def test_a_broker_that_never_answers_keeps_no_slot_from_opening(site: Site, valkey: Valkey) -> None:
    valkey.kill()
    silent = Silent(valkey.port)
    site.start("beat")
    worker = site.start("worker", "-c", "1")
    opened = lambda: site.asked("SELECT count(*) FROM slot WHERE state = 'due'") == [(2,)]  # noqa: E731
    assert site.wait(opened, "no slot was opened") < 10
    site.wait(lambda: bool(silent.taken), "nobody asked the broker")
    time.sleep(2)
    silent.close()
    valkey.start()
    assert ended(site) < 60
    assert worker.poll() is None


def test_the_control_database_is_restarted(
    make_site: Callable[..., Site], sqlite_url: str, valkey: Valkey, own_postgres: Any
) -> None:
    site = make_site(sqlite_url, broker=valkey.url, control=own_postgres.url)
    beat = site.start("beat")
    worker = site.start("worker", "-c", "1", **IN_THE_MIDDLE)
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    own_postgres.stop()
    with site.continued(worker):
        time.sleep(3)
        own_postgres.start()
        assert ended(site) < 60
    assert beat.poll() is None and worker.poll() is None
