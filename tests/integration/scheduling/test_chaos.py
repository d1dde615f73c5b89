"""Eighty shards (or two hundred), four workers, and somebody who kills them at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from retention.disposition import clock, shift
from retention.scheduling.opening import open_slots

if TYPE_CHECKING:
    import subprocess

    from tests.integration.scheduling.conftest import Site, Valkey


@pytest.fixture
def sharded(
    make_site: Callable[..., Site], postgres_url: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, int], Site]:
    """A site whose two runs were begun, with so many shards each."""

    def make(rows: int, shards: int) -> Site:
        site = make_site(postgres_url, broker=valkey.url, rows=rows)
        monkeypatch.setattr(shift, "SHARD_RECORDS", rows // 2 // shards)
        monkeypatch.setattr(shift, "MOST_SHARDS", shards)
        with monkeypatch.context() as patch:
            for name, value in clock.set_by_this_process(site.ahead).items():
                patch.setenv(name, value)
            engine = site.engine()
            open_slots(engine.control, engine.policies(), engine.now())
            for _ in range(2):
                assert shift.work(engine, seconds=0, stop=threading.Event())
            engine.control.close()
        assert site.asked("SELECT count(*) FROM shard") == [(2 * shards,)]
        return site

    return make


def disturb(site: Site, seed: int, seconds: float) -> int:
    """Kill workers and children at random, and start dead workers again as a supervisor does, until the runs are finished, at
    most for so long. Returns the kills."""
    chance = random.Random(seed)
    workers: list[subprocess.Popen[bytes]] = [_worker(site, number) for number in range(4)]
    end, kills = time.monotonic() + seconds, 0
    while time.monotonic() < end and not site.finished():
        time.sleep(chance.uniform(0.5, 2.5))
        for number, worker in enumerate(workers):
            if worker.poll() is not None:
                workers[number] = _worker(site, number)
        number = chance.randrange(4)
        children = site.children(workers[number])
        victim = chance.choice(children) if children and chance.random() < 0.6 else workers[number].pid
        os.kill(victim, signal.SIGKILL)
        kills += 1
    for number, worker in enumerate(workers):
        if worker.poll() is not None:
            workers[number] = _worker(site, number)
    return kills


def _worker(site: Site, number: int) -> subprocess.Popen[bytes]:
    return site.start("worker", "-c", "1", "-n", f"{number}@%h")


def test_a_minute_of_random_kills(sharded: Callable[[int, int], Site]) -> None:
    seed = random.randrange(10**6)
    site = sharded(24_000, 40)
    site.start("beat")
    kills = disturb(site, seed, 30)
    print(f"seed {seed}, {kills} kills")
    site.wait(site.finished, f"the runs did not finish (seed {seed}, {kills} kills)", 120)
    site.check()
    assert kills >= 5


@pytest.mark.soak
def test_ten_minutes_of_random_kills(sharded: Callable[[int, int], Site], valkey: Valkey) -> None:
    """Redis is emptied or killed now and then, too."""
    seed = random.randrange(10**6)
    site = sharded(3_000_000, 100)
    site.start("beat")
    site.start("beat")
    over = threading.Event()

    def broker() -> None:
        chance = random.Random(seed + 1)
        while not over.wait(chance.uniform(10, 30)):
            if chance.random() < 0.5:
                valkey.flush()
            else:
                valkey.kill()
                valkey.start(durable=chance.random() < 0.5)

    thread = threading.Thread(target=broker)
    thread.start()
    kills = disturb(site, seed, 600)
    over.set()
    thread.join()
    print(f"seed {seed}, {kills} kills")
    site.wait(site.finished, f"the runs did not finish (seed {seed}, {kills} kills)", 600)
    site.check()
