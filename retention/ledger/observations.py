"""What was last counted or verified, and when: for those who watch. Nothing is decided by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from retention.ledger import tables
from retention.ledger.canonical import canonical
from retention.ledger.times import instant, stamp

Kind = Literal["debt", "archive", "ledger", "survey"]

#: the target of what is about everything
EVERYTHING = "*"
#: the target of the ledger as compared with an export or a checkpoint: whoever verifies it without one cannot say that it
#: agrees with them again
KEPT_ELSEWHERE = "kept elsewhere"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The newest of its kind about one policy, one archive or everything."""

    kind: Kind
    target: str
    #: aware, UTC
    at: datetime
    facts: Mapping[str, Any]


def last_good(seen: Observation | None) -> str | None:
    """When the archive was last found in order, however it was found since: ISO, UTC; None: never."""
    if seen is None:
        return None
    good: str | None = seen.at.isoformat() if seen.facts["ok"] else seen.facts.get("verified_at")
    return good


def record(connection: sa.Connection, seen: Observation) -> None:
    """Write it down in the place of the one before."""
    table = tables.observation
    this = (table.c.kind == seen.kind) & (table.c.target == seen.target)
    values = {"at": stamp(seen.at), "body": canonical(seen.facts)}
    if connection.execute(table.update().where(this).values(values)).rowcount == 0:
        connection.execute(table.insert(), {"kind": seen.kind, "target": seen.target, **values})


def read(connection: sa.Connection, kind: Kind) -> dict[str, Observation]:
    """All of one kind, by target."""
    table = tables.observation
    return {
        row.target: Observation(kind=kind, target=row.target, at=instant(row.at), facts=json.loads(row.body))
        for row in connection.execute(table.select().where(table.c.kind == kind))
    }
