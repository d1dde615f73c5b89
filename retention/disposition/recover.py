"""After a crash: what was prepared is judged by the source; what was never prepared is litter (`litter.py`)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retention.disposition.archived import keys_of
from retention.disposition.litter import drop, remove_litter, still_there
from retention.disposition.lock import lock_copies
from retention.errors import InDoubt, SourceFailed
from retention.failpoint import failpoint
from retention.ledger import batches, runs, shards
from retention.ledger.batches import Batch, BatchState
from retention.ledger.owner import SILENCE, new_owner
from retention.ledger.runs import Run
from retention.ledger.shards import Lease, ShardState
from retention.sources.source import Outcome
from retention.trace import doing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine

_log = logging.getLogger("retention.recover")

#: how long a server may take to notice that the process behind an open transaction is gone
OPEN_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A batch that was in doubt, and what became of it."""

    batch: Batch
    state: BatchState


def recover(engine: Engine) -> list[Settled]:
    """Resolve every batch in doubt whose process is gone, of every run. Doing it twice changes nothing.

    Raises InDoubt for a batch that only a person can judge, after all others were settled.
    """
    settled: list[Settled] = []
    doubts: list[InDoubt] = []
    with engine.control.read() as connection:
        open_runs = runs.unfinished(connection)
    for run in open_runs:
        owner = new_owner()
        leases, all_ours = _take_what_was_left(engine, run, owner)
        if not leases:
            continue
        try:
            for batch in [batch for lease in leases for batch in in_doubt(engine, lease)]:
                try:
                    settled.append(Settled(batch=batch, state=settle(engine, batch)))
                except InDoubt as doubt:
                    doubts.append(doubt)
            if all_ours:
                try:
                    remove_litter(engine, run)
                except SourceFailed as away:  # the end of the run tries again; other sources' runs go on
                    _log.info("litter.waits", extra={"run": run.id, "error": away.message})
        finally:
            with engine.control.write() as connection:
                shards.leave(connection, run.id, owner)
    for batch in _left_by_runs_that_are_over(engine):
        try:
            settled.append(Settled(batch=batch, state=settle(engine, batch)))
        except InDoubt as doubt:
            doubts.append(doubt)
    if doubts:
        raise doubts[0]
    return settled


def _left_by_runs_that_are_over(engine: Engine) -> list[Batch]:
    """Batches in doubt of runs that were cancelled meanwhile. Who prepared one settles it within moments, if it lives."""
    with engine.control.read() as connection:
        going_on = {run.id for run in runs.unfinished(connection)}
        waiting = batches.in_doubt(connection)
    return [one for one in waiting if one.run_id not in going_on and abs(engine.now() - one.prepared_at) >= SILENCE]


def _take_what_was_left(engine: Engine, run: Run, owner: str) -> tuple[list[Lease], bool]:
    """The shards of a run that somebody left behind, or that has batches in doubt: those that nobody works on; and
    whether these are all that are not done. None of a run that was left in good order."""
    now = engine.now()
    with engine.control.write() as connection:
        left = [one for one in shards.of_run(connection, run.id) if one.state is not ShardState.DONE]
        free = [one for one in left if not one.is_leased(now)]
        if not any(one.owner is not None for one in free) and not batches.in_doubt(connection, run.id):
            return [], False
        # the death counts here too: what kills each process that works on it would otherwise be tried for ever
        free = [one if one.owner is None else shards.died(connection, one) for one in free]
        return [shards.take(connection, one, owner, now) for one in free], len(free) == len(left)


def in_doubt(engine: Engine, lease: Lease) -> list[Batch]:
    """Batches in doubt of the shard."""
    with engine.control.read() as connection:
        count = len(shards.of_run(connection, lease.run_id))
        waiting = batches.in_doubt(connection, lease.run_id)
    return [batch for batch in waiting if (batch.number - lease.number) % count == 0]


def settle(engine: Engine, batch: Batch) -> BatchState:
    """Ask the source what became of a prepared batch, and write it down. Raises InDoubt where it cannot tell."""
    with doing("settle", run=batch.run_id, batch=batch.id) as tell:
        state = _settle(engine, batch)
        tell(state=state.value)
        _log.info("batch.settled", extra={"state": state.value})
        return state


def _settle(engine: Engine, batch: Batch) -> BatchState:
    committed = _committed(engine, batch)
    failpoint("settle.judged")
    if committed:
        with engine.control.read() as connection:
            paths = [file.path for file in batches.files(connection, batch.id)]
        lock_copies(engine, batch, paths)
    with engine.control.write() as connection:
        if committed:
            note_committed(engine, connection, batch.id)
            return BatchState.COMMITTED
        if batches.get(connection, batch.id).state is not BatchState.ABORTED:
            batches.abort(connection, batch.id, "the source had rolled it back", engine.now())
    failpoint("settle.aborted")
    _discard(engine, batch)
    return BatchState.ABORTED


def note_committed(engine: Engine, connection: Connection, batch_id: str) -> None:
    """Write down that the source committed the batch, unless somebody who asked the source too already has: a process that
    was suspended and the one that took its shard over may both come here."""
    if batches.get(connection, batch_id).state is not BatchState.COMMITTED:
        batches.commit(connection, batch_id, engine.now())


def _discard(engine: Engine, batch: Batch) -> None:
    if batch.archive is None or batch.manifest is None:
        return
    with engine.control.read() as connection:
        paths = [file.path for file in batches.files(connection, batch.id)]
    drop(engine.store(batch.archive), [batch.manifest, *paths])


def _committed(engine: Engine, batch: Batch) -> bool:
    if batch.source_transaction is not None:
        outcome = _outcome(engine, batch, batch.source_transaction)
        if outcome is Outcome.COMMITTED:
            return True
        if outcome is Outcome.ROLLED_BACK:
            return False
        if outcome is Outcome.OPEN:
            raise InDoubt(
                f"the transaction of batch {batch.id} is still open in the source",
                hint="a process is suspended in the middle of it; end it (pg_stat_activity names it 'retention'), then recover",
            )
    return _gone(engine, batch)


def _outcome(engine: Engine, batch: Batch, transaction: str) -> Outcome:
    source = engine.bound(batch.records).source
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        outcome = source.outcome(transaction)
        if outcome is not Outcome.OPEN or time.monotonic() > deadline:
            return outcome
        time.sleep(0.2)


def _gone(engine: Engine, batch: Batch) -> bool:
    """Whether the batch's records are gone: none there is committed, all there is rolled back, anything else is for a
    person."""
    keys = _keys(engine, batch)
    present = len(still_there(engine, batch.records, keys))
    if present == 0:
        return True
    if present == len(keys):
        return False
    raise InDoubt(
        f"batch {batch.id}: {present} of its {len(keys)} records are in {batch.records},"
        " so it is neither committed nor rolled back",
        hint=f"somebody else changed these records: compare them with {batch.manifest}, delete them or put the others"
        " back, then run `retention recover`",
    )


def _keys(engine: Engine, batch: Batch) -> list[str]:
    """The keys of the batch's records as texts. Raises InDoubt where nothing tells them."""
    keys = keys_of(engine, batch)
    if keys is None:
        raise InDoubt(
            f"batch {batch.id} was not archived, and the source does not know its transaction any more",
            hint="the source is another server or an older backup of it; compare its records with the plan of the run",
        )
    return keys
