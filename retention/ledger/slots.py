"""Slots: the scheduled times of each policy, each written down once, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.ledger import chain, tables
from retention.ledger.times import instant, maybe_instant, stamp


class SlotState(Enum):
    """Literal states; the allowed edges are SLOT_EDGES, all others are refused."""

    DUE = "due"
    BEGUN = "begun"
    SKIPPED = "skipped"
    MISSED = "missed"
    QUARANTINED = "quarantined"


SLOT_EDGES: frozenset[tuple[SlotState, SlotState]] = frozenset(
    {
        (SlotState.DUE, SlotState.BEGUN),  # its run was made
        (SlotState.DUE, SlotState.MISSED),  # nobody had begun it when a later one came, whose run does for both
        (SlotState.DUE, SlotState.SKIPPED),  # nobody had begun it within the hour, and its policy skips such slots
        (SlotState.DUE, SlotState.QUARANTINED),  # beginning it failed too often
        (SlotState.QUARANTINED, SlotState.DUE),  # a person says to try again
    }
)

#: the ledger's entry for arriving in a state; what `begun` means, the run's own entries say
ENTRY: Mapping[SlotState, str] = {
    SlotState.DUE: "slot.opened",
    SlotState.SKIPPED: "slot.skipped",
    SlotState.MISSED: "slot.missed",
    SlotState.BEGUN: "slot.begun",
    SlotState.QUARANTINED: "slot.quarantined",
}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One scheduled time of one policy. Instants are aware, UTC."""

    policy: str
    #: wall time in ``zone``, "2026-10-01T02:00"; with the policy's name it is the slot's identity
    local_time: str
    zone: str
    due_at: datetime
    state: SlotState
    #: the run that it became
    run_id: str | None
    opened_at: datetime | None
    #: how long after ``due_at`` it was opened, and, once begun, begun
    late_seconds: int | None
    #: why it is in this state, for a person
    reason: str | None
    owner: str | None
    owner_seen_at: datetime | None
    attempts: int
    not_before: datetime | None

    @property
    def id(self) -> str:
        """``policy@2026-10-01T02:00``: what the ledger and the logs call it."""
        return slot_id(self.policy, self.local_time)


def slot_id(policy: str, local_time: str) -> str:
    """What the ledger and the logs call the slot."""
    return f"{policy}@{local_time}"


def open_slot(
    connection: sa.Connection,
    *,
    policy: str,
    local_time: str,
    zone: str,
    due_at: datetime,
    state: SlotState,
    reason: str | None,
    at: datetime,
) -> bool:
    """Write the slot down with its ledger entry; False, and nothing is written, where it stands there already.

    The caller's transaction is the only one that writes, so of any number of beats exactly one opens a slot.
    """
    table = tables.slot
    there = (table.c.policy == policy) & (table.c.local_time == local_time)
    if connection.execute(sa.select(table.c.policy).where(there)).first() is not None:
        return False
    late = max(int((at - due_at).total_seconds()), 0)
    row = {
        "policy": policy,
        "local_time": local_time,
        "zone": zone,
        "due_at": stamp(due_at),
        "state": state.value,
        "opened_at": stamp(at),
        "late_seconds": late,
        "reason": reason,
        "attempts": 0,
    }
    connection.execute(table.insert(), row)
    body = {"zone": zone, "due_at": stamp(due_at), "late_seconds": late, "reason": reason}
    chain.append(connection, kind=ENTRY[state], subject=f"{policy}@{local_time}", body=body, at=at)
    return True


def move(
    connection: sa.Connection,
    slot: Slot,
    to: SlotState,
    *,
    reason: str,
    at: datetime,
    run_id: str | None = None,
) -> Slot:
    """Move the slot along one of SLOT_EDGES and say so in the ledger, in one transaction; nobody owns it afterwards.

    What ``slot`` says may be old: its state now is what counts. Raises Refused for every other edge, NotFound.
    """
    now = get(connection, slot.policy, slot.local_time)
    if (now.state, to) not in SLOT_EDGES:
        raise Refused(f"slot {slot.id} is {now.state.value} and cannot become {to.value}")
    values: dict[str, object] = {"state": to.value, "reason": reason, "owner": None, "owner_seen_at": None}
    if to is SlotState.DUE:
        values |= {"attempts": 0, "not_before": None}
    if to is SlotState.BEGUN:
        values |= {"run_id": run_id, "late_seconds": max(int((at - now.due_at).total_seconds()), 0)}
    connection.execute(tables.slot.update().where(row_of(slot)).values(values))
    moved = get(connection, slot.policy, slot.local_time)
    body = {"reason": reason, "run": run_id, "late_seconds": moved.late_seconds}
    chain.append(connection, kind=ENTRY[to], subject=slot.id, body=body, at=at)
    return moved


def get(connection: sa.Connection, policy: str, local_time: str) -> Slot:
    """The slot. Raises NotFound."""
    query = tables.slot.select().where(tables.slot.c.policy == policy, tables.slot.c.local_time == local_time)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no slot {policy}@{local_time}", hint="`retention schedule` lists what is to come.")
    return _slot(row._asdict())


def in_state(connection: sa.Connection, state: SlotState, policy: str | None = None) -> list[Slot]:
    """The slots in a state, of one policy or of all, by the instant at which they were due."""
    query = tables.slot.select().where(tables.slot.c.state == state.value)
    if policy is not None:
        query = query.where(tables.slot.c.policy == policy)
    rows = connection.execute(query.order_by(tables.slot.c.due_at, tables.slot.c.policy))
    return [_slot(row._asdict()) for row in rows]


def newest(connection: sa.Connection, policies: Sequence[str], last: int = 1) -> dict[str, list[Slot]]:
    """The ``last`` newest slots of each policy, newest first."""
    found: dict[str, list[Slot]] = {}
    for policy in policies:
        query = tables.slot.select().where(tables.slot.c.policy == policy)
        rows = connection.execute(query.order_by(tables.slot.c.due_at.desc()).limit(last))
        found[policy] = [_slot(row._asdict()) for row in rows]
    return found


def local_times(connection: sa.Connection, policy: str, *, since: str) -> set[str]:
    """The wall times of the policy's slots that are not before ``since``, in whatever zone and state they are."""
    there = (tables.slot.c.policy == policy) & (tables.slot.c.local_time >= since)
    return set(connection.execute(sa.select(tables.slot.c.local_time).where(there)).scalars())


def row_of(slot: Slot) -> sa.ColumnElement[bool]:
    """Which row of the table is the slot's."""
    return (tables.slot.c.policy == slot.policy) & (tables.slot.c.local_time == slot.local_time)


def _slot(row: Mapping[str, Any]) -> Slot:
    return Slot(
        policy=row["policy"],
        local_time=row["local_time"],
        zone=row["zone"],
        due_at=instant(row["due_at"]),
        state=SlotState(row["state"]),
        run_id=row["run_id"],
        opened_at=maybe_instant(row["opened_at"]),
        late_seconds=row["late_seconds"],
        reason=row["reason"],
        owner=row["owner"],
        owner_seen_at=maybe_instant(row["owner_seen_at"]),
        attempts=row["attempts"],
        not_before=maybe_instant(row["not_before"]),
    )
