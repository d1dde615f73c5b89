"""Places where a test may stop the world: `RETENTION_FAILPOINTS="batch.before-commit=kill"`.

Nothing happens unless the variable is set, or a test arms its own process. The actions are what tests need to do at an
exact step: ``kill`` (SIGKILL, nothing is cleaned up), ``stop`` (SIGSTOP until somebody continues it), ``error`` (the
failure that the place itself could meet; at a place behind a COMMIT that is a lost acknowledgement: it happened, and
the answer did not arrive). ``name=kill@3`` acts the third time.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

_PLAN: dict[str, str] = {}
#: how often each place was passed since `arm`; counted only where a plan asks for it by the name ``*``
_PASSED: Counter[str] = Counter()
_LOCK = threading.Lock()


class FailpointError(Exception):
    """What the action ``error`` raises at a place that names no failure of its own."""


def arm(plan: str) -> None:
    """Take the plan (as the environment variable has it) for this process, and count from zero."""
    with _LOCK:
        _PASSED.clear()
        _PLAN.clear()
        for part in plan.split(","):
            name, equals, action = part.partition("=")
            if equals:
                _PLAN[name] = action


def passed() -> dict[str, int]:
    """How often each place was passed since a plan with ``*=count`` was armed."""
    with _LOCK:
        return dict(_PASSED)


def failpoint(name: str, failure: Callable[[str], Exception] = FailpointError) -> None:
    """Do what the plan asks for at this step; nothing where it asks for nothing. ``failure`` is what may go wrong here."""
    if not _PLAN or (name not in _PLAN and "*" not in _PLAN):
        return
    with _LOCK:
        _PASSED[name] += 1
        turn = str(_PASSED[name])
    action, _, wanted = _PLAN.get(name, "count").partition("@")
    if wanted not in ("", turn):
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            # to this very thread: sent to the process, another thread may take it while this one goes on for a moment
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "error":
            raise failure(f"failpoint {name}")
        case "count":
            return
        case _:
            raise ValueError(f"unknown failpoint action {action!r}")


arm(os.environ.get("RETENTION_FAILPOINTS", ""))
