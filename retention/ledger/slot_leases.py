"""Who begins a slot's run: as with a shard, one living owner at a time, and a count of the attempts that failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from retention.ledger import chain, slots, tables
from retention.ledger.owner import holds_lease
from retention.ledger.slots import Slot, SlotState
from retention.ledger.times import stamp


def is_leased(slot: Slot, now: datetime) -> bool:
    """Whether somebody who lives is beginning it."""
    return holds_lease(slot.owner, seen_at=slot.owner_seen_at, now=now)


def take(connection: sa.Connection, slot: Slot, owner: str, at: datetime) -> None:
    """Become the owner of a slot that nobody is beginning: ``slot`` was read in this transaction."""
    _update(connection, slot, {"owner": owner, "owner_seen_at": stamp(at)})


def died(connection: sa.Connection, slot: Slot) -> Slot:
    """The owner of the slot died, or was silent for too long: an attempt that failed. Returns the slot as it is then."""
    _update(connection, slot, {"attempts": slot.attempts + 1, "owner": None, "owner_seen_at": None})
    return slots.get(connection, slot.policy, slot.local_time)


def seen(connection: sa.Connection, slot: Slot, owner: str, at: datetime) -> bool:
    """Show that the owner lives; False where it is the owner no more."""
    mine = slots.row_of(slot) & (tables.slot.c.owner == owner)
    return bool(connection.execute(tables.slot.update().where(mine).values(owner_seen_at=stamp(at))).rowcount)


def still_leased(connection: sa.Connection, slot: Slot, owner: str) -> bool:
    """Whether the slot is due and nobody has taken it over."""
    now = slots.get(connection, slot.policy, slot.local_time)
    return now.state is SlotState.DUE and now.owner == owner


def leave(
    connection: sa.Connection, slot: Slot, owner: str, *, reason: str, attempts: int, not_before: datetime
) -> None:
    """Give the slot up until then, with why; nothing where another has it."""
    values = {"owner": None, "owner_seen_at": None, "reason": reason, "attempts": attempts}
    if still_leased(connection, slot, owner):
        _update(connection, slot, values | {"not_before": stamp(not_before)})


def renew(connection: sa.Connection, run_id: str, new_run_id: str, *, reason: str, at: datetime) -> None:
    """The slot whose run was ``run_id`` has another run, and the ledger says why."""
    table = tables.slot
    [row] = connection.execute(sa.select(table.c.policy, table.c.local_time).where(table.c.run_id == run_id))
    slot = slots.get(connection, row.policy, row.local_time)
    _update(connection, slot, {"run_id": new_run_id, "reason": reason})
    body = {"reason": reason, "run": new_run_id, "late_seconds": slot.late_seconds}
    chain.append(connection, kind=slots.ENTRY[SlotState.BEGUN], subject=slot.id, body=body, at=at)


def runs_of_slots(connection: sa.Connection) -> dict[str, str]:
    """The runs that slots became: each one's id, and its slot's."""
    table = tables.slot
    query = sa.select(table.c.run_id, table.c.policy, table.c.local_time).where(table.c.run_id.is_not(None))
    return {run_id: slots.slot_id(policy, local_time) for run_id, policy, local_time in connection.execute(query)}


def _update(connection: sa.Connection, slot: Slot, values: Mapping[str, Any]) -> None:
    connection.execute(tables.slot.update().where(slots.row_of(slot)).values(values))
