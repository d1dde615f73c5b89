"""Failpoints do what a plan asks for, at the turn that it names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention import failpoint
from retention.errors import ControlFailed
from retention.failpoint import FailpointError


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoint.arm("")


def test_nothing_happens_without_a_plan() -> None:
    failpoint.failpoint("a")
    assert failpoint.passed() == {}


def test_an_error_at_its_turn_alone() -> None:
    failpoint.arm("a=error@2,b=error")
    failpoint.failpoint("a")
    with pytest.raises(FailpointError, match="failpoint a"):
        failpoint.failpoint("a")
    failpoint.failpoint("a")
    failpoint.failpoint("c")
    with pytest.raises(ControlFailed, match="failpoint b"):
        failpoint.failpoint("b", ControlFailed)


def test_every_passage_is_counted() -> None:
    failpoint.arm("*=count")
    for name in ("a", "b", "a"):
        failpoint.failpoint(name)
    assert failpoint.passed() == {"a": 2, "b": 1}
    failpoint.arm("")
    assert failpoint.passed() == {}


def test_an_unknown_action_is_an_error() -> None:
    failpoint.arm("a=explode")
    with pytest.raises(ValueError, match="unknown failpoint action 'explode'"):
        failpoint.failpoint("a")
