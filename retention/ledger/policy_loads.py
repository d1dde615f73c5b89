"""When the policy files were last read and taken, and when they were last refused, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from retention.ledger import tables
from retention.ledger.times import instant, stamp

Outcome = Literal["good", "bad"]


@dataclass(frozen=True, kw_only=True)
class PolicyLoad:
    """One reading of retention.yaml and policies/."""

    outcome: Outcome
    #: aware, UTC
    at: datetime
    #: what all policies mean together; None for files that could not be read
    set_digest: str | None
    #: every problem, a line each; None where there was none
    message: str | None


def record(connection: sa.Connection, load: PolicyLoad) -> None:
    """Write the reading down, in the place of the last one with the same outcome."""
    table = tables.policy_load
    values = {"at": stamp(load.at), "set_digest": load.set_digest, "message": load.message}
    if connection.execute(table.update().where(table.c.outcome == load.outcome).values(values)).rowcount == 0:
        connection.execute(table.insert(), {"outcome": load.outcome, **values})


def read(connection: sa.Connection) -> dict[Outcome, PolicyLoad]:
    """The last good and the last bad reading; the later of the two is how the files are now."""
    return {
        row.outcome: PolicyLoad(outcome=row.outcome, at=instant(row.at), set_digest=row.set_digest, message=row.message)
        for row in connection.execute(sa.select(tables.policy_load))
    }
