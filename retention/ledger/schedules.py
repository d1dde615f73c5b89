"""Until when each policy's schedule was looked at: every slot up to then stands in the table of slots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from retention.ledger import tables
from retention.ledger.times import instant, stamp


@dataclass(frozen=True, kw_only=True)
class Checked:
    """How far a policy's schedule was looked at. Instants are aware, UTC."""

    policy: str
    cron: str
    #: IANA name
    zone: str
    checked_until: datetime
    #: when this cron in this zone was first seen
    since: datetime


def read(connection: sa.Connection) -> dict[str, Checked]:
    """Every schedule that was ever seen, by its policy."""
    rows = connection.execute(tables.schedule.select())
    return {
        row.policy: Checked(
            policy=row.policy,
            cron=row.cron,
            zone=row.zone,
            checked_until=instant(row.checked_until),
            since=instant(row.since),
        )
        for row in rows
    }


def write(connection: sa.Connection, checked: Checked) -> None:
    """Write down how far the schedule was looked at. A ``checked_until`` before the one that stands there is not taken:
    a clock that was set back, or a slower beat, brings nothing back."""
    table = tables.schedule
    values = {
        "cron": checked.cron,
        "zone": checked.zone,
        "checked_until": stamp(checked.checked_until),
        "since": stamp(checked.since),
    }
    before = connection.execute(
        sa.select(table.c.checked_until).where(table.c.policy == checked.policy)
    ).scalar_one_or_none()
    if before is None:
        connection.execute(table.insert(), {"policy": checked.policy, **values})
        return
    values["checked_until"] = max(before, values["checked_until"])
    connection.execute(table.update().where(table.c.policy == checked.policy).values(values))
