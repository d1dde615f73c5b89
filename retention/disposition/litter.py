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
from retention.disposition.archived_values import key_texts
from retention.errors import ArchiveFailed
from retention.ledger import batches
from retention.ledger.runs import Run
from retention.sources.keys import key_from_text
from retention.sources.presence import count_present

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

_log = logging.getLogger("retention.litter")


def remove_litter(engine: Engine, run: Run) -> None:
    """Remove what a killed process left in the archive for this run: files that no batch row knows, and those of
    aborted batches. Safe because this process owns what is not done of the run: nobody else can prepare a batch of it; and
    because a whole batch that no row knows stays unless all its records are in the source."""
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
            litter -= _only_copies(engine, store, run, litter)
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


def _only_copies(engine: Engine, store: Store, run: Run, litter: Set[str]) -> set[str]:
    """The files of batches that were archived whole, that no row knows, and of which records are missing in the source: they
    were deleted, and the control database is older than that, being back from a backup. `archive verify` names them."""
    copies: set[str] = set()
    for path in sorted(one for one in litter if one.endswith(".json")):
        missing = _missing(engine, store, run, path)
        if missing != 0:
            copies |= {one for one in litter if one.startswith(path.removesuffix("json"))}
            _log.warning("litter.kept", extra={"run": run.id, "manifest": path, "records": missing})
    return copies


def _missing(engine: Engine, store: Store, run: Run, path: str) -> int | None:
    """How many records of the manifest's batch the source lacks; None where the archive's own files cannot tell."""
    try:
        manifest = Manifest.from_bytes(store.read(path))
        with engine.control.read() as connection:
            if batches.exists(connection, manifest.batch):  # aborted: the source itself said that it was rolled back
                return 0
        root = manifest.files[0]
        keys = key_texts(rows_of(store, root), root)
    except ArchiveFailed:
        return None
    return len(keys) - still_there(engine, run.records, keys)
