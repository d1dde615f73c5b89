"""Shards: disjoint ranges of a run's keys, how far each one is, and the lease of whoever works on it.

A lease is the owner in the shard's row, refreshed by a heartbeat. Taking a shard over writes another owner, and a batch is
prepared only in a control transaction that still finds the old one: so nothing that was lost can be worked on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.holds.scope import Key
from retention.ledger import runs, tables
from retention.ledger.owner import holds_lease
from retention.ledger.runs import RunState, RunTaken
from retention.ledger.times import maybe_instant, stamp
from retention.ledger.values import key_text, text_key


class ShardState(Enum):
    """Open until everything due in it was done, or until it failed too often; `reopen` leads back from the latter."""

    OPEN = "open"
    DONE = "done"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A range of keys in the source's own order: ``after < key <= until``, None is open. Times are aware, UTC."""

    run_id: str
    #: from 1
    number: int
    after: Key | None
    until: Key | None
    #: everything up to this key was dealt with
    cursor: Key | None
    state: ShardState
    owner: str | None
    owner_seen_at: datetime | None
    #: failures since it last went on
    attempts: int
    #: when it may be tried again
    not_before: datetime | None
    #: of the last attempt that failed
    error: str | None
    #: when somebody last began to work on it
    served_at: datetime | None

    def is_leased(self, now: datetime) -> bool:
        """Whether somebody who lives works on it."""
        return holds_lease(self.owner, seen_at=self.owner_seen_at, now=now)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work on one shard, as long as the shard's row says so."""

    run_id: str
    number: int
    owner: str


def create(connection: sa.Connection, run_id: str, ends: Sequence[Key] = ()) -> None:
    """Cut the run's keys after each of ``ends``, which stand in the source's order: one shard more than ends."""
    edges = [None, *map(key_text, ends), None]
    connection.execute(
        tables.shard.insert(),
        [
            {"run_id": run_id, "number": number, "after": after, "until": until}
            | {"state": ShardState.OPEN.value, "attempts": 0}
            for number, (after, until) in enumerate(pairwise(edges), start=1)
        ],
    )


def of_run(connection: sa.Connection, run_id: str) -> list[Shard]:
    """The run's shards, in the order of their keys."""
    return of_runs(connection, [run_id])[run_id]


def of_runs(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, list[Shard]]:
    """The shards of each of the runs, in the order of their keys."""
    query = tables.shard.select().where(tables.shard.c.run_id.in_(run_ids)).order_by(tables.shard.c.number)
    found: dict[str, list[Shard]] = {run_id: [] for run_id in run_ids}
    for row in connection.execute(query):
        found[row.run_id].append(shard_of(row._asdict()))
    return found


def get(connection: sa.Connection, run_id: str, number: int) -> Shard:
    """The shard. Raises NotFound."""
    row = connection.execute(tables.shard.select().where(_is(run_id, number))).one_or_none()
    if row is None:
        raise NotFound(f"run {run_id} has no shard {number}")
    return shard_of(row._asdict())


def take(connection: sa.Connection, shard: Shard, owner: str, at: datetime) -> Lease:
    """Become the shard's owner. ``shard`` was read in this transaction. Raises RunTaken while its owner lives.

    From then on the former owner, should it only have been stopped, is refused by `batches.prepare`.
    """
    if shard.is_leased(at):
        raise _taken_by(shard)
    values = {"owner": owner, "owner_seen_at": stamp(at), "served_at": stamp(at)}
    connection.execute(tables.shard.update().where(_is(shard.run_id, shard.number)).values(values))
    return Lease(run_id=shard.run_id, number=shard.number, owner=owner)


def died(connection: sa.Connection, shard: Shard) -> Shard:
    """The owner of the shard died, or was silent for too long: that counts as an attempt that failed, for what kills each
    process that works on it must not do so for ever. Returns the shard as it is then; ``shard`` was read in this transaction."""
    values = {"attempts": shard.attempts + 1, "error": "its process died", "owner": None, "owner_seen_at": None}
    connection.execute(tables.shard.update().where(_is(shard.run_id, shard.number)).values(values))
    return get(connection, shard.run_id, shard.number)


def quarantine(connection: sa.Connection, shard: Shard) -> None:
    """Nobody tries again until a person says so. ``shard`` was read in this transaction, and has no owner."""
    values = {"state": ShardState.QUARANTINED.value, "not_before": None}
    connection.execute(tables.shard.update().where(_is(shard.run_id, shard.number)).values(values))


def take_all(connection: sa.Connection, run_id: str, owner: str, at: datetime) -> list[Lease]:
    """Become the owner of every shard of the run that is not done. Raises RunTaken while any of them has a living owner, and
    Refused where the run is over."""
    state = runs.get(connection, run_id).state
    if state in runs.FINAL:
        raise Refused(f"run {run_id} is over: it is {state.value}", hint="Plan a new run.")
    left = [one for one in of_run(connection, run_id) if one.state is not ShardState.DONE]
    return [take(connection, one, owner, at) for one in left]


def refuse_taken(connection: sa.Connection, run_id: str, at: datetime) -> None:
    """Raise RunTaken while somebody who lives works on any shard of the run."""
    for shard in of_run(connection, run_id):
        if shard.is_leased(at):
            raise _taken_by(shard)


def seen(connection: sa.Connection, run_id: str, owner: str, at: datetime) -> bool:
    """Show that the owner lives; at least every minute. False where it has nothing of the run any more."""
    ours = (tables.shard.c.run_id == run_id) & (tables.shard.c.owner == owner)
    return bool(connection.execute(tables.shard.update().where(ours).values(owner_seen_at=stamp(at))).rowcount)


def leave(connection: sa.Connection, run_id: str, owner: str) -> None:
    """Give up what the owner has of the run, so that whoever comes next can go on."""
    ours = (tables.shard.c.run_id == run_id) & (tables.shard.c.owner == owner)
    connection.execute(tables.shard.update().where(ours).values(owner=None, owner_seen_at=None))


def still_leased(connection: sa.Connection, lease: Lease) -> bool:
    """Whether the run is running and nobody has taken the shard over."""
    shard, run = tables.shard, tables.run
    query = sa.select(run.c.state, shard.c.state, shard.c.owner).join(run, run.c.id == shard.c.run_id)
    found = connection.execute(query.where(_is(lease.run_id, lease.number))).one_or_none()
    return found == (RunState.RUNNING.value, ShardState.OPEN.value, lease.owner)


def is_owned(connection: sa.Connection, lease: Lease) -> bool:
    """Whether nobody has taken the shard over, whether its run is running yet or not."""
    return get(connection, lease.run_id, lease.number).owner == lease.owner


def require(connection: sa.Connection, lease: Lease) -> None:
    """Raise RunTaken unless the lease still holds."""
    if not still_leased(connection, lease):
        raise runs.taken(lease.run_id)


def advance(connection: sa.Connection, lease: Lease, cursor: Key | None) -> None:
    """Everything up to ``cursor`` was dealt with; whatever failed before has passed. Raises RunTaken."""
    text = None if cursor is None else key_text(cursor)
    _update(connection, lease, {"cursor": text, "attempts": 0, "not_before": None, "error": None})


def went_on(connection: sa.Connection, lease: Lease) -> None:
    """A batch was done: whatever failed before has passed. Nothing where the lease was lost."""
    table = tables.shard
    failed_before = _is(lease.run_id, lease.number) & (table.c.owner == lease.owner) & (table.c.attempts > 0)
    connection.execute(table.update().where(failed_before).values(attempts=0, error=None))


def done(connection: sa.Connection, lease: Lease) -> None:
    """Everything due in the shard was done. Raises RunTaken."""
    _update(connection, lease, {"state": ShardState.DONE.value, "owner": None, "owner_seen_at": None, "error": None})


def failed(connection: sa.Connection, lease: Lease, error: str, *, not_before: datetime) -> Shard:
    """An attempt failed, and the shard may be tried again from ``not_before`` on. Returns it as it is then. Raises RunTaken."""
    values = {"attempts": tables.shard.c.attempts + 1, "not_before": stamp(not_before), "error": error}
    _update(connection, lease, values | {"owner": None, "owner_seen_at": None})
    return get(connection, lease.run_id, lease.number)


def wait(connection: sa.Connection, lease: Lease, *, not_before: datetime) -> None:
    """Give the shard up until then, because its source has no room for it. Raises RunTaken."""
    _update(connection, lease, {"not_before": stamp(not_before), "owner": None, "owner_seen_at": None})


def reopen(connection: sa.Connection, run_id: str) -> None:
    """Try again what was quarantined or waits for its next attempt."""
    table = tables.shard
    left = (table.c.run_id == run_id) & (table.c.state != ShardState.DONE.value)
    values = {"state": ShardState.OPEN.value, "attempts": 0, "not_before": None, "error": None}
    connection.execute(table.update().where(left).values(values))


def _taken_by(shard: Shard) -> RunTaken:
    return RunTaken(
        f"run {shard.run_id} is being worked on by {shard.owner}",
        hint="wait until it has ended, or stop that process; then try again",
    )


def _update(connection: sa.Connection, lease: Lease, values: Mapping[str, Any]) -> None:
    """Change the shard as its owner. A run that stops running takes its shards from their owners, see `runs.move`."""
    ours = _is(lease.run_id, lease.number) & (tables.shard.c.owner == lease.owner)
    if connection.execute(tables.shard.update().where(ours).values(values)).rowcount != 1:
        raise runs.taken(lease.run_id)


def _is(run_id: str, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(tables.shard.c.run_id == run_id, tables.shard.c.number == number)


def shard_of(row: Mapping[str, Any]) -> Shard:
    """The shard of a row of its table."""
    return Shard(
        run_id=row["run_id"],
        number=row["number"],
        after=_maybe_key(row["after"]),
        until=_maybe_key(row["until"]),
        cursor=_maybe_key(row["cursor"]),
        state=ShardState(row["state"]),
        owner=row["owner"],
        owner_seen_at=maybe_instant(row["owner_seen_at"]),
        attempts=row["attempts"],
        not_before=maybe_instant(row["not_before"]),
        error=row["error"],
        served_at=maybe_instant(row["served_at"]),
    )


def _maybe_key(text: str | None) -> Key | None:
    return None if text is None else text_key(text)
