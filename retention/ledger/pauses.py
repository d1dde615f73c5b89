"""Pauses: what somebody has told to wait, and until somebody else says to go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from retention.ledger import chain, tables
from retention.ledger.times import instant, stamp

#: the target that is everything
EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class Pause:
    """``target`` waits: a policy by its name, a run by its id, or EVERYTHING. ``at`` is aware, UTC."""

    target: str
    by: str
    at: datetime
    reason: str


def put(connection: sa.Connection, pause: Pause) -> None:
    """Let the target wait, and say so in the ledger; where it waits already, for this reason from now on."""
    table = tables.pause
    row = {"target": pause.target, "by": pause.by, "at": stamp(pause.at), "reason": pause.reason}
    if not connection.execute(table.update().where(table.c.target == pause.target).values(row)).rowcount:
        connection.execute(table.insert(), row)
    _tell(connection, "work.paused", pause)


def lift(connection: sa.Connection, pause: Pause) -> bool:
    """Let the target go on, and say so in the ledger, with who, when and why from ``pause``; False where it did not wait."""
    if not connection.execute(tables.pause.delete().where(tables.pause.c.target == pause.target)).rowcount:
        return False
    _tell(connection, "work.resumed", pause)
    return True


def known(connection: sa.Connection) -> list[Pause]:
    """Everything that waits, by target."""
    rows = connection.execute(tables.pause.select().order_by(tables.pause.c.target))
    return [Pause(target=row.target, by=row.by, at=instant(row.at), reason=row.reason) for row in rows]


def waiting(connection: sa.Connection, policy: str, run_id: str) -> bool:
    """Whether the run is to wait, by itself, with its policy or with everything."""
    target = tables.pause.c.target
    return connection.execute(sa.select(target).where(target.in_([EVERYTHING, policy, run_id]))).first() is not None


def _tell(connection: sa.Connection, kind: str, pause: Pause) -> None:
    body = {"by": pause.by, "reason": pause.reason}
    chain.append(connection, kind=kind, subject=pause.target, body=body, at=pause.at)
