"""A clock that was set runs ahead only while whoever set it lives."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from retention.disposition import clock
from retention.errors import Refused
from retention.ledger.owner import this_process

DAY = timedelta(days=1)


def test_it_shows_the_real_time() -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_set_by_a_living_process_it_runs_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in clock.set_by_this_process(DAY).items():
        monkeypatch.setenv(name, value)
    assert abs(clock.now() - datetime.now(UTC) - DAY) < timedelta(seconds=5)


def test_what_a_process_that_ended_left_behind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from datetime import timedelta; from retention.disposition import clock;"
    code += "print(clock.set_by_this_process(timedelta(days=1))[clock.VARIABLE])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv(clock.VARIABLE, said)
    with pytest.raises(Refused, match="is gone"):
        clock.now()


@pytest.mark.parametrize("text", ["", "86400", "86400@", "x@y:1:2", "nan@{this}", "1e300@{this}"])
def test_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    text = text.format(this=this_process())
    monkeypatch.setenv(clock.VARIABLE, text)
    with pytest.raises(Refused):
        clock.now()
