"""The status, read from the control database alone: no source and no broker is asked, so it answers while they are away, and
asking costs nothing there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.disposition.claim import waiting
from retention.ledger import observations, pauses, runs, shards, slot_leases, tallies, workers
from retention.ledger.observations import EVERYTHING, KEPT_ELSEWHERE
from retention.scheduling.opening import FRESH
from retention.watching.attention import attention
from retention.watching.look import Look
from retention.watching.policies import gone, policies, policy_load
from retention.watching.status import Status
from retention.watching.work import given_up, processes, run_status, waited

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

#: a prepared batch is settled within moments; one that is older than this is in doubt
DOUBT = timedelta(minutes=2)


def read_status(engine: Engine) -> Status:
    """Read it in one transaction. Raises ControlFailed."""
    now = engine.now()
    with engine.control.read() as connection:
        status = _read(Look(engine=engine, connection=connection, now=now))
    return replace(status, attention=tuple(attention(status)))


def _read(look: Look) -> Status:
    connection, now = look.connection, look.now
    everybody = workers.known(connection)
    unfinished = runs.unfinished(connection)
    every = shards.of_runs(connection, [run.id for run in unfinished])
    slot_of = slot_leases.runs_of_slots(connection)
    due = waiting(look.engine, connection)
    oldest = tallies.oldest_hold(connection)
    return Status(
        at=now.isoformat(),
        policies=policies(look),
        gone=gone(look),
        runs=tuple(run_status(look, run, every[run.id], slot_of.get(run.id)) for run in unfinished),
        runs_by_state=tallies.runs_by_state(connection),
        queue_depth=len(due),
        queue_oldest_seconds=max((waited(look, item) for item in due), default=0.0),
        workers=processes(look, everybody),
        holds=tallies.holds_by_state(connection),
        oldest_hold_seconds=None if oldest is None else look.age(oldest),
        pauses=tuple(
            {"target": one.target, "by": one.by, "at": one.at.isoformat(), "reason": one.reason}
            for one in pauses.known(connection)
        ),
        batches_in_doubt=tallies.in_doubt(connection, before=now - DOUBT),
        quarantined=given_up(look, unfinished, every),
        policy_load=policy_load(look, everybody),
        ledger=_ledger(look),
        archives=_archives(look),
    )


def _ledger(look: Look) -> dict[str, object] | None:
    seen = observations.read(look.connection, "ledger")
    if EVERYTHING not in seen:
        return None
    newest, compared = seen[EVERYTHING], seen.get(KEPT_ELSEWHERE)
    agrees = None if compared is None else compared.facts["ok"]
    return {"ok": newest.facts["ok"] and agrees is not False, "at": newest.at.isoformat(), "agrees": agrees}


def _archives(look: Look) -> tuple[dict[str, object], ...]:
    seen = observations.read(look.connection, "archive")
    used = tallies.archives_in_use(look.connection)
    until = look.now + FRESH
    told: list[dict[str, object]] = []
    for name in sorted({*look.engine.project.config.archives, *used}):
        last = observations.last_good(seen.get(name))
        # what is to come was written down by a clock that was ahead, and tells nothing
        good = None if last is None or datetime.fromisoformat(last) > until else datetime.fromisoformat(last)
        first = used[name] if name in used and used[name] <= until else None
        # what was verified before its first batch came was empty
        since = max((moment for moment in (first, good) if moment is not None), default=None)
        told.append(
            {
                "archive": name,
                "used": name in used,
                "ok": seen[name].facts["ok"] if name in seen else None,
                "verified_at": None if good is None else good.isoformat(),
                "unverified_seconds": None if name not in used or since is None else look.age(since),
            }
        )
    return tuple(told)
