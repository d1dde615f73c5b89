"""Holds' rows: placed, confirmed by every source, released. Each of these stands in the ledger."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from retention.errors import EvidenceBroken, InputError, NotFound, Refused
from retention.holds.hold import HOLD_EDGES, Hold, HoldState
from retention.holds.scope import Key, Keys
from retention.ledger import chain, tables
from retention.ledger.holds_json import scope_text, text_scope
from retention.ledger.times import instant, maybe_instant, stamp
from retention.ledger.values import key_text, text_key

#: columns that never change; they stand in the entry `hold.placed`
PLACED_FACTS = ("matter", "reason", "placed_by", "placed_at", "scope", "first_day", "last_day")
#: columns that a release sets; they stand in the entry `hold.released`
RELEASED_FACTS = ("released_by", "released_at", "release_reason")


def new_id(connection: sa.Connection, at: datetime) -> str:
    """An id that no hold has yet: the UTC day and four random hex digits."""
    while True:
        hold_id = f"H-{at.astimezone(UTC):%Y%m%d}-{secrets.token_hex(2)}"
        if connection.execute(sa.select(tables.hold.c.id).where(tables.hold.c.id == hold_id)).first() is None:
            return hold_id


def place(connection: sa.Connection, hold: Hold, keys: Iterable[Key], sources: Sequence[str]) -> Hold:
    """Write a pending hold down and return it as stored: with the count of its different keys.

    It is in force when every one of ``sources`` has confirmed it; from the commit on, deletions in the
    others are refused. Raises InputError for keys without a key scope or the reverse, no source, an id that exists.
    """
    texts = sorted({key_text(key) for key in keys})
    if isinstance(hold.scope, Keys) != bool(texts):
        raise InputError("a hold on keys needs keys, and no other hold has any", hint="Name at least one key.")
    if not sources:
        raise InputError(
            "the hold touches no source, so nothing could ever confirm it", hint="Declare the source's classes first."
        )
    if hold.state is not HoldState.PENDING:
        raise ValueError("a hold begins pending")
    if connection.execute(sa.select(tables.hold.c.id).where(tables.hold.c.id == hold.id)).first() is not None:
        raise InputError(f"there is a hold {hold.id} already", hint="Place it again; it gets another id.")
    if isinstance(hold.scope, Keys):
        hold = replace(hold, scope=replace(hold.scope, count=len(texts)))
    row = {
        "id": hold.id,
        "matter": hold.matter,
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "placed_at": stamp(hold.placed_at),
        "scope": scope_text(hold.scope),
        "first_day": None if hold.first_day is None else hold.first_day.isoformat(),
        "last_day": None if hold.last_day is None else hold.last_day.isoformat(),
        "state": HoldState.PENDING.value,
    }
    names = sorted(set(sources))
    body = placed_facts(row, texts, names) | {"epoch": _next_epoch(connection)}
    connection.execute(tables.hold.insert(), row)
    if texts:
        connection.execute(tables.hold_key.insert(), [{"hold_id": hold.id, "key": text} for text in texts])
    connection.execute(tables.hold_source.insert(), [{"hold_id": hold.id, "source": name} for name in names])
    chain.append(connection, kind="hold.placed", subject=hold.id, body=body, at=hold.placed_at)
    return hold


def placed_facts(row: Mapping[str, Any], keys: Iterable[str], sources: Sequence[str]) -> dict[str, object]:
    """What the ledger keeps of a hold as placed: from its row, its keys' texts and its sources' names, in order."""
    digest = hashlib.sha256()
    for text in keys:
        digest.update(text.encode(errors="surrogateescape") + b"\n")  # canonical JSON has no line breaks
    return {name: row[name] for name in PLACED_FACTS} | {"keys_sha256": digest.hexdigest(), "sources": list(sources)}


def confirm(connection: sa.Connection, hold_id: str, source: str, at: datetime) -> Hold:
    """The source has passed its fence: whatever deletes there from now on has read the hold.

    The last source to confirm puts the hold in force. Confirming twice, or after the release, changes nothing more.
    Raises NotFound for a hold or a source of it that does not exist.
    """
    hold = get(connection, hold_id)
    table = tables.hold_source
    this = (table.c.hold_id == hold_id) & (table.c.source == source)
    if connection.execute(sa.select(table.c.source).where(this)).first() is None:
        raise NotFound(f"hold {hold_id} does not touch the source {source}")
    first = connection.execute(
        table.update().where(this, table.c.confirmed_at.is_(None)).values(confirmed_at=stamp(at))
    )
    if first.rowcount:
        body = {"confirmed": confirmations(connection, hold_id)}
        chain.append(connection, kind="hold.confirmed", subject=hold_id, body=body, at=at)
    if (hold.state, HoldState.IN_FORCE) not in HOLD_EDGES or unconfirmed(connection, hold_id):
        return hold
    connection.execute(tables.hold.update().where(tables.hold.c.id == hold_id).values(state=HoldState.IN_FORCE.value))
    in_force = {"state": HoldState.IN_FORCE.value}
    chain.append(connection, kind="hold.in-force", subject=hold_id, body=in_force, at=at)
    return get(connection, hold_id)


def release(connection: sa.Connection, hold_id: str, *, by: str, reason: str, at: datetime) -> Hold:
    """Release the hold; it protects on until its grace is over. Raises Refused if it was released before, NotFound."""
    hold = get(connection, hold_id)
    if (hold.state, HoldState.RELEASED) not in HOLD_EDGES:
        raise Refused(
            f"hold {hold_id} was released before, by {hold.released_by}",
            hint="To protect the records again, place a new hold.",
        )
    values = {"state": HoldState.RELEASED.value, "released_by": by, "released_at": stamp(at), "release_reason": reason}
    connection.execute(tables.hold.update().where(tables.hold.c.id == hold_id).values(values))
    body = released_facts(values) | {"epoch": _next_epoch(connection)}
    chain.append(connection, kind="hold.released", subject=hold_id, body=body, at=at)
    return get(connection, hold_id)


def released_facts(row: Mapping[str, Any]) -> dict[str, object]:
    """What the ledger keeps of a release, from the hold's row."""
    return {name: row[name] for name in RELEASED_FACTS}


def active(connection: sa.Connection, now: datetime, grace: timedelta) -> list[Hold]:
    """Holds that block deletion at ``now``, oldest first: pending, in force, and released less than ``grace`` ago."""
    released = tables.hold.c.released_at
    return _select(connection, sa.or_(released.is_(None), released > stamp(now - grace)))


def all_holds(connection: sa.Connection) -> list[Hold]:
    """Every hold that was ever placed, oldest first."""
    return _select(connection)


def get(connection: sa.Connection, hold_id: str) -> Hold:
    """The hold. Raises NotFound."""
    found = _select(connection, tables.hold.c.id == hold_id)
    if not found:
        raise NotFound(f"there is no hold {hold_id}", hint="`retention hold list` shows those that there are.")
    return found[0]


def keys(connection: sa.Connection, hold_id: str) -> list[Key]:
    """The keys of a hold on keys, in the order of their texts; empty for any other hold."""
    query = sa.select(tables.hold_key.c.key).where(tables.hold_key.c.hold_id == hold_id)
    return [text_key(text) for text in sorted(connection.scalars(query))]


def unconfirmed(connection: sa.Connection, hold_id: str) -> list[str]:
    """Names of the sources that have not confirmed the hold, in order."""
    table = tables.hold_source
    query = sa.select(table.c.source).where(table.c.hold_id == hold_id, table.c.confirmed_at.is_(None))
    return sorted(connection.scalars(query))


def confirmations(connection: sa.Connection, hold_id: str) -> dict[str, str | None]:
    """When each source of the hold confirmed it, as stored; None where it has not."""
    table = tables.hold_source
    rows = connection.execute(sa.select(table.c.source, table.c.confirmed_at).where(table.c.hold_id == hold_id))
    return {row.source: row.confirmed_at for row in rows}


def pending_sources(connection: sa.Connection) -> frozenset[str]:
    """Sources that have not confirmed some pending hold: every deletion there is refused."""
    table = tables.hold_source
    query = (
        sa.select(table.c.source)
        .join(tables.hold, tables.hold.c.id == table.c.hold_id)
        .where(tables.hold.c.state == HoldState.PENDING.value, table.c.confirmed_at.is_(None))
    )
    return frozenset(connection.scalars(query))


def epoch(connection: sa.Connection) -> int:
    """How often a hold was placed or released. The end of a grace is no such change: ask `active` for that."""
    found: int = connection.execute(sa.select(tables.head.c.hold_epoch).where(tables.head.c.id == 1)).scalar_one()
    return found


def _next_epoch(connection: sa.Connection) -> int:
    connection.execute(
        tables.head.update().where(tables.head.c.id == 1).values(hold_epoch=tables.head.c.hold_epoch + 1)
    )
    return epoch(connection)


def _select(connection: sa.Connection, *wanted: sa.ColumnElement[bool]) -> list[Hold]:
    query = tables.hold.select().where(*wanted).order_by(tables.hold.c.placed_at, tables.hold.c.id)
    return [_hold(row._asdict()) for row in connection.execute(query)]


def _hold(row: dict[str, Any]) -> Hold:
    try:
        return Hold(
            **row
            | {
                "placed_at": instant(row["placed_at"]),
                "scope": text_scope(row["scope"], hold=row["id"]),
                "state": HoldState(row["state"]),
                "first_day": None if row["first_day"] is None else date.fromisoformat(row["first_day"]),
                "last_day": None if row["last_day"] is None else date.fromisoformat(row["last_day"]),
                "released_at": maybe_instant(row["released_at"]),
            }
        )
    except ValueError as error:
        # whoever reads the holds stops here: one that cannot be read may cover anything
        raise EvidenceBroken(
            f"hold {row['id']} was damaged in the control database: {error}",
            hint="`retention audit verify` says what else was.",
        ) from None
