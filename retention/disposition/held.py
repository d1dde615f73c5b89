"""The holds in effect, as one session of a source sees them: read after the fence, keys in a temporary table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.errors import Refused
from retention.holds.hold import Hold
from retention.holds.scope import Keys
from retention.ledger import holds as hold_rows
from retention.sources.bound_class import BoundClass
from retention.sources.keys import key_from_text
from retention.sources.predicate import held, held_keys

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from retention.disposition.engine import Engine
    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class HoldsInEffect:
    """What protects at ``at``: holds not released, and released ones within their grace; pending ones included."""

    epoch: int
    at: datetime
    holds: tuple[Hold, ...]
    #: sources that some hold is not yet confirmed by: every deletion there is refused
    unconfirmed: frozenset[str]


def read_holds(engine: Engine) -> HoldsInEffect:
    """Read the holds in effect now, from one state of the control database."""
    now = engine.now()
    with engine.control.read() as connection:
        return HoldsInEffect(
            epoch=hold_rows.epoch(connection),
            at=now,
            holds=tuple(hold_rows.active(connection, now, engine.project.config.hold_release_grace)),
            unconfirmed=frozenset(hold_rows.pending_sources(connection)),
        )


def refuse_unconfirmed(holds: HoldsInEffect, source: str) -> None:
    """Raise Refused while a hold on ``source`` is pending: what it covers may not be known there yet."""
    if source in holds.unconfirmed:
        raise Refused(
            f"a hold on source {source} is pending: it has not been confirmed there yet, so nothing there is deleted",
            hint="`retention hold list` shows it; `retention hold confirm` tries again once the source can be reached",
        )


class HeldView:
    """The held predicate for one session and class. Key scopes live in a temporary table of the session, loaded when
    the hold epoch has moved; a rollback takes the table with it, so the owner says when a transaction ended."""

    def __init__(self, engine: Engine, session: Session, bound: BoundClass) -> None:
        self._engine = engine
        self._session = session
        self._bound = bound
        self._kin = engine.kin(bound.address)
        self._loaded: tuple[int, frozenset[str]] | None = None

    def predicate(self, holds: HoldsInEffect, *, only: Hold | None = None) -> ColumnElement[bool]:
        """What is held now, or what one of the holds covers; call inside the transaction that uses it, after its fence
        was taken."""
        version = (holds.epoch, frozenset(hold.id for hold in holds.holds))
        if self._loaded != version:
            self._load_keys(holds)
            self._loaded = version
        return held(
            self._bound, holds.holds if only is None else (only,), self._kin, self._engine.project.policies.timezone
        )

    def rolled_back(self) -> None:
        """The transaction in which keys may have been loaded is gone."""
        self._loaded = None

    def _load_keys(self, holds: HoldsInEffect) -> None:
        for address, bound in self._kin.items():
            scoped = [hold for hold in holds.holds if isinstance(hold.scope, Keys) and hold.scope.records == address]
            if scoped:
                self._session.load_temporary(held_keys(address), _key_table(self._engine, bound, scoped))


def _key_table(engine: Engine, bound: BoundClass, scoped: list[Hold]) -> pa.Table:
    """Columns ``hold`` and the key's; keys are stored as text, so that a hold can be placed while its source is away."""
    owners: list[str] = []
    keys = []
    with engine.control.read() as connection:
        for hold in scoped:
            for stored in hold_rows.keys(connection, hold.id):
                owners.append(hold.id)
                keys.append(key_from_text(bound, str(stored[0])))
    columns: dict[str, object] = {"hold": pa.array(owners, pa.string())}
    for position, name in enumerate(bound.record_class.key):
        columns[name] = pa.array([key[position] for key in keys])
    return pa.table(columns)
