"""The holds in effect, as one session of a source sees them: read after the fence, keys in a temporary table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.errors import EvidenceBroken, Refused
from retention.holds.hold import Hold
from retention.holds.scope import Everything, Keys, Matching, Subject, Tagged, WholeClass
from retention.ledger import holds as hold_rows
from retention.ledger.cross_check import check_holds
from retention.policy.record_class import RecordClass
from retention.sources.bound_class import BoundClass
from retention.sources.check import check_condition
from retention.sources.keys import key_from_text
from retention.sources.predicate import held, held_columns, held_keys

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from retention.disposition.engine import Engine
    from retention.sources.source import Session


class HoldPending(Refused):
    """A hold is being placed, or could not be confirmed. It passes by itself, or with `retention hold confirm`."""

    code = "hold-pending"


@dataclass(frozen=True, kw_only=True)
class HoldsInEffect:
    """What protects at ``at``: holds not released, and released ones within their grace; pending ones included."""

    epoch: int
    at: datetime
    holds: tuple[Hold, ...]
    #: sources that some hold is not yet confirmed by: every deletion there is refused
    unconfirmed: frozenset[str]
    #: why some hold cannot be applied with today's retention.yaml, a sentence each: every deletion is refused
    lost: tuple[str, ...] = ()


def read_holds(engine: Engine) -> HoldsInEffect:
    """Read the holds in effect now, from one state of the control database."""
    now = engine.now()
    classes = engine.project.config.classes
    with engine.control.read() as connection:
        holds = tuple(hold_rows.active(connection, now, engine.project.config.hold_release_grace))
        return HoldsInEffect(
            epoch=hold_rows.epoch(connection),
            at=now,
            holds=holds,
            unconfirmed=frozenset(hold_rows.pending_sources(connection)),
            lost=tuple(reason for hold in holds if (reason := _lost(hold, classes)) is not None),
        )


def _lost(hold: Hold, classes: Mapping[str, RecordClass]) -> str | None:
    """What the hold names and retention.yaml no longer declares: a class that was renamed must not shake off its holds."""
    scope = hold.scope
    match scope:
        case Keys() | WholeClass():
            named: tuple[str, ...] = (scope.records,)
        case Tagged() | Matching():
            named = scope.records
        case Subject():
            declared = any(scope.subject in one.subjects for one in classes.values())
            return (
                None
                if declared
                else f"hold {hold.id} is on a {scope.subject}, which no class has as a subject any more"
            )
        case Everything():
            return None
    for address in named:
        if address not in classes:
            return f"hold {hold.id} is on {address}, which retention.yaml does not declare any more"
        if isinstance(scope, Tagged) and classes[address].tags is None:
            return f"hold {hold.id} is on a tag of {address}, which has no tags any more"
    return None


def refuse_damaged(engine: Engine) -> None:
    """Raise EvidenceBroken where the holds are not what the ledger says was placed and released: a part of the control
    database that was restored or changed by itself must not unprotect anything."""
    with engine.control.read() as connection:
        findings = check_holds(connection)
    if findings:
        raise EvidenceBroken(
            f"nothing is planned or deleted while the holds are not what the ledger says: {findings[0].what}",
            hint="`retention audit verify` names everything; restore the control database, or place the holds anew",
        )


def refuse_unconfirmed(holds: HoldsInEffect, source: str) -> None:
    """Raise HoldPending while a hold on ``source`` is pending, for what it covers may not be known there yet, and Refused
    while some hold cannot be applied at all."""
    if holds.lost:
        raise Refused(
            f"{holds.lost[0]}, so nothing is deleted",
            hint="put back in retention.yaml what it names; or place the hold anew, then release this one",
        )
    if source in holds.unconfirmed:
        raise HoldPending(
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
        for hold in holds.holds:
            self._refuse_unknown_columns(hold)
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

    def _refuse_unknown_columns(self, hold: Hold) -> None:
        """Raise Refused where a hold asks for what the table does not have (any more)."""
        if not isinstance(hold.scope, Matching):
            return
        for bound in (self._kin[address] for address in hold.scope.records if address in self._kin):
            for problem in check_condition(bound, hold.scope.where, self._engine.project.policies.timezone):
                raise Refused(
                    f"hold {hold.id} cannot be applied to {bound.address}: {problem.message}",
                    hint="place a hold that covers the same records otherwise, then release this one",
                )

    def _load_keys(self, holds: HoldsInEffect) -> None:
        for address, bound in self._kin.items():
            scoped = [hold for hold in holds.holds if isinstance(hold.scope, Keys) and hold.scope.records == address]
            if scoped:
                self._session.load_temporary(held_keys(address), _key_table(self._engine, bound, scoped))


def _key_table(engine: Engine, bound: BoundClass, scoped: list[Hold]) -> pa.Table:
    """`held_columns`; keys are stored as text, so that a hold can be placed while its source is away."""
    owners: list[str] = []
    keys = []
    with engine.control.read() as connection:
        for hold in scoped:
            for stored in hold_rows.keys(connection, hold.id):
                owners.append(hold.id)
                keys.append(key_from_text(bound, str(stored[0])))
    places = range(len(bound.record_class.key))
    values = [*(pa.array([key[place] for key in keys]) for place in places), pa.array(owners, pa.string())]
    return pa.table(values, names=list(held_columns(bound)))
