"""What happens to one record, when and why; for a deleted one, when it went, by which rule, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from retention.disposition.archived import ArchivedRecord, find_archived
from retention.disposition.held import HeldView, read_holds
from retention.holds.hold import Hold
from retention.policy.decide import Decision, Fate, decide
from retention.sources import statements
from retention.sources.keys import key_from_text
from retention.sources.record import read_record

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``decision`` is None where the record is not in the source (any more)."""

    records: str
    key: tuple[object, ...]
    as_of: datetime
    decision: Decision | None
    #: holds that cover the record now, released ones within their grace included
    holds: tuple[Hold, ...]
    #: every time that it was archived and deleted, oldest first
    archived: tuple[ArchivedRecord, ...]
    outcome: str


def explain(engine: Engine, address: str, text: str, as_of: datetime) -> Explanation:
    """Explain the record of class ``address`` with the key ``text``. Raises NotFound and InputError for names and keys."""
    bound = engine.checked(address)
    key = key_from_text(bound, text)
    holds = read_holds(engine)
    session = bound.source.session()
    try:
        session.begin(write=False)
        record = read_record(session, bound, key, engine.project.policies.timezone)
        covering: tuple[Hold, ...] = ()
        if record is not None and holds.holds:
            view = HeldView(engine, session, bound)
            covering = tuple(
                hold
                for hold in holds.holds
                if session.rows(statements.covers(bound, view.predicate(holds, only=hold), key))
            )
    finally:
        session.close()
    decision = None
    if record is not None:
        decision = decide(record, bound.record_class, engine.project.policies, as_of, bool(covering))
    archived = tuple(find_archived(engine, address, key))
    return Explanation(
        records=address,
        key=key,
        as_of=as_of,
        decision=decision,
        holds=covering,
        archived=archived,
        outcome=_outcome(engine, decision, covering, archived),
    )


def _outcome(
    engine: Engine, decision: Decision | None, holds: tuple[Hold, ...], archived: tuple[ArchivedRecord, ...]
) -> str:
    if decision is None:
        if archived:
            last = archived[-1]
            return f"It was archived and deleted by run {last.run.id} under {last.run.policy}."
        return "There is no such record, and no archive of ours holds it."
    if decision.operative is None:
        return "No policy matches it: it is kept, and counted as uncovered."
    if holds:
        names = ", ".join(hold.id for hold in holds)
        grace = engine.project.config.hold_release_grace
        return f"Nothing happens to it while {names} covers it, and for {grace.days} days after the release."
    fates = {judgement.policy.name: judgement.fate for judgement in decision.judgements if judgement.matched}
    if Fate.DUE in fates.values():
        return f"The next run of {decision.operative} archives and deletes it."
    missing = sorted(name for name, fate in fates.items() if fate is Fate.NO_CLOCK)
    if missing:
        return f"It is kept: {', '.join(missing)} matches it, and it has no clock to count from."
    day = _last_expiry(decision)
    if day is None:
        return "It is kept for ever: the period of a matching policy never ends."
    return f"The first run of {decision.operative} on or after {day} archives and deletes it, if nothing changes."


def _last_expiry(decision: Decision) -> date | None:
    """The day from which every matching policy's period is over."""
    days: list[date] = []
    for judgement in decision.judgements:
        if judgement.matched:
            if judgement.expires is None:
                return None
            days.append(judgement.expires.date() if isinstance(judgement.expires, datetime) else judgement.expires)
    return max(days)
