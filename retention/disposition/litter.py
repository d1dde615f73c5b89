"""What a killed process left in an archive. It goes, unless it might be the only copy of a record."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import TYPE_CHECKING

from retention.archive.find import rows_of
from retention.archive.manifest import Manifest
from retention.archive.store import CopyLocked, Store
from retention.archive.write import discard
from retention.disposition.archived import keys_of
from retention.disposition.archived_values import key_texts
from retention.errors import RetentionError, SourceFailed
from retention.ledger import batches
from retention.ledger.runs import Run
from retention.sources.keys import key_from_text, key_text
from retention.sources.presence import present

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

_log = logging.getLogger("retention.litter")
_log.addHandler(logging.NullHandler())  # heard of in workers alone: `archive verify` names the files to a person


def remove_litter(engine: Engine, run: Run) -> None:
    """Remove what a killed process left in the archive for this run: files that no batch row knows, and those of
    aborted batches. Safe because this process owns what is not done of the run: nobody else can prepare a batch of it; and
    because a whole batch that no row knows stays unless each of its records is in the source or in a batch that is known.

    Raises SourceFailed where the source cannot be asked; nothing of that batch was removed then.
    """
    source, _, record_class = run.records.partition(".")
    folder = f"{source}/{record_class}/{run.as_of.year:04}/{run.id}/"
    found: list[tuple[Store, set[str]]] = []
    for name in engine.project.config.archives:  # the policy may name another one by now
        store = engine.store(name)
        if store.is_archive():
            # beside the marker lies what a process left that was killed while it made the archive
            beside = [path for path in store.leftovers() if "/" not in path]
            found.append((store, {*store.paths(folder), *store.leftovers(folder), *beside}))
    # after all files were listed: however long what follows takes, and whoever works on the run by then, its files are new
    with engine.control.read() as connection:
        known = set(batches.known_paths(connection, run.id))
    for store, paths in found:
        litter = paths - known
        litter -= _only_copies(engine, store, run, litter)
        drop(store, sorted(litter))


def drop(store: Store, paths: Sequence[str]) -> None:
    """Remove them, but for what the archive's own lock keeps (a bucket that locks whatever is written): nobody can remove
    that, it is in nobody's way, and `archive verify` names it until it is gone."""
    for path in paths:
        with suppress(CopyLocked):
            discard(store, [path])


def still_there(engine: Engine, address: str, texts: Sequence[str]) -> list[str]:
    """Which of the records with these keys (as texts) the source has. The fence is passed first, so that nobody is in
    the middle of deleting them."""
    bound = engine.bound(address)
    keys = [key_from_text(bound, text) for text in texts]
    session = bound.source.session()
    try:
        session.pass_fence([address])
        session.begin(write=True)
        return [key_text(key) for key in present(session, bound, keys)]
    finally:
        session.close()


def _only_copies(engine: Engine, store: Store, run: Run, litter: Set[str]) -> set[str]:
    """The files of batches that were written whole, that no row knows, and that may have the only copy of a record: the
    control database came back from a backup that is older than they. The manifest is written last, so files without one
    were never relied on, or are what is left of litter. Where there is no such manifest, nothing is read."""
    copies: set[str] = set()
    for path in sorted(one for one in litter if one.endswith(".json")):
        lost = _lost_without(engine, store, run, path)
        if lost != 0:
            copies |= {one for one in litter if one.startswith(path.removesuffix("json"))}
            _log.warning("litter.kept", extra={"run": run.id, "manifest": path, "records": lost})
    return copies


def _lost_without(engine: Engine, store: Store, run: Run, path: str) -> int | None:
    """How many records of the manifest's batch are neither in the source nor in a batch that the control database knows;
    None where the files or the class cannot tell any more.

    Only batches prepared since the files were written count: one from before has an earlier state of a record that was
    restored, or whose key was used again. A batch whose own copy was destroyed counts for nothing, for nobody can tell any
    more which records it had.
    """
    try:
        manifest = Manifest.from_bytes(store.read(path))
        with engine.control.read() as connection:
            if batches.exists(connection, manifest.batch):  # aborted: the source itself said that it was rolled back
                return 0
        root = manifest.files[0]
        keys = key_texts(rows_of(store, root), root)
        # the source first: what is gone there, by a batch that is known, was prepared before
        lost = set(keys) - set(still_there(engine, run.records, keys))
        with engine.control.read() as connection:
            since = batches.since(
                connection, run.records, manifest.written_at, least=manifest.key_least, greatest=manifest.key_greatest
            )
        for batch in since if lost else ():
            lost -= set(keys_of(engine, batch) or ())
    except SourceFailed:
        raise
    except RetentionError:
        return None
    return len(lost)
