"""Whether a database of records answers, what it is, its clock, and whether it keeps what it says it committed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.errors import RetentionError
from retention.sources.foreign import ACCEPT
from retention.watching.finding import Finding, Level, failed

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.sources.source import Source

#: a clock that is off by less costs nothing: periods are counted in days
SKEW = timedelta(seconds=5)


def examine_source(engine: Engine, name: str) -> Iterator[Finding]:
    """What can be told of the database as a whole."""
    subject = f"source {name}"
    try:
        source = engine.source(name)
        session = source.session()
        try:
            before = engine.now()
            server = session.server()
            after = engine.now()
        finally:
            session.close()
    except RetentionError as error:
        yield from failed(subject, error)
        return
    zone = "" if server.zone is None else f", its sessions are in {server.zone}"
    yield Finding(subject=subject, level=Level.OK, what=f"{server.version} answers{zone}")
    yield from _accepted(subject, source)
    if server.now is not None:
        off = skew(server.now, before, after)
        if off > SKEW:
            what = f"the server's clock and the one here are {off.total_seconds():.0f} seconds apart"
            change = "let NTP set both: a record is judged by the clock here, and dated by the one there"
            yield Finding(subject=subject, level=Level.WARNING, what=what, change=change)
        else:
            yield Finding(subject=subject, level=Level.OK, what="its clock is the one here, to 5 seconds")
    for risk in server.risks:
        yield Finding(subject=subject, level=Level.WARNING, what=risk.what, change=risk.remedy)


def _accepted(subject: str, source: Source) -> Iterator[Finding]:
    """Whether the server is one on which nothing of this program was tested."""
    if source.accepted is not None:
        what = (
            f'"{source.accepted.server}" is taken at your own risk, as `{ACCEPT}` says: no test of this program runs there.'
            f" Tried now, and right: {'; '.join(source.accepted.tried)}. Not tried: {source.accepted.untried}"
        )
        change = "move the records to a database that is supported, or try a run, a hold during it, kill -9 and a restore there"
        yield Finding(subject=subject, level=Level.WARNING, what=what, change=change)
    elif source.accept_unsupported:
        what = f"`{ACCEPT}` is needless here: the database is a supported one"
        yield Finding(subject=subject, level=Level.NOTE, what=what, change="take the key away")


def skew(there: datetime, before: datetime, after: datetime) -> timedelta:
    """How far the other clock is off at least, as it was asked between ``before`` and ``after``; never negative."""
    return max(before - there, there - after, timedelta(0))
