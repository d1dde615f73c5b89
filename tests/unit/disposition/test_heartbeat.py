"""An owner that lives says so, and learns when it has nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.disposition import heartbeat as beating
from retention.disposition.heartbeat import heartbeat
from retention.errors import ControlFailed

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Patient:
    """An engine whose control database can be away."""

    def __init__(self) -> None:
        self.control = self
        self.away = 0

    @contextmanager
    def write(self) -> Iterator[str]:
        if self.away:
            self.away -= 1
            raise ControlFailed("the control database is away")
        yield "connection"

    def now(self) -> datetime:
        return NOW


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beating, "BEAT_SECONDS", 0.01)


def test_it_is_heard_of_until_the_work_is_over() -> None:
    heard: list[Any] = []
    three = threading.Event()

    def seen(*told: Any) -> bool:
        heard.append(told)
        if len(heard) == 3:
            three.set()
        return True

    with heartbeat(Patient(), seen) as lost:  # type: ignore[arg-type]
        assert three.wait(10)
    assert not lost.is_set()
    assert set(heard) == {("connection", NOW)}
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_who_lost_it_is_told_once_and_asks_no_more() -> None:
    heard: list[Any] = []

    def seen(*told: Any) -> bool:
        heard.append(told)
        return False

    with heartbeat(Patient(), seen) as lost:  # type: ignore[arg-type]
        assert lost.wait(10)
    assert len(heard) == 1


def test_a_control_database_that_is_away_is_asked_again() -> None:
    engine, back = Patient(), threading.Event()
    engine.away = 3

    def seen(*_: Any) -> bool:
        back.set()
        return True

    with heartbeat(engine, seen) as lost:  # type: ignore[arg-type]
        assert back.wait(10)
    assert (engine.away, lost.is_set()) == (0, False)
