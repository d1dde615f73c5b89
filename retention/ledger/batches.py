"""Batches: one transaction of a source, one set of files; `prepared` before the source commits, then settled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.ledger import chain, runs, shards, tables
from retention.ledger.canonical import sha256
from retention.ledger.shards import Lease
from retention.ledger.times import instant, maybe_instant, stamp
from retention.ledger.values import may_lie_between, text_value, value_text

if TYPE_CHECKING:
    from retention.archive.manifest import FileEntry


class BatchState(Enum):
    """Literal states; the allowed edges are BATCH_EDGES, all others are refused."""

    #: files are durable, the source has not been told to commit, or its answer has not been written down
    PREPARED = "prepared"
    #: the source committed: the records are gone, the archive has them
    COMMITTED = "committed"
    #: the source rolled back: the records are there, the files are litter
    ABORTED = "aborted"


BATCH_EDGES: frozenset[tuple[BatchState, BatchState]] = frozenset(
    {
        (BatchState.PREPARED, BatchState.COMMITTED),  # the source committed
        (BatchState.PREPARED, BatchState.ABORTED),  # the source rolled back
    }
)

#: columns that the ledger keeps of a settled batch
FACTS = (
    "run_id",
    "number",
    "records",
    "rows",
    "dependent_rows",
    "key_least",
    "key_greatest",
    "merkle_root",
    "hold_epoch",
    "source_transaction",
    "archive",
    "manifest",
    "manifest_sha256",
    "destroy_after",
    "prepared_at",
    "resolved_at",
)
#: columns that the ledger keeps of a destruction
DESTROYED_FACTS = ("archive", "manifest", "manifest_sha256", "destroyed_at", "destroyed_by_run")
FILE_FACTS = ("archive", "path", "table_name", "rows", "bytes", "sha256", "merkle_root")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch. Times are aware, UTC."""

    id: str
    run_id: str
    #: counts the run's batches; those of one shard in steps of the number of shards
    number: int
    state: BatchState = BatchState.PREPARED
    #: SOURCE.CLASS
    records: str
    rows: int
    dependent_rows: int
    #: of the first key column: numbers by number, text by codepoint; None = unknown
    key_least: object
    key_greatest: object
    #: of the root table's rows; None for `archive: none`, as are the next three
    merkle_root: str | None
    archive: str | None
    manifest: str | None
    manifest_sha256: str | None
    #: the last local day of `keep`; None = for ever, or no archive
    destroy_after: date | None
    hold_epoch: int
    source_transaction: str | None
    #: the keys as a JSON list, where neither an archive file nor a transaction id could tell later whether they went
    keys: str | None = None
    prepared_at: datetime
    resolved_at: datetime | None = None
    destroyed_at: datetime | None = None
    #: set before ``destroyed_at``: the first file may be gone already
    destroyed_by_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class BatchFile:
    """A data file of a batch, as the control database knows it."""

    archive: str
    path: str
    table: str
    rows: int
    bytes: int
    sha256: str
    merkle_root: str


def prepare(connection: sa.Connection, lease: Lease, batch: Batch, files: Sequence[FileEntry]) -> None:
    """Write the batch down as prepared. When this has been committed, and only then, may the source commit.

    Raises RunTaken unless the run is running and the lease on its shard still holds: a process that was stopped and comes
    back cannot delete anything after another has taken its shard over. Raises ValueError for files without an archive.
    """
    if lease.run_id != batch.run_id or not shards.still_leased(connection, lease):
        raise runs.taken(batch.run_id)
    if files and batch.archive is None:
        raise ValueError("files stand in an archive")
    row = vars(batch) | {
        "state": BatchState.PREPARED.value,
        "key_least": None if batch.key_least is None else value_text(batch.key_least),
        "key_greatest": None if batch.key_greatest is None else value_text(batch.key_greatest),
        "destroy_after": None if batch.destroy_after is None else batch.destroy_after.isoformat(),
        "prepared_at": stamp(batch.prepared_at),
    }
    connection.execute(tables.batch.insert(), row)
    for file in files:
        connection.execute(
            tables.archive_file.insert(),
            {
                "archive": batch.archive,
                "path": file.path,
                "batch_id": batch.id,
                "table_name": file.table,
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "merkle_root": file.merkle_root,
            },
        )


def commit(connection: sa.Connection, batch_id: str, at: datetime) -> None:
    """The source committed: the batch is done, and the ledger says so with everything that proves it.

    Raises Refused for a batch that is not prepared, NotFound where there is none.
    """
    _settle(connection, batch_id, BatchState.COMMITTED, at, {})


def abort(connection: sa.Connection, batch_id: str, reason: str, at: datetime) -> None:
    """The source rolled back. The files stay known, so that they can be found and removed. Raises as `commit` does."""
    _settle(connection, batch_id, BatchState.ABORTED, at, {"reason": reason})


def _settle(connection: sa.Connection, batch_id: str, to: BatchState, at: datetime, more: Mapping[str, object]) -> None:
    state = get(connection, batch_id).state
    if (state, to) not in BATCH_EDGES:
        raise Refused(
            f"batch {batch_id} is {state.value} and cannot become {to.value}",
            hint="Another process has settled it, from what the source said.",
        )
    table = tables.batch
    connection.execute(table.update().where(table.c.id == batch_id).values(state=to.value, resolved_at=stamp(at)))
    row = connection.execute(with_policy().where(table.c.id == batch_id)).one()._asdict()
    body = facts(row, file_rows(connection, batch_id)) | dict(more)
    chain.append(connection, kind=f"batch.{to.value}", subject=batch_id, body=body, at=at)


def facts(row: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """What the ledger keeps of a settled batch, from its row (with its run's policy) and its files' rows."""
    return {
        **{name: row[name] for name in FACTS},
        "policy": row["policy"],
        "policy_digest": row["policy_digest"],
        "keys_sha256": None if row["keys"] is None else sha256(row["keys"]),
        "files": [{name: file[name] for name in FILE_FACTS} for file in files],
    }


def begin_destruction(connection: sa.Connection, batch_id: str, run_id: str) -> None:
    """From the commit of this on, the batch's archive files may be incomplete: nothing is restored or proven from them.

    A destruction that goes on with what another left takes the batch over. Raises as `destroyed` does.
    """
    _destructible(connection, batch_id)
    _update(connection, batch_id, {"destroyed_by_run": run_id})


def destroyed(connection: sa.Connection, batch_id: str, run_id: str, at: datetime) -> None:
    """The batch's archive files were destroyed; the ledger keeps what proves that they had existed.

    Raises Refused for a batch that is not committed, has no archive or was destroyed before, and NotFound.
    """
    _destructible(connection, batch_id)
    _update(connection, batch_id, {"destroyed_at": stamp(at), "destroyed_by_run": run_id})
    table = tables.batch
    row = connection.execute(table.select().where(table.c.id == batch_id)).one()._asdict()
    chain.append(connection, kind="archive.destroyed", subject=batch_id, body=destroyed_facts(row), at=at)


def _destructible(connection: sa.Connection, batch_id: str) -> None:
    batch = get(connection, batch_id)
    if batch.state is not BatchState.COMMITTED or batch.archive is None or batch.destroyed_at is not None:
        raise Refused(f"batch {batch_id} has no archive files that could be destroyed")


def _update(connection: sa.Connection, batch_id: str, values: Mapping[str, object]) -> None:
    connection.execute(tables.batch.update().where(tables.batch.c.id == batch_id).values(values))


def destroyed_facts(row: Mapping[str, Any]) -> dict[str, object]:
    """What the ledger keeps of a destruction, from the batch's row."""
    return {name: row[name] for name in DESTROYED_FACTS}


def get(connection: sa.Connection, batch_id: str) -> Batch:
    """The batch. Raises NotFound."""
    row = connection.execute(tables.batch.select().where(tables.batch.c.id == batch_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no batch {batch_id}", hint="`retention archive list` shows those that there are.")
    return _batch(row._asdict())


def files(connection: sa.Connection, batch_id: str) -> list[BatchFile]:
    """The batch's data files, by path."""
    return [
        BatchFile(table=row["table_name"], **{name: row[name] for name in FILE_FACTS if name != "table_name"})
        for row in file_rows(connection, batch_id)
    ]


def in_doubt(connection: sa.Connection, run_id: str | None = None) -> list[Batch]:
    """Batches that are prepared and not settled, of one run or (run_id None) of all, in the order of their making."""
    wanted = [tables.batch.c.state == BatchState.PREPARED.value]
    return _select(connection, *wanted, *([] if run_id is None else [tables.batch.c.run_id == run_id]))


def committed(
    connection: sa.Connection,
    *,
    records: str | None = None,
    run: str | None = None,
    not_destroyed: bool = False,
) -> list[Batch]:
    """Committed batches, oldest first, narrowed by what is given; ``not_destroyed``: nor was their destruction begun."""
    table = tables.batch
    wanted = [table.c.state == BatchState.COMMITTED.value]
    for column, value in ((table.c.records, records), (table.c.run_id, run)):
        if value is not None:
            wanted.append(column == value)
    if not_destroyed:
        wanted.append(table.c.destroyed_by_run.is_(None))
    return _select(connection, *wanted)


def archived(connection: sa.Connection, archive: str) -> list[Batch]:
    """Batches whose files stand in the archive, oldest first: committed, and not destroyed (those whose destruction was
    begun may lack some)."""
    table = tables.batch
    wanted = (table.c.state == BatchState.COMMITTED.value, table.c.archive == archive, table.c.destroyed_at.is_(None))
    return _select(connection, *wanted)


def any_archived(connection: sa.Connection, archive: str) -> bool:
    """Whether a batch was ever written to the archive, whatever became of it: the archive must then exist."""
    return connection.execute(sa.select(tables.batch.c.id).where(tables.batch.c.archive == archive)).first() is not None


def known_paths(connection: sa.Connection, run_id: str) -> list[str]:
    """Paths of the manifests and data files of the run's batches, except of aborted ones: all others are litter."""
    batch, file = tables.batch, tables.archive_file
    ours = (batch.c.run_id == run_id) & (batch.c.state != BatchState.ABORTED.value)
    manifests = connection.scalars(sa.select(batch.c.manifest).where(ours, batch.c.manifest.is_not(None)))
    files = connection.scalars(sa.select(file.c.path).join(batch, batch.c.id == file.c.batch_id).where(ours))
    return sorted([*manifests, *files])


def next_number(connection: sa.Connection, run_id: str, *, shard: int, shards: int) -> int:
    """The number of the shard's next batch: ``shard`` at first, then in steps of ``shards``, so that shards that are
    worked on at once never use the same."""
    of_shard = (tables.batch.c.run_id == run_id) & (tables.batch.c.number % shards == shard % shards)
    greatest: int | None = connection.execute(sa.select(sa.func.max(tables.batch.c.number)).where(of_shard)).scalar()
    return shard if greatest is None else greatest + shards


def exists(connection: sa.Connection, batch_id: str) -> bool:
    """Whether the batch was ever prepared."""
    return connection.execute(sa.select(tables.batch.c.id).where(tables.batch.c.id == batch_id)).first() is not None


def candidates(connection: sa.Connection, records: str, first_key_value: object) -> list[Batch]:
    """Committed batches that may hold a record with this value of the first key column: all that do, perhaps others."""
    table = tables.batch
    wanted = [table.c.state == BatchState.COMMITTED.value, table.c.records == records]
    ranges = connection.execute(sa.select(table.c.id, table.c.key_least, table.c.key_greatest).where(*wanted))
    # compared here and not in SQL, where the order of text depends on the database's locale
    found = [
        row.id
        for row in ranges
        if row.key_least is None
        or row.key_greatest is None
        or may_lie_between(first_key_value, text_value(row.key_least), text_value(row.key_greatest))
    ]
    return [get(connection, batch_id) for batch_id in found]


def since(connection: sa.Connection, records: str, at: datetime, *, least: object, greatest: object) -> list[Batch]:
    """Batches of the class that were prepared at ``at`` or later and not rolled back, oldest first: all that may hold a
    record whose first key column lies between ``least`` and ``greatest`` (None = unknown), perhaps others."""
    table = tables.batch
    wanted = (
        table.c.records == records,
        table.c.state != BatchState.ABORTED.value,
        table.c.prepared_at >= stamp(at),
    )
    return [
        batch
        for batch in _select(connection, *wanted)
        # two ranges meet where one of them begins within the other
        if may_lie_between(batch.key_least, least, greatest)
        or may_lie_between(least, batch.key_least, batch.key_greatest)
    ]


def due_for_destruction(connection: sa.Connection, archive: str, today: date) -> list[Batch]:
    """Batches of the archive whose `keep` is over: its last local day lies before ``today``."""
    table = tables.batch
    due = (
        table.c.state == BatchState.COMMITTED.value,
        table.c.archive == archive,
        table.c.destroyed_at.is_(None),
        table.c.destroy_after < today.isoformat(),  # ISO days of four-digit years: text order is day order
    )
    return _select(connection, *due)


def with_policy() -> sa.Select[Any]:
    """Batches' rows, each with its run's policy, as `facts` takes them."""
    return sa.select(tables.batch, tables.run.c.policy, tables.run.c.policy_digest).join(
        tables.run, tables.run.c.id == tables.batch.c.run_id
    )


def file_rows(connection: sa.Connection, batch_id: str) -> list[dict[str, Any]]:
    """Rows of the batch's files, by path, as `facts` takes them."""
    query = tables.archive_file.select().where(tables.archive_file.c.batch_id == batch_id)
    return sorted((row._asdict() for row in connection.execute(query)), key=lambda row: str(row["path"]))


def _select(connection: sa.Connection, *wanted: sa.ColumnElement[bool]) -> list[Batch]:
    query = tables.batch.select().where(*wanted).order_by(tables.batch.c.prepared_at, tables.batch.c.id)
    return [_batch(row._asdict()) for row in connection.execute(query)]


def _batch(row: dict[str, Any]) -> Batch:
    return Batch(
        **row
        | {
            "state": BatchState(row["state"]),
            "key_least": None if row["key_least"] is None else text_value(row["key_least"]),
            "key_greatest": None if row["key_greatest"] is None else text_value(row["key_greatest"]),
            "destroy_after": None if row["destroy_after"] is None else date.fromisoformat(row["destroy_after"]),
            "prepared_at": instant(row["prepared_at"]),
            "resolved_at": maybe_instant(row["resolved_at"]),
            "destroyed_at": maybe_instant(row["destroyed_at"]),
        }
    )
