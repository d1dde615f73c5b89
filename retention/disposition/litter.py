"""What a killed process left in an archive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from retention.archive.store import CopyLocked, Store
from retention.archive.write import discard
from retention.ledger import batches
from retention.ledger.runs import Run
from retention.sources.keys import key_from_text
from retention.sources.presence import count_present

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def remove_litter(engine: Engine, run: Run) -> None:
    """Remove what a killed process left in the archive for this run: files that no batch row knows, and those of
    aborted batches. Safe because this process owns what is not done of the run: nobody else can prepare a batch of it."""
    source, _, record_class = run.records.partition(".")
    folder = f"{source}/{record_class}/{run.as_of.year:04}/{run.id}/"
    with engine.control.read() as connection:
        known = set(batches.known_paths(connection, run.id))
    for name in engine.project.config.archives:  # the policy may name another one by now
        store = engine.store(name)
        if store.is_archive():
            # beside the marker lies what a process left that was killed while it made the archive
            beside = [path for path in store.leftovers() if "/" not in path]
            litter = {*store.paths(folder), *beside} - known
            drop(store, sorted({*litter, *store.leftovers(folder)}))


def drop(store: Store, paths: Sequence[str]) -> None:
    """Remove them, but for what the archive's own lock keeps (a bucket that locks whatever is written): nobody can remove
    that, it is in nobody's way, and `archive verify` names it until it is gone."""
    for path in paths:
        with suppress(CopyLocked):
            discard(store, [path])


def still_there(engine: Engine, address: str, texts: Sequence[str]) -> int:
    """How many of the records with these keys (as texts) the source has. The fence is passed first, so that nobody is in
    the middle of deleting them."""
    bound = engine.bound(address)
    keys = [key_from_text(bound, text) for text in texts]
    session = bound.source.session()
    try:
        session.pass_fence([address])
        session.begin(write=True)
        return count_present(session, bound, keys)
    finally:
        session.close()
