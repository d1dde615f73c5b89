"""What is told of each policy: its slots, what is overdue, and whether the files that it stands in are in force."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from retention.ledger import observations, policy_loads, schedules, slots, tallies
from retention.ledger.slots import Slot, SlotState
from retention.ledger.workers import WAITS
from retention.policy.policy import Schedule
from retention.scheduling.coming import coming
from retention.scheduling.opening import FRESH, ahead_until
from retention.watching.status import PolicyStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retention.ledger.workers import Worker
    from retention.watching.look import Look


def policies(look: Look) -> tuple[PolicyStatus, ...]:
    """Each policy that is looked at, by name."""
    known = _known(look)
    newest = slots.newest(look.connection, list(known))
    late = slots.in_state(look.connection, SlotState.DUE)
    succeeded, deleted = tallies.last_success(look.connection, look.now + FRESH), tallies.deleted(look.connection)
    debts, seen = observations.read(look.connection, "debt"), schedules.read(look.connection)
    ahead = {name: ahead_until(seen.get(name), look.now) for name, (_, schedule) in known.items() if schedule}
    return tuple(
        PolicyStatus(
            policy=name,
            title=title,
            last_slot=_slot(newest[name][0]) if newest.get(name) else None,
            next_slot=None if schedule is None else _next(look, name, schedule),
            ahead_until=_iso(ahead.get(name)),
            lateness_seconds=max((look.age(slot.due_at) for slot in late if slot.policy == name), default=0.0),
            last_success_at=_iso(succeeded.get(name)),
            overdue=_overdue(look, debts[name]) if name in debts else None,
            deleted=deleted.get(name, 0),
        )
        for name, (title, schedule) in sorted(known.items())
    )


def gone(look: Look) -> tuple[dict[str, object], ...]:
    """What the control database knows of policies that are not looked at any more."""
    succeeded, debts = (
        tallies.last_success(look.connection, look.now + FRESH),
        observations.read(look.connection, "debt"),
    )
    names = {*schedules.read(look.connection), *succeeded, *debts} - _known(look).keys()
    return tuple(
        {
            "policy": name,
            "last_success_at": _iso(succeeded.get(name)),
            "overdue": _overdue(look, debts[name]) if name in debts else None,
        }
        for name in sorted(names)
    )


def policy_load(look: Look, everybody: Sequence[Worker]) -> dict[str, object] | None:
    """How the files are now: as who looks reads them, for maybe nobody has told yet, and as a living process told last."""
    loads = policy_loads.read(look.connection)
    # one that a clock wrote down that was ahead is older than what was read since
    newest = max(loads.values(), key=lambda load: (load.at <= look.now + FRESH, load.at), default=None)
    alive = [one for one in everybody if one.is_alive(look.now)]
    read = look.engine.project.mistake
    mistake = newest.message if read is None and newest is not None and alive else read
    if newest is None and mistake is None:
        return None
    told = newest is not None and (newest.outcome == "good") is (mistake is None)
    return {
        "ok": mistake is None,
        "at": newest.at.isoformat() if newest is not None and told else look.now.isoformat(),
        "good_at": loads["good"].at.isoformat() if "good" in loads else None,
        "in_force": mistake is None or any(one.doing != WAITS for one in alive),
        "waiting": sum(one.doing == WAITS for one in alive),
        "message": None if mistake is None else str(mistake),
    }


def _known(look: Look) -> dict[str, tuple[str, Schedule | None]]:
    """Title and schedule of each policy; where the files have a mistake and no set came before, of each that the control
    database knows: beats look at the schedules of the last good set, and no longer at those of policies that are gone."""
    project = look.engine.project
    if project.mistake is None or project.policies.policies:
        return {policy.name: (policy.title, policy.schedule) for policy in project.policies.policies}
    seen = schedules.read(look.connection)
    # one that is ahead of the clock says nothing of when the others should have been looked at
    newest = max((one.checked_until for one in seen.values() if ahead_until(one, look.now) is None), default=look.now)
    names = {
        *seen,
        *tallies.last_success(look.connection, look.now + FRESH),
        *observations.read(look.connection, "debt"),
    }
    return {
        name: (
            name,
            Schedule(cron=seen[name].cron, timezone=ZoneInfo(seen[name].zone))
            if name in seen and newest - seen[name].checked_until < 2 * FRESH
            else None,
        )
        for name in names
    }


def _next(look: Look, policy: str, schedule: Schedule) -> dict[str, object] | None:
    slot = next(coming(look.connection, policy, schedule, look.now), None)
    if slot is None:
        return None
    return {"local_time": slot.local_time, "zone": schedule.timezone.key, "due_at": slot.due_at.isoformat()}


def _overdue(look: Look, debt: observations.Observation) -> dict[str, object]:
    expired = debt.facts["oldest_expired_at"]
    return {
        "records": debt.facts["records"],
        "held": debt.facts["held"],
        "oldest_seconds": 0.0 if expired is None else look.age(datetime.fromisoformat(expired)),
        "counted_at": debt.at.isoformat(),
    }


def _slot(slot: Slot) -> dict[str, object]:
    return {
        "local_time": slot.local_time,
        "zone": slot.zone,
        "due_at": slot.due_at.isoformat(),
        "state": slot.state.value,
        "late_seconds": slot.late_seconds,
        "run": slot.run_id,
        "reason": slot.reason,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
