"""A person's hand on the work: pause, resume, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention.errors import InputError, NotFound, Refused
from retention.ledger import pauses, runs, schedules, shards, slots
from retention.ledger.pauses import EVERYTHING, Pause
from retention.ledger.runs import Run, RunKind, RunState
from retention.ledger.slots import SlotState
from retention.policy.suggest import nearest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine


def pause(engine: Engine, target: str | None, *, reason: str) -> Pause:
    """Let a policy, a run or (None) everything wait: nothing of it begins, and what is under way ends after the batch in hand.

    Raises InputError without a reason, NotFound where there is no such policy or run, Refused where the run is over.
    """
    made = _said(engine, target, reason)
    with engine.control.write() as connection:
        _known(engine, connection, made.target, of=[])
        pauses.put(connection, made)
    return made


def resume(engine: Engine, target: str | None, *, reason: str) -> list[str]:
    """Let it go on, and try again what had been given up of a policy or run: returns what goes on, each a clause for a person.

    Raises as `pause` does, and Refused where nothing of it waits or was given up.
    """
    said = _said(engine, target, reason)
    why = f"{said.by}: {reason}"
    with engine.control.write() as connection:
        _known(engine, connection, said.target, of=[one.target for one in pauses.known(connection)])
        going_on = [f"{target or 'everything'} is not paused any more"] if pauses.lift(connection, said) else []
        for run in _of(connection, said.target):
            if run.state is RunState.FAILED:
                shards.refuse_taken(connection, run.id, said.at)
                shards.reopen(connection, run.id)
                runs.move(connection, run.id, RunState.RUNNING, reason=why, at=said.at, by=said.by)
                going_on.append(f"run {run.id} goes on")
        for slot in slots.in_state(connection, SlotState.QUARANTINED):
            if said.target == slot.policy:
                slots.move(connection, slot, SlotState.DUE, reason=why, at=said.at)
                going_on.append(f"slot {slot.id} is tried again")
    if not going_on:
        raise Refused(f"nothing of {target or 'all policies'} is paused or was given up")
    return going_on


def cancel(engine: Engine, target: str, *, reason: str) -> list[Run]:
    """End a run, or every run of the policy that is not over: nothing more of it is done. What was done stays done, and its
    next slot plans anew. Raises as `pause` does, and NotFound where the policy has no such run."""
    said = _said(engine, target, reason)
    with engine.control.write() as connection:
        _known(engine, connection, target, of=[])
        # from here on nobody can prepare a batch of it; what is prepared is decided by the source
        ended = [
            runs.move(connection, run.id, RunState.CANCELLED, reason=f"{said.by}: {reason}", at=said.at, by=said.by)
            for run in _of(connection, target)
        ]
    if not ended:
        raise NotFound(f"{target} has no run that is not over", hint="`retention runs` lists them")
    return ended


def _said(engine: Engine, target: str | None, reason: str) -> Pause:
    if not reason.strip():
        raise InputError("that needs a reason", hint="say --reason in words")
    named = EVERYTHING if target is None else target
    return Pause(target=named, by=engine.person, at=engine.now(), reason=reason)


def _known(engine: Engine, connection: Connection, target: str, *, of: list[str]) -> None:
    """Raise unless it is a policy, a run that is not over (Refused where it is), or one ``of`` these. While the policy files
    have a mistake, a policy is what the control database knows as one: the brake must not wait for them."""
    if engine.project.mistake is None:
        names = [policy.name for policy in engine.project.policies.policies]
    else:
        ran = [run.policy for run in runs.recent(connection, None) if run.kind is RunKind.DISPOSITION]
        names = sorted({*schedules.read(connection), *ran})
    known = [EVERYTHING, *of, *names, *(run.id for run in runs.unfinished(connection))]
    if target not in known:
        if target.startswith("R-"):  # an id of a run, which no name of a policy begins like
            state = runs.get(connection, target).state.value
            hint = "a run of a policy can wait, go on or end while it is not over: `retention runs` lists them"
            raise Refused(f"run {target} is {state}", hint=hint)
        raise NotFound(
            f"there is no policy {target!r}, and no run of that id that is not over", hint=nearest(target, known[1:])
        )


def _of(connection: Connection, target: str) -> list[Run]:
    return [run for run in runs.unfinished(connection) if target in (run.policy, run.id)]
