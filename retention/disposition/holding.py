"""Placing and releasing holds: written down first, then fenced on every source, only then reported as in force."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from retention.errors import InputError, NotFound, SourceFailed
from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.ledger import holds as hold_rows

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A hold as it stands, and the sources that could not confirm it yet with the reason of each."""

    hold: Hold
    unconfirmed: dict[str, str]


def touched(engine: Engine, scope: Scope) -> list[str]:
    """The classes that a scope may cover, by address."""
    classes = engine.project.config.classes
    match scope:
        case Keys() | WholeClass():
            return [scope.records]
        case Tagged() | Matching():
            return list(scope.records)
        case Subject():
            return [address for address, declared in classes.items() if scope.subject in declared.subjects]
        case Everything():
            return list(classes)


def place(
    engine: Engine,
    *,
    matter: str,
    reason: str,
    scope: Scope,
    keys: Iterable[str] = (),
    first_day: date | None = None,
    last_day: date | None = None,
) -> Placed:
    """Place a hold. When this returns without unconfirmed sources, nothing that it covers is deleted by any path.

    ``keys`` are texts, one a record (a composite key as a JSON list). Raises InputError on an empty matter or reason.
    """
    if not matter.strip() or not reason.strip():
        raise InputError("a hold needs a matter and a reason", hint="say --matter and --reason in words")
    if first_day is not None and last_day is not None and last_day < first_day:
        raise InputError(f"--to {last_day} lies before --from {first_day}", hint="swap the two dates")
    now = engine.now()
    hold = Hold(
        id=f"H-{now:%Y%m%d}-{secrets.token_hex(3)}",
        matter=matter,
        reason=reason,
        placed_by=engine.person,
        placed_at=now,
        scope=scope,
        state=HoldState.PENDING,
        first_day=first_day,
        last_day=last_day,
    )
    # A hold on a class touches every class of its source: a parent or a dependent may be covered through it.
    sources = sorted({engine.project.config.classes[address].source for address in touched(engine, scope)})
    with engine.control.write() as connection:
        hold_rows.place(connection, hold, ((key,) for key in keys), sources)
    return confirm(engine, hold.id, sources)


def confirm(engine: Engine, hold_id: str, sources: Sequence[str] | None = None) -> Placed:
    """Pass the fence of every class of each source that has not confirmed the hold yet.

    After the fence, whatever deletes there began after the hold was written down, and so reads it.
    """
    failures: dict[str, str] = {}
    with engine.control.read() as connection:
        waiting = hold_rows.unconfirmed(connection, hold_id)
    for name in waiting if sources is None else [source for source in sources if source in waiting]:
        try:
            _pass_fences(engine, name)
        except (SourceFailed, NotFound) as error:  # away, or not in retention.yaml any more
            failures[name] = error.message
            continue
        with engine.control.write() as connection:
            hold_rows.confirm(connection, hold_id, name, engine.now())
    with engine.control.read() as connection:
        return Placed(hold=hold_rows.get(connection, hold_id), unconfirmed=failures)


def confirm_pending(engine: Engine) -> list[Placed]:
    """Try again for every pending hold; what still cannot be confirmed is in the answers."""
    with engine.control.read() as connection:
        pending = [hold.id for hold in hold_rows.all_holds(connection) if hold.state is HoldState.PENDING]
    return [confirm(engine, hold_id) for hold_id in pending]


def release(engine: Engine, hold_id: str, *, reason: str) -> Hold:
    """Release a hold. What it covered stays for `hold_release_grace` more, so that a mistake can be undone."""
    if not reason.strip():
        raise InputError("releasing a hold needs a reason", hint="say --reason in words")
    with engine.control.write() as connection:
        hold_rows.release(connection, hold_id, by=engine.person, reason=reason, at=engine.now())
        return hold_rows.get(connection, hold_id)


def _pass_fences(engine: Engine, source: str) -> None:
    session = engine.source(source).session()
    try:
        session.pass_fence(engine.addresses(source))
    finally:
        session.close()
