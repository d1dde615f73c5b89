"""Who waits long for the control database is told so; who does not wait is told nothing."""

from __future__ import annotations

import time

import pytest

from retention.ledger import engine


def test_only_a_long_wait_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(engine, "NOTICE", 0.05)
    with engine._told():
        pass
    time.sleep(0.1)
    assert caplog.messages == []
    with engine._told():
        time.sleep(0.2)
    assert caplog.messages == ["waiting for another process that writes to the control database, 30 seconds at most"]
