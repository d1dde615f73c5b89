"""Who works on something: a process, named so that others can tell whether it still lives."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime, timedelta
from pathlib import Path

#: who was not seen for this long has died, or is stopped and has lost what it worked on
SILENCE = timedelta(minutes=2)

_PROC = Path("/proc")
#: names under which this process worked, and could not give up what it had
_ENDED: set[str] = set()


def this_process() -> str:
    """``host:pid:start``, start in ticks since boot, so that a pid that is used again is another process."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def new_owner() -> str:
    """This process, once: ``host:pid:start/nonce``. What a thread of it lost, no other thread has by the same name."""
    return f"{this_process()}/{secrets.token_hex(4)}"


def end(owner: str) -> None:
    """Nobody in this process works under that name any more, although the control database could not be told: this process
    need not wait until its own lease runs out."""
    _ENDED.add(owner)


def holds_lease(owner: str | None, *, seen_at: datetime | None, now: datetime) -> bool:
    """Whether the owner lives and was seen in the last 2 minutes, so that what it works on is its own."""
    if owner is None or owner in _ENDED or not _is_recent(seen_at, now):
        return False
    return is_alive(owner, seen_at=seen_at, now=now)


def is_alive(owner: str, *, seen_at: datetime | None, now: datetime) -> bool:
    """Whether the process lives: on this host the system tells, on another it was seen in the last 2 minutes."""
    host, pid, start = owner.rsplit(":", 2)
    if host == socket.gethostname():
        return _start(int(pid)) == start.partition("/")[0]
    return _is_recent(seen_at, now)


def _is_recent(seen_at: datetime | None, now: datetime) -> bool:
    """Whether it was seen in the last 2 minutes; one seen in the future was seen by a clock that was ahead, whenever that was."""
    return seen_at is not None and abs(now - seen_at) < SILENCE


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
