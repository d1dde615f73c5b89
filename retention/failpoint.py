"""Places where a test may stop the world: `RETENTION_FAILPOINTS="batch.before-commit=kill"`.

Nothing happens unless the variable is set. The actions are what tests need to do to a real process at an exact step:
``kill`` (SIGKILL, nothing is cleaned up), ``stop`` (SIGSTOP until somebody continues it), ``error`` (an exception).
``name=kill@3`` acts the third time.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

_PLAN = dict(part.split("=", 1) for part in os.environ.get("RETENTION_FAILPOINTS", "").split(",") if "=" in part)
_PASSED: Counter[str] = Counter()


class FailpointError(Exception):
    """Raised by the action ``error``."""


def failpoint(name: str) -> None:
    """Do what the environment asks for at this step; nothing where it asks for nothing."""
    if name not in _PLAN:
        return
    action, _, turn = _PLAN[name].partition("@")
    _PASSED[name] += 1
    if turn and _PASSED[name] != int(turn):
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            # to this very thread: sent to the process, another thread may take it while this one goes on for a moment
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "error":
            raise FailpointError(name)
        case _:
            raise ValueError(f"unknown failpoint action {action!r}")
