"""Eighty shards (or two hundred), four workers, and somebody who kills them at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Broker, Site

WORKERS = [("worker", "-c", "1", "-n", f"{number}@%h") for number in range(4)]
BEATS = [("beat",), ("beat",)]


def disturb(
    site: Site,
    crew: Sequence[tuple[str, ...]],
    chance: random.Random,
    *,
    seconds: float,
    every: tuple[float, float],
    told: Callable[[float], None] = lambda share: None,
) -> int:
    """Kill a process of the crew, or the child of one, and start the dead again as a supervisor does, until the runs are
    finished, at most for so long. ``told`` hears the share of the time that has gone by. Returns the kills."""
    parts = [site.start(*words) for words in crew]

    def supervise() -> None:
        for number, part in enumerate(parts):
            if part.poll() is not None:
                parts[number] = site.start(*crew[number])

    began, kills = time.monotonic(), 0
    while (share := (time.monotonic() - began) / seconds) < 1 and not site.finished():
        told(share)
        time.sleep(chance.uniform(*every))
        supervise()
        part = chance.choice(parts)
        children = site.children(part)
        os.kill(chance.choice(children) if children and chance.random() < 0.6 else part.pid, signal.SIGKILL)
        kills += 1
    time.sleep(0.2)  # the last one killed is dead by then
    supervise()
    return kills


def done(site: Site) -> int:
    return int(site.asked("SELECT count(*) FROM shard WHERE state = 'done'")[0][0])


@pytest.mark.parametrize(
    ("control", "shards", "seconds", "every"),
    [(None, 40, 30, (0.5, 2.5)), ("mariadb_control_url", 10, 15, (1.5, 3.5))],
    ids=["sqlite", "mariadb"],
)
def test_a_minute_of_random_kills(
    sharded: Callable[..., Site],
    request: pytest.FixtureRequest,
    control: str | None,
    shards: int,
    seconds: float,
    every: tuple[float, float],
) -> None:
    """Whatever the control database isolates and locks, each shard is taken by one after the other and done once."""
    seed = random.randrange(10**6)
    site = sharded(600 * shards, shards, control=None if control is None else request.getfixturevalue(control))
    site.start("beat")
    kills = disturb(site, WORKERS, random.Random(seed), seconds=seconds, every=every)
    print(f"\nseed {seed}, {kills} kills, {done(site)} of {2 * shards} shards done meanwhile")
    site.recovered(f"{kills} random kills (seed {seed})", stated=60)
    assert kills >= seconds / 6


@pytest.mark.soak
def test_ten_minutes_of_random_kills(sharded: Callable[..., Site], broker: Broker) -> None:
    """Beats are killed too, Redis is emptied or killed now and then. ``RETENTION_SOAK_SECONDS`` says how long instead of ten
    minutes. A throttle makes the work last as long; it is lifted when the time is over, and what is left is done."""
    seed = int(os.environ.get("RETENTION_SOAK_SEED", random.randrange(10**6)))
    seconds = float(os.environ.get("RETENTION_SOAK_SECONDS", "600"))
    site = sharded(2_000_000, 100)
    unthrottled = site.config.read_text()

    def throttle(share: float) -> None:
        duty = "1%" if done(site) / 200 > share else "50%"
        draft = site.config.with_suffix(".draft")
        draft.write_text(unthrottled.replace("    classes:", f"    throttle: {{duty: {duty}}}\n    classes:"))
        draft.replace(site.config)

    over, faults = threading.Event(), [0]

    def disturb_broker() -> None:
        chance = random.Random(seed + 1)
        while not over.wait(chance.uniform(10, 30)):
            faults[0] += 1
            if chance.random() < 0.5:
                broker.flush()
            else:
                broker.kill()
                broker.start(durable=chance.random() < 0.5)

    thread = threading.Thread(target=disturb_broker)
    began = time.monotonic()
    thread.start()
    try:
        # a shard counts as poisonous after five deaths without a batch in between: nobody is killed so often
        chance = random.Random(seed)
        kills = disturb(site, [*WORKERS, *BEATS], chance, seconds=seconds, every=(2, 5), told=throttle)
    finally:
        over.set()
        thread.join()
    lasted, meanwhile = time.monotonic() - began, done(site)
    site.config.write_text(unthrottled)
    rest = site.wait(site.finished, f"the runs did not finish (seed {seed}, {kills} kills)", 900)
    print(
        f"\nseed {seed}: {kills} kills of 4 workers, their children and 2 beats and {faults[0]} faults of the broker in"
        f" {lasted:.0f} s; {meanwhile} of 200 shards done meanwhile, the rest in {rest:.0f} s; {site.rows:,} records"
    )
    assert lasted > 0.9 * seconds, "the work ended long before the time: throttle it more"
    site.check()
