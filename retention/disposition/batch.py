"""The unit of exactly-once, and the only place that deletes records: one transaction, one set of files, one row.

The order is the promise. The fence is taken before the holds are read, so a hold that has returned is seen (P1). Files are
durable and read back before the batch is `prepared`, and prepared before the source commits, so nothing is deleted that
is not archived (P2). The deleting statement carries the whole predicate (P3). A process that lost its shard to another
cannot prepare, and what was prepared is decided by the source alone (P6). And nothing is done by a time that has not come (P3).
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime
from typing import TYPE_CHECKING

from retention.archive.manifest import BatchFacts
from retention.archive.write import Part, Written, discard, write_batch
from retention.disposition.archived_values import key_texts
from retention.disposition.clock import refuse_early
from retention.disposition.cut import Cut, cut, key_range, referred_meanwhile
from retention.disposition.held import HeldView, read_holds, refuse_unconfirmed
from retention.disposition.job import Disposed, Job, Window
from retention.disposition.lock import lock_copies
from retention.disposition.recover import note_committed, settle
from retention.disposition.unnameable import refuse_unnameable
from retention.failpoint import failpoint
from retention.ledger import batches, shards
from retention.ledger.batches import Batch, BatchState
from retention.policy.calendar import local_day
from retention.policy.policy import ArchiveRule
from retention.sources.drift import refuse_drift
from retention.sources.predicate import due
from retention.trace import Tell, carried, doing

if TYPE_CHECKING:
    from retention.sources.source import Session

#: heard of in workers alone, whose logs tell what became of each batch
_log = logging.getLogger("retention.batch")


class Lane:
    """One connection on which batches follow one another, each in a transaction of its own."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._connect()
        #: columns that were found to hold values beyond Arrow's range; they travel as text from then on
        self.wide: frozenset[str] = frozenset()
        self.encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    def _connect(self) -> None:
        self.session: Session = self.job.source.session()
        self.view = HeldView(self.job.engine, self.session, self.job.bound)

    def reconnect(self) -> None:
        """Give up the connection, with whatever is open on it, and make a new one."""
        self.session.close()
        self._connect()

    def close(self) -> None:
        """Roll back whatever is open and give the connection back."""
        self.session.close()
        self.encoder.shutdown()


def dispose(lane: Lane, window: Window) -> Disposed:
    """Archive and delete the due records of one window. Zero rows mean that nothing in it was due any more.

    Raises Refused while a hold is pending on the source or the run's time has not come, Widen and SourceFailed (``retryable``
    tells) with everything rolled back, ArchiveFailed with nothing deleted, InDoubt where the commit's outcome cannot be told.
    """
    batch_id = f"B-{lane.job.run.id.removeprefix('R-')}-{secrets.token_hex(4)}"
    with doing("batch", batch=batch_id) as tell:
        return _dispose(lane, window, batch_id, tell)


def _dispose(lane: Lane, window: Window, batch_id: str, tell: Tell) -> Disposed:
    job, session = lane.job, lane.session
    written: Future[Written] | None = None

    def encode(parts: Sequence[Part]) -> Future[Written] | None:
        nonlocal written
        # before a statement is to name the last key of the batch
        refuse_unnameable(parts[0])
        if job.store is not None:
            written = lane.encoder.submit(carried(_write), job, batch_id, number, parts, epoch)
        return written

    refuse_early(job.as_of, job.engine.now())
    number = next(job.numbers)
    session.begin(write=True)
    try:
        session.keep_definitions(job.bound.tables, [one.table for one in job.bound.shared])
        session.share_fence(list(job.engine.kin(job.bound.address)))
        failpoint("batch.after-fence")
        holds = read_holds(job.engine)
        refuse_unconfirmed(holds, job.source.name)
        refuse_drift(session, job.bound)
        epoch = holds.epoch
        condition = due(job.bound, job.policy, job.policies, job.as_of, lane.view.predicate(holds))
        taken = cut(lane.session, job.bound, condition, window, lane.wide, encode)
        failpoint("batch.after-delete")
        if taken.rows == 0:
            session.rollback()
            lane.view.rolled_back()
            return Disposed(rows=0, dependent_rows=0, bytes=0)
        files = written.result() if written is not None else None
        failpoint("batch.after-files")
        batch = _row(job, batch_id, number, taken, files, epoch, session.transaction_id())
        with job.engine.control.write() as connection:
            batches.prepare(connection, job.lease, batch, files.files if files is not None else ())
        _log.info("batch.prepared", extra={"rows": taken.rows, "dependent_rows": taken.dependent_rows})
        failpoint("batch.after-prepare")
    except BaseException as error:
        # Nothing is deleted: the source never got a commit. Files of the batch, if any, are litter; a `prepared` row
        # whose write was acknowledged late is judged by `settle`, which finds the transaction rolled back.
        session.rollback()
        lane.view.rolled_back()
        _clean_up(job, batch_id, written)
        _log.info("batch.rolled-back", extra={"error": type(error).__name__})
        raise
    disposed = Disposed(rows=taken.rows, dependent_rows=taken.dependent_rows, bytes=taken.bytes, until=taken.until)
    try:
        failpoint("batch.before-commit")
        with referred_meanwhile():
            session.commit()
        failpoint("batch.after-commit")
    except Exception:
        # The answer to COMMIT did not arrive: it may have happened. Only the source can tell.
        lane.reconnect()
        if settle(job.engine, batch) is BatchState.COMMITTED:
            return disposed
        raise
    if files is not None:
        lock_copies(job.engine, batch, [file.path for file in files.files])
    with job.engine.control.write() as connection:
        note_committed(job.engine, connection, batch_id)
        shards.went_on(connection, job.lease)
    tell(rows=taken.rows, dependent_rows=taken.dependent_rows, number=number)
    _log.info("batch.committed", extra={"rows": taken.rows, "number": number})
    failpoint("batch.after-settled")
    return disposed


def _write(job: Job, batch_id: str, number: int, parts: Sequence[Part], epoch: int) -> Written:
    assert job.store is not None and job.policy.archive is not None
    least, greatest = key_range(parts[0])
    facts = BatchFacts(
        archive=job.policy.archive.to,
        batch=batch_id,
        number=number,
        run=job.run.id,
        source=job.source.name,
        record_class=job.bound.record_class.name,
        policy=job.policy.name,
        policy_digest=job.policy.digest,
        mandate=job.policy.mandate,
        as_of=job.as_of,
        hold_epoch=epoch,
        key_least=least,
        key_greatest=greatest,
        dialect=job.bound.dialect,
        written_at=job.engine.now(),
    )
    return write_batch(job.store, parts, facts)


def _row(
    job: Job, batch_id: str, number: int, taken: Cut, files: Written | None, epoch: int, transaction: str | None
) -> Batch:
    now = job.engine.now()
    least, greatest = key_range(taken.parts[0])
    keys = None
    if files is None and transaction is None:
        # nothing else could tell later whether these records went
        keys = json.dumps(key_texts(taken.parts[0].rows, taken.parts[0]))
    return Batch(
        id=batch_id,
        run_id=job.run.id,
        number=number,
        records=job.bound.address,
        rows=taken.rows,
        dependent_rows=taken.dependent_rows,
        key_least=least,
        key_greatest=greatest,
        merkle_root=None if files is None else files.files[0].merkle_root,
        archive=None if job.policy.archive is None else job.policy.archive.to,
        manifest=None if files is None else files.manifest_path,
        manifest_sha256=None if files is None else files.manifest_sha256,
        destroy_after=None if job.policy.archive is None else _last_day(job.policy.archive, now, job),
        hold_epoch=epoch,
        source_transaction=transaction,
        keys=keys,
        prepared_at=now,
    )


def _last_day(rule: ArchiveRule, now: datetime, job: Job) -> date | None:
    """The last local day on which the archive keeps the copy: the day of the deletion is not counted."""
    return rule.keep.after(local_day(now, job.engine.project.config.timezone))


def _clean_up(job: Job, batch_id: str, written: Future[Written] | None) -> None:
    """After the source rolled back: the batch, if its row was written at all, is aborted; its files go."""
    if written is None:
        return
    with contextlib.suppress(
        Exception
    ):  # a failed write has removed its own files; what cannot be removed, recovery does
        files = written.result()
        with job.engine.control.write() as connection:
            if batches.exists(connection, batch_id):
                batches.abort(connection, batch_id, "the source was rolled back", job.engine.now())
        assert job.store is not None
        discard(job.store, [files.manifest_path, *(file.path for file in files.files)])
