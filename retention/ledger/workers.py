"""The processes of the scheduled worker, and when each was last heard of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from retention.ledger import tables
from retention.ledger.owner import is_alive
from retention.ledger.times import instant, stamp

WorkerKind = Literal["worker", "beat", "up"]

#: what a process is doing that never saw good policy files
WAITS = "waits until the policy files are mended"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process. Instants are aware, UTC."""

    #: ``host:pid:start``, as `owner.this_process` says it
    name: str
    kind: WorkerKind
    started_at: datetime
    seen_at: datetime
    #: for a person
    doing: str | None

    def is_alive(self, now: datetime) -> bool:
        """Whether the process lives: on this host the system tells, on another it was seen in the last 2 minutes."""
        return is_alive(self.name, seen_at=self.seen_at, now=now)


def seen(connection: sa.Connection, *, name: str, kind: WorkerKind, doing: str | None, at: datetime) -> None:
    """Show others that the process lives. A new one takes the row of a dead one, so that rows do not pile up."""
    table = tables.worker
    values = {"seen_at": stamp(at), "doing": doing}
    if connection.execute(table.update().where(table.c.name == name).values(values)).rowcount:
        return
    row = {"name": name, "kind": kind, "started_at": stamp(at), **values}
    dead = next((one.name for one in known(connection) if not one.is_alive(at)), None)
    if dead is None:
        connection.execute(table.insert(), row)
    else:
        connection.execute(table.update().where(table.c.name == dead).values(row))


def known(connection: sa.Connection) -> list[Worker]:
    """Every process that has a row, the living and the dead, by name."""
    return [
        Worker(
            name=row.name,
            kind=row.kind,
            started_at=instant(row.started_at),
            seen_at=instant(row.seen_at),
            doing=row.doing,
        )
        for row in connection.execute(sa.select(tables.worker).order_by(tables.worker.c.name))
    ]
