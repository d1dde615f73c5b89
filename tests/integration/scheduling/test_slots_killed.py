"""`kill -9` at every step between a schedule and its run: each slot becomes one run, whoever died where."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retention.disposition import clock, shift
from retention.scheduling.opening import open_slots
from tests.servers import mariadb

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site

#: what beat and worker do, in one process, until each slot has become a run
BEGIN = """
import json, sys, threading
from pathlib import Path
from retention import failpoint
from retention.config import load_project
from retention.disposition import shift
from retention.disposition.engine import Engine
from retention.ledger import slots
from retention.ledger.slots import SlotState
from retention.scheduling.opening import open_slots

def due():
    with engine.control.read() as connection:
        return slots.in_state(connection, SlotState.DUE)

engine = Engine(load_project(Path(sys.argv[1])))
engine.policies()
failpoint.arm(sys.argv[2])
open_slots(engine.control, engine.policies(), engine.now())
while due():
    shift.work(engine, seconds=30, stop=threading.Event())
print(json.dumps(failpoint.passed()))
"""


def begin(site: Site, plan: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", BEGIN, str(site.config), plan]
    env = {**os.environ, **clock.set_by_this_process(site.ahead)}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(params=["sqlite", "mysql"])
def anew(request: pytest.FixtureRequest, make_site: Callable[..., Site], tmp_path: Path) -> Callable[[str], Site]:
    """Whatever was done to it, the site as it was made; on MariaDB the control database is there too."""
    if request.param == "mysql":
        urls = [request.getfixturevalue(name) for name in ("mariadb_url", "mariadb_control_url")]
        site = make_site(urls[0], control=urls[1], broker="memory://", rows=300)
        return partial(put_back, site, [rows_at(url) for url in urls])
    (tmp_path / "site").mkdir()
    site = make_site(f"sqlite:///{tmp_path / 'site' / 'crm.db'}", broker="memory://", rows=300)
    return partial(copy, site)


def copy(site: Site, name: str) -> Site:
    """The site with its databases, as it is now, somewhere else."""
    before, after = str(site.folder), str(site.folder.parent / name)
    shutil.copytree(before, after)
    moved = replace(
        site,
        folder=Path(after),
        url=site.url.replace(before, after),
        control_url=site.control_url.replace(before, after),
    )
    moved.config.write_text(site.config.read_text().replace(before, after))
    return moved


def rows_at(url: str) -> dict[str, list[tuple[object, ...]]]:
    with mariadb.connect(url) as connection:
        return mariadb.rows_of(connection)


def put_back(site: Site, rows: list[dict[str, list[tuple[object, ...]]]], name: str) -> Site:
    shutil.rmtree(site.folder / "archive", ignore_errors=True)
    for url, tables in zip((site.url, site.control_url), rows, strict=True):
        with mariadb.connect(url) as connection:
            mariadb.put_back(connection, tables)
    return site


@pytest.mark.parametrize("step", ["control.before-commit", "control.after-commit", "slot.planned"])
def test_killed_at_every_step_a_slot_becomes_one_run(
    anew: Callable[[str], Site], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site = anew("counted")
    counted = begin(site, "*=count")
    assert counted.returncode == 0, counted.stderr
    passes = json.loads(counted.stdout.splitlines()[-1])[step]
    assert passes >= 2
    for name, value in clock.set_by_this_process(site.ahead).items():
        monkeypatch.setenv(name, value)
    for turn in range(1, passes + 1):
        one = anew(f"killed-{turn}")
        killed = begin(one, f"{step}=kill@{turn}")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        engine = one.engine()
        open_slots(engine.control, engine.policies(), engine.now())
        while shift.work(engine, seconds=30, stop=threading.Event()):
            pass
        engine.control.close()
        one.check()
