"""Whether an archive is there, can be written, and has room for what would be archived now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from retention.errors import RetentionError
from retention.watching.finding import Finding, Level, failed, megabytes

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def examine_archive(engine: Engine, name: str, needed: int) -> Iterator[Finding]:
    """What can be told of the archive without writing in it; ``needed`` bytes are to fit into it."""
    subject = f"archive {name}"
    try:
        store = engine.store(name)
        made = store.is_archive()
        if made:
            store.open()
        obstacle = store.unwritable()
        room = store.room()
    except RetentionError as error:
        yield from failed(subject, error)
        return
    if made:
        yield Finding(subject=subject, level=Level.OK, what="it is there, and its marker is whole")
    else:
        yield Finding(subject=subject, level=Level.NOTE, what="it is not there yet: the first run makes it")
    if obstacle is not None:
        change = "give that user the folder: chown or chmod, and no read-only mount"
        yield Finding(subject=subject, level=Level.ERROR, what=obstacle, change=change)
    if room is None:
        yield Finding(
            subject=subject,
            level=Level.NOTE,
            what="whether it can be written, and its room, are not told without writing",
        )
    elif room < needed:
        yield Finding(
            subject=subject,
            level=Level.WARNING,
            what=f"{megabytes(room)} are free, and what would be archived now is {megabytes(needed)} in the database"
            " (in Parquet often a fifth)",
            change="make room, or let a policy begin with part of it",
        )
    else:
        what = f"{megabytes(room)} are free, {megabytes(needed)} would be archived now"
        yield Finding(subject=subject, level=Level.OK, what=what)
