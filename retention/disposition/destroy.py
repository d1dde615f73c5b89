"""The end of archive copies whose `keep` is over: under the same fence and the same holds as any deletion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from retention.archive.store import CopyLocked
from retention.archive.write import discard
from retention.disposition.held import read_holds, refuse_damaged, refuse_unconfirmed
from retention.disposition.held_copies import covering
from retention.errors import RetentionError
from retention.failpoint import failpoint
from retention.ledger import batches, runs, shards
from retention.ledger.batches import Batch
from retention.ledger.owner import new_owner
from retention.ledger.runs import Run, RunKind, RunState
from retention.ledger.shards import Lease
from retention.policy.calendar import local_day

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class DestructionPlan:
    """What of one archive is past its time: ``due`` goes, ``held`` is covered by a hold and stays."""

    archive: str
    due: tuple[Batch, ...]
    held: tuple[Batch, ...]
    #: a destruction that was interrupted; the new one goes on with what it left
    started: Run | None

    @property
    def rows(self) -> int:
        """Records in ``due``."""
        return sum(batch.rows for batch in self.due)


@dataclass(frozen=True, kw_only=True)
class Destroyed:
    """What a destruction run did."""

    run: str
    archive: str
    destroyed: int
    held: int
    #: batches that the archive itself still keeps from being removed, each with what keeps it
    locked: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as `archive destroy --json` prints them."""
        return asdict(self)


def plan_destruction(engine: Engine, names: tuple[str, ...]) -> list[DestructionPlan]:
    """What of the named archives would be destroyed today (local day of the project's zone). Changes nothing."""
    today = local_day(engine.now(), engine.project.config.timezone)
    holds = read_holds(engine)
    plans = []
    for name in names:
        store = engine.store(name)
        with engine.control.read() as connection:
            past = batches.due_for_destruction(connection, name, today)
            started = runs.unfinished(connection, name, kind=RunKind.DESTRUCTION)
        held = tuple(batch for batch in past if covering(engine, store, batch, holds))
        plans.append(
            DestructionPlan(
                archive=name,
                due=tuple(batch for batch in past if batch not in held),
                held=held,
                started=started[0] if started else None,
            )
        )
    return plans


def destroy(engine: Engine, plan: DestructionPlan) -> Destroyed:
    """Destroy what is due and still neither held nor locked when its turn comes. Interrupted, the next destruction goes on
    with it.

    Raises Refused while a hold is pending or another process destroys, SourceFailed, ArchiveFailed; what was done stands.
    """
    refuse_damaged(engine)
    if plan.due:
        engine.store(plan.archive).open()  # files that are out of sight are not files that are gone
    lease = _begin(engine, plan)
    done = held = 0
    locked: list[str] = []
    try:
        for batch in plan.due:
            try:
                if _destroy_batch(engine, lease, batch):
                    done += 1
                else:
                    held += 1
            except CopyLocked as lock:  # the others may go
                locked.append(lock.message)
    except RetentionError as error:
        with engine.control.write() as connection:
            if shards.still_leased(connection, lease):  # else it is not ours to end
                runs.move(connection, lease.run_id, RunState.FAILED, reason=error.message, at=engine.now())
        raise
    result = Destroyed(
        run=lease.run_id, archive=plan.archive, destroyed=done, held=held + len(plan.held), locked=tuple(locked)
    )
    with engine.control.write() as connection:
        shards.done(connection, lease)
        runs.move(
            connection,
            lease.run_id,
            RunState.FINISHED,
            reason=f"partly done: {len(locked)} locked" if locked else "everything due was done",
            at=engine.now(),
            result=result.to_json(),
        )
    return result


def _begin(engine: Engine, plan: DestructionPlan) -> Lease:
    """Write the destruction down as this process's; it takes the place of one that was interrupted."""
    now = engine.now()
    with engine.control.write() as connection:
        for before in runs.unfinished(connection, plan.archive, kind=RunKind.DESTRUCTION):
            shards.refuse_taken(connection, before.id, now)
            reason = "it was interrupted; a new destruction goes on with what it left"
            runs.move(connection, before.id, RunState.CANCELLED, reason=reason, at=now)
        run = runs.create(
            connection,
            kind=RunKind.DESTRUCTION,
            policy=plan.archive,
            policy_digest=engine.project.policies.digest,
            set_digest=engine.project.policies.digest,
            records="*",
            as_of=now,
            requested_by=engine.person,
            plan={"batches": [batch.id for batch in plan.due], "held": [batch.id for batch in plan.held]},
            at=now,
        )
        runs.move(connection, run.id, RunState.RUNNING, reason="started", at=now)
        shards.create(connection, run.id)
        [lease] = shards.take_all(connection, run.id, new_owner(), now)
        return lease


def _destroy_batch(engine: Engine, lease: Lease, batch: Batch) -> bool:
    """Destroy one batch's files, or leave them because a hold covers them by now. Raises CopyLocked while the archive
    itself keeps one of them."""
    assert batch.archive is not None and batch.manifest is not None
    store = engine.store(batch.archive)
    source = batch.records.partition(".")[0]
    session = engine.source(source).session()
    try:
        # The fences of the source, as for a deletion in it: a hold that returns while this goes on has waited for it, and
        # one that returned before it is read here.
        session.begin(write=True)
        session.share_fence([batch.records, *engine.addresses(source)])
        failpoint("destroy.after-fence")
        holds = read_holds(engine)
        refuse_unconfirmed(holds, source)
        if covering(engine, store, batch, holds):
            return False
        with engine.control.read() as connection:
            paths = [file.path for file in batches.files(connection, batch.id)]
        for path in (batch.manifest, *paths):
            lock = store.locked(path)
            if lock is not None:  # asked before anything is begun: a copy is whole, or gone
                raise CopyLocked(f"batch {batch.id}: the archive keeps {path} {lock}")
        with engine.control.write() as connection:
            shards.require(connection, lease)
            shards.seen(connection, lease.run_id, lease.owner, engine.now())
            batches.begin_destruction(connection, batch.id, lease.run_id)
            paths = [file.path for file in batches.files(connection, batch.id)]
        failpoint("destroy.after-begun")
        discard(store, [batch.manifest])
        failpoint("destroy.after-manifest")
        discard(store, paths)
        failpoint("destroy.after-files")
        with engine.control.write() as connection:
            batches.destroyed(connection, batch.id, lease.run_id, engine.now())
        failpoint("destroy.after-settled")
        return True
    finally:
        session.close()
