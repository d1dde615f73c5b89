"""Who works on a run: a process, named so that others can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

#: a process on another host that was not seen for this long has died
SILENCE = timedelta(minutes=2)

_PROC = Path("/proc")


def this_process() -> str:
    """``host:pid:start``, start in ticks since boot, so that a pid that is used again is another process."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_alive(owner: str, *, seen_at: datetime | None, now: datetime) -> bool:
    """Whether the process lives: on this host the system tells, on another it was seen in the last 2 minutes."""
    host, pid, start = owner.rsplit(":", 2)
    if host == socket.gethostname():
        return _start(int(pid)) == start
    return seen_at is not None and now - seen_at < SILENCE


def _start(pid: int) -> str | None:
    """When the process started, None where there is none; "-" for a living one on a system that does not tell."""
    if not (_PROC / "self").exists():
        return "-" if _answers(pid) else None
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it, in parentheses, may contain anything
    # proc(5): field 3 is the state, field 22 the start; a zombie works on nothing any more
    return None if state in "ZX" else fields[18]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as another user
        return True
    return True
