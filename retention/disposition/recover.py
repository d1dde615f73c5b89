"""After a crash: what was prepared is judged by the source; what was never prepared is litter and is removed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retention.archive.find import rows_of
from retention.archive.write import discard
from retention.disposition.archived import read_manifest
from retention.disposition.archived_values import key_texts
from retention.disposition.owner import take_over
from retention.errors import InDoubt
from retention.failpoint import failpoint
from retention.ledger import batches, runs
from retention.ledger.batches import Batch, BatchState
from retention.ledger.owner import this_process
from retention.ledger.runs import Run
from retention.sources.keys import key_from_text
from retention.sources.presence import count_present
from retention.sources.source import Outcome

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

#: how long a server may take to notice that the process behind an open transaction is gone
OPEN_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A batch that was in doubt, and what became of it."""

    batch: Batch
    state: BatchState


def recover(engine: Engine) -> list[Settled]:
    """Resolve every batch in doubt of every run whose process is gone. Doing it twice changes nothing.

    Raises InDoubt for a batch that only a person can judge, after all others were settled.
    """
    settled: list[Settled] = []
    doubts: list[InDoubt] = []
    with engine.control.read() as connection:
        open_runs = runs.unfinished(connection)
    for run in open_runs:
        # a run of this very process is under way, not left behind
        if run.owner == this_process() or not take_over(engine, run):
            continue
        with engine.control.read() as connection:
            waiting = batches.in_doubt(connection, run.id)
        for batch in waiting:
            try:
                settled.append(Settled(batch=batch, state=settle(engine, batch)))
            except InDoubt as doubt:
                doubts.append(doubt)
        remove_litter(engine, run)
        with engine.control.write() as connection:
            runs.leave(connection, run.id, this_process())
    if doubts:
        raise doubts[0]
    return settled


def settle(engine: Engine, batch: Batch) -> BatchState:
    """Ask the source what became of a prepared batch, and write it down. Raises InDoubt where it cannot tell."""
    committed = _committed(engine, batch)
    failpoint("settle.judged")
    with engine.control.write() as connection:
        if committed:
            batches.commit(connection, batch.id, engine.now())
            return BatchState.COMMITTED
        batches.abort(connection, batch.id, "the source had rolled it back", engine.now())
    failpoint("settle.aborted")
    _discard(engine, batch)
    return BatchState.ABORTED


def remove_litter(engine: Engine, run: Run) -> None:
    """Remove what a killed process left in the archive for this run: files that no batch row knows, and those of
    aborted batches. Safe because this process owns the run, so nobody else can prepare a batch of it any more."""
    source, _, record_class = run.records.partition(".")
    folder = f"{source}/{record_class}/{run.as_of.year:04}/{run.id}/"
    with engine.control.read() as connection:
        known = set(batches.known_paths(connection, run.id))
    for name in engine.project.config.archives:  # the policy may name another one by now
        store = engine.store(name)
        if store.is_archive():
            discard(store, [path for path in (*store.paths(folder), *store.leftovers(folder)) if path not in known])


def _discard(engine: Engine, batch: Batch) -> None:
    if batch.archive is None or batch.manifest is None:
        return
    with engine.control.read() as connection:
        paths = [file.path for file in batches.files(connection, batch.id)]
    discard(engine.store(batch.archive), [batch.manifest, *paths])


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
    person. The fence is passed first, so that nobody is in the middle of deleting them."""
    bound = engine.bound(batch.records)
    keys = [key_from_text(bound, text) for text in _keys(engine, batch)]
    session = bound.source.session()
    try:
        session.pass_fence([batch.records])
        session.begin(write=True)
        present = count_present(session, bound, keys)
    finally:
        session.close()
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
    if batch.archive is not None:
        store = engine.store(batch.archive)
        root = read_manifest(store, batch).files[0]
        return key_texts(rows_of(store, root), root)
    if batch.keys is None:
        raise InDoubt(
            f"batch {batch.id} was not archived, and the source does not know its transaction any more",
            hint="the source is another server or an older backup of it; compare its records with the plan of the run",
        )
    return [str(text) for text in json.loads(batch.keys)]
