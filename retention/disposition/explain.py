"""What happens to one record, when and why; for a deleted one, when it went, by which rule, and where it lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from retention.disposition.archived import ArchivedRecord, find_archived, find_unprovable
from retention.disposition.held import HeldView, read_holds
from retention.holds.hold import Hold
from retention.holds.scope import Key
from retention.policy.calendar import day_start, local_day
from retention.policy.clock import Moment
from retention.policy.decide import Decision, Fate, Record, decide, expires_of
from retention.policy.policy import Retain
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.keys import key_from_text
from retention.sources.presence import as_written
from retention.sources.record import read_record, read_records
from retention.sources.sql import any_of, raw
from retention.sources.statements import is_key

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``decision`` is None where the record is not in the source (any more)."""

    records: str
    key: tuple[object, ...]
    as_of: datetime
    decision: Decision | None
    #: holds that cover the record now, released ones within their grace included
    holds: tuple[Hold, ...]
    #: every time that it was archived and deleted, oldest first; where there is nothing else to say of the key: every
    #: batch that may have held it and cannot be looked into any more
    archived: tuple[ArchivedRecord, ...]
    outcome: str
    #: table -> how many of its rows block the record
    blocked_by: Mapping[str, int] = field(default_factory=dict)


def explain(engine: Engine, address: str, text: str, as_of: datetime) -> Explanation:
    """Explain the record of class ``address`` with the key ``text``. Raises NotFound and InputError for names and keys."""
    bound = engine.checked(address)
    [key] = as_written(bound, [key_from_text(bound, text)])
    holds = read_holds(engine)
    session = bound.source.session()
    try:
        session.begin(write=False)
        policies = engine.project.policies
        named = [policy.retain.clock for policy in policies.of(address)]
        record = read_record(session, bound, key, policies.timezone, named)
        group = [] if record is None else _group(engine, session, bound, record)
        covering: tuple[Hold, ...] = ()
        blocked: Mapping[str, int] = {}
        if record is not None:
            blocked = _blocked_by(session, bound, key)
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
        decision = decide(record, bound.record_class, policies, as_of, bool(covering), group, blocked=bool(blocked))
    archived = tuple(find_archived(engine, address, key))
    if record is None and not archived:
        archived = tuple(find_unprovable(engine, address, key))
    return Explanation(
        records=address,
        key=key,
        as_of=as_of,
        decision=decision,
        holds=covering,
        archived=archived,
        outcome=_gone(engine, archived)
        if record is None or decision is None
        else _outcome(engine, record, bound, decision, covering, blocked),
        blocked_by=blocked,
    )


def _group(engine: Engine, session: Session, bound: BoundClass, record: Record) -> list[Record]:
    """The records that are in a group with it, of any policy that keeps the last of each."""
    policies = engine.project.policies
    keeps = [policy.retain.keep_last for policy in policies.of(bound.address)]
    columns = {keep.per for keep in keeps if keep is not None}
    key = tuple(record.values[name] for name in bound.record_class.key)
    beside = bound.aliased("beside")
    chosen = [
        sa.exists(raw("1")).select_from(beside.rows)
        .where(is_key(beside, key), beside.column(name) == bound.column(name)).correlate_except(beside.rows)
        for name in sorted(columns)
    ]  # fmt: skip
    named = [policy.retain.clock for policy in policies.of(bound.address)]
    return read_records(session, bound, any_of(chosen), policies.timezone, named) if chosen else []


def _blocked_by(session: Session, bound: BoundClass, key: Key) -> dict[str, int]:
    found: Counter[str] = Counter()
    for dependent in bound.blocking:
        [(rows,)] = session.rows(statements.count_blocking(bound, dependent, key))
        found[dependent.table.name] += int(rows)
    return {table: rows for table, rows in found.items() if rows}


def _gone(engine: Engine, archived: tuple[ArchivedRecord, ...]) -> str:
    if not archived:
        return "There is no such record, and no archive of ours holds it."
    last = archived[-1]
    assert last.batch.resolved_at is not None
    day = local_day(last.batch.resolved_at, engine.project.policies.timezone)
    went = f"archived and deleted on {day} by run {last.run.id} under {last.run.policy}"
    if last.inclusion is not None:
        return f"It was {went}."
    went = went if last.batch.archive is not None else went.removeprefix("archived and ")
    what = f"There is no such record. Its key lies among those of the {last.batch.rows:,} records {went}"
    if last.batch.archive is None:
        return f"{what}; they were not archived, so nobody can tell whether it was one of them."
    if last.batch.destroyed_at is None:
        return f"{what}; their archive copy is being destroyed by run {last.batch.destroyed_by_run}."
    day = local_day(last.batch.destroyed_at, engine.project.policies.timezone)
    return (
        f"{what}; their archive copy was destroyed on {day} by run"
        f" {last.batch.destroyed_by_run}, so nobody can tell any more whether it was one of them."
    )


def _outcome(
    engine: Engine,
    record: Record,
    bound: BoundClass,
    decision: Decision,
    holds: tuple[Hold, ...],
    blocked: Mapping[str, int],
) -> str:
    if record.tags is None:
        return "It is kept: its tags cannot be read, so nobody can tell which policies ask for it."
    if decision.operative is None:
        return "No policy matches it: it is kept, and counted as uncovered."
    if holds:
        return "Nothing happens to it: " + "; ".join(_protects(hold, engine) for hold in holds) + "."
    matching = [judgement for judgement in decision.judgements if judgement.matched]
    if any(judgement.fate is Fate.DUE for judgement in matching):
        return f"The next run of {decision.operative} archives and deletes it."
    if any(judgement.fate is Fate.BLOCKED for judgement in matching):
        rows = ", ".join(f"{count:,} {'row' if count == 1 else 'rows'} of {table}" for table, count in blocked.items())
        return f"It is blocked by {rows}: the first run of {decision.operative} after they are gone takes it."
    missing = sorted(judgement.policy.name for judgement in matching if judgement.fate is Fate.NO_CLOCK)
    if missing:
        return f"It is kept: {', '.join(missing)} matches it, and it has no clock to count from."
    last = sorted(judgement.policy.name for judgement in matching if judgement.last and judgement.expired)
    if last:
        return f"It is kept: {', '.join(last)} keeps the last of each group, and it is one of them."
    day = _last_expiry(engine, record, bound, decision)
    if day is None:
        return "It is kept for ever: the period of a rule that covers it never ends."
    return f"The first run of {decision.operative} {day} archives and deletes it, if nothing changes."


def _protects(hold: Hold, engine: Engine) -> str:
    grace, zone = engine.project.config.hold_release_grace, engine.project.policies.timezone
    if hold.released_at is None:
        return f"{hold.id} covers it until it is released, and for {_span(grace)} after"
    return f"{hold.id} is released and protects it until {(hold.released_at + grace).astimezone(zone):%Y-%m-%d %H:%M} ({zone})"


def _span(grace: timedelta) -> str:
    days, hours = grace.days, grace.seconds // 3600
    return " ".join(
        f"{count} {unit if count != 1 else unit[:-1]}"
        for count, unit in ((days, "days"), (hours, "hours"))
        if count or not (days or hours)
    )


def _last_expiry(engine: Engine, record: Record, bound: BoundClass, decision: Decision) -> str | None:
    """From when every matching policy's period and every legal minimum is over: "on or after DAY" or "after TIME"."""
    zone = engine.project.policies.timezone
    ends: list[Moment | None] = [judgement.expires for judgement in decision.judgements if judgement.matched]
    for minimum in decision.minimums:
        ends.append(expires_of(Retain(period=minimum.period), record, bound.record_class, engine.project.policies))
    instants: dict[datetime, str] = {}
    for end in ends:
        if end is None:
            return None
        if isinstance(end, datetime):
            instants[end] = f"after {end.astimezone(zone):%Y-%m-%d %H:%M:%S} ({zone})"
        else:
            instants[day_start(end, zone)] = f"on or after {end}"
    return instants[max(instants)]
