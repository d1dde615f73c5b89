"""Locking the copies of a deleted batch, in archives that can (Object Lock on S3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from retention.ledger.batches import Batch
from retention.policy.calendar import day_start

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def lock_copies(engine: Engine, batch: Batch, paths: Iterable[str]) -> None:
    """Lock the manifest and the files ``paths`` of a batch until the day after the last one of the policy's ``keep``.

    Between the source's commit and the batch's own: never before, because the files of a batch that is rolled back must
    go; and never after, because a batch that is still `prepared` is settled again, and locked then. Raises ArchiveFailed.
    """
    if batch.archive is None or batch.manifest is None:
        return
    store = engine.store(batch.archive)
    if not store.locks:
        return
    last = batch.destroy_after
    until = None if last is None else day_start(last + timedelta(days=1), engine.project.config.timezone)
    for path in (batch.manifest, *paths):
        store.lock(path, until)
