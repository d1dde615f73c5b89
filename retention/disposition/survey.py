"""What should have gone and is still there, and whether the ledger verifies: looked at once a day by an idle worker, so that
somebody notices when records outlive their periods, whatever the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from retention.disposition.evidence import verify_ledger
from retention.disposition.plan import PolicyPlan, make_plan
from retention.errors import RetentionError
from retention.ledger import observations
from retention.ledger.observations import EVERYTHING, Kind, Observation
from retention.policy.calendar import day_start
from retention.policy.clock import expires
from retention.policy.policy import Retain
from retention.sources.census import EARLIER

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine

#: between two surveys
EVERY = timedelta(hours=24)

_log = structlog.get_logger("retention.survey")


def survey_is_due(engine: Engine) -> bool:
    """Whether the last survey, by whichever worker, is a day old. Raises ControlFailed."""
    with engine.control.read() as connection:
        return _is_due(connection, engine.now())


def survey_if_due(engine: Engine) -> None:
    """Survey where it is due and no other worker has begun to. Raises ControlFailed."""
    now = engine.now()
    with engine.control.write() as connection:
        if not _is_due(connection, now):
            return
        observations.record(connection, Observation(kind="survey", target=EVERYTHING, at=now, facts={}))
    survey(engine)


def _is_due(connection: Connection, now: datetime) -> bool:
    last = observations.read(connection, "survey").get(EVERYTHING)
    # a clock that was set back must not silence it
    return last is None or not timedelta(0) <= now - last.at < EVERY


def survey(engine: Engine) -> None:
    """Count every policy's debt as of now, and verify the ledger; write both down. A class that cannot be read is logged,
    and keeps what was seen of it before, with its time. Raises ControlFailed."""
    now = engine.now()
    seen: list[Observation] = []
    policies = engine.project.policies.policies
    for address in dict.fromkeys(policy.records for policy in policies):
        try:
            plan = make_plan(engine, [policy for policy in policies if policy.records == address], now)
        except RetentionError as error:
            _log.error("survey.failed", records=address, code=error.code, message=error.message, hint=error.hint)
        else:
            seen += [debt(engine, one, now) for one in plan.policies]
    with engine.control.write() as connection:
        for one in seen:
            observations.record(connection, one)
    note(engine, "ledger", [EVERYTHING], {"ok": not verify_ledger(engine).findings})


def note(engine: Engine, kind: Kind, targets: Iterable[str], facts: Mapping[str, object]) -> None:
    """Write down for those who watch what was just found out about each target. Raises ControlFailed."""
    now = engine.now()
    with engine.control.write() as connection:
        for target in targets:
            observations.record(connection, Observation(kind=kind, target=target, at=now, facts=facts))


def debt(engine: Engine, plan: PolicyPlan, at: datetime) -> Observation:
    """What the plan says is overdue: records, those that holds keep, and since when the oldest of the others is expired."""
    retain = engine.project.policies.get(plan.policy).retain
    # what is older than the months that a plan tells apart counts as of the first of them
    since = [_expired(retain, month, engine.project.policies.timezone) for month in plan.by_month if month != EARLIER]
    expired = min((one for one in since if one is not None), default=None)
    facts = {
        "records": plan.due,
        "held": plan.held,
        "oldest_expired_at": None if expired is None else min(expired, at).isoformat(),
    }
    return Observation(kind="debt", target=plan.policy, at=at, facts=facts)


def _expired(retain: Retain, month: str, zone: ZoneInfo) -> datetime | None:
    """When a record of the month's first moment expired."""
    first = date.fromisoformat(f"{month}-01")
    moment = expires(retain, day_start(first, zone), zone)
    return day_start(moment, zone) if moment is not None and not isinstance(moment, datetime) else moment
