"""How many records a hold covers today."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retention.disposition.held import HeldView, read_holds
from retention.disposition.holding import touched
from retention.holds.hold import Hold
from retention.sources import statements

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def covered(engine: Engine, hold: Hold) -> dict[str, int]:
    """Class address -> records that the hold covers now, dependents' holds included; classes without any are left out."""
    found: dict[str, int] = {}
    holds = replace(read_holds(engine), holds=(hold,))
    classes = engine.project.config.classes
    sources = {classes[address].source for address in touched(engine, hold.scope) if address in classes}
    for address in (address for source in sorted(sources) for address in engine.addresses(source)):
        bound = engine.bound(address)
        session = bound.source.session()
        try:
            session.begin(write=False)
            predicate = HeldView(engine, session, bound).predicate(holds)
            [(count,)] = session.rows(statements.count(bound, predicate))
        finally:
            session.close()
        if count:
            found[address] = int(count)
    return found
