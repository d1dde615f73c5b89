"""The demo's quarter, done by the scheduled worker: the slot fires for real, by a clock that was set forward."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from retention.disposition.engine import Engine
    from retention.ledger.chain import Entry
    from retention.ledger.runs import Run
    from retention.ledger.slots import Slot

#: seconds from the start of beat and workers to the slot
LEAD = 8
#: seconds that everything may take
PATIENCE = 120


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A slot and the run that it became."""

    slot: Slot
    run: Run


def fire_next_slot(out: Console, engine: Engine) -> list[Fired]:
    """Set a clock to just before the next slot, start beat, broker and two workers, and watch until its runs have ended.

    Raises Failed where they do not.
    """
    from retention.demo.crew import crew
    from retention.scheduling.opening import next_slot, open_slots

    policies = engine.policies()
    now = engine.now()
    open_slots(engine.control, policies, now)  # from now on the policies are known, and no time of theirs is left out
    due_at = next_slot(policies, now)
    if due_at is None:
        raise Failed("no policy of the demo is to run any more", hint="`retention schedule` lists what will")
    ahead = due_at - now - timedelta(seconds=LEAD)
    zone = engine.project.config.timezone
    out.print(
        f"The next slot is {due_at.astimezone(zone):%d %B %Y, %H:%M} in {zone.key}. "
        f"All clocks below are set to {LEAD} seconds before it.\n"
    )
    with crew(engine.project.config.path, ahead=ahead) as running:
        for part in running.parts:
            out.print(f"  {part}")
        out.print()
        return _watch(out, engine, due_at, lambda: not running.dead(), f"their logs are in {running.logs}")


def _watch(out: Console, engine: Engine, due_at: datetime, alive: Callable[[], bool], hint: str) -> list[Fired]:
    from retention.ledger import chain, runs, slots
    from retention.ledger.runs import FINAL
    from retention.ledger.slots import SlotState

    with engine.control.read() as connection:
        told = max((entry.seq for entry in chain.newest(connection, last=1)), default=0)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and alive():
        time.sleep(0.2)
        with engine.control.read() as connection:
            for entry in chain.entries(connection, after=told):
                told = entry.seq
                _tell(out, engine, entry)
            waiting = slots.in_state(connection, SlotState.DUE)
            begun = [slot for slot in slots.in_state(connection, SlotState.BEGUN) if slot.due_at == due_at]
            fired = [Fired(slot=slot, run=runs.get(connection, str(slot.run_id))) for slot in begun]
        if fired and not waiting and all(one.run.state in FINAL for one in fired):
            return fired
    raise Failed("the scheduled runs did not end", hint=hint)


def _tell(out: Console, engine: Engine, entry: Entry) -> None:
    from retention.ledger.times import instant

    words = {
        "slot.opened": "beat opened the slot",
        "run.started": "a worker began",
        "run.finished": "finished",
        "run.refused": "was refused",
        "run.failed": "failed",
    }
    if entry.kind in words:
        moment = instant(entry.at).astimezone(engine.project.config.timezone)
        out.print(f"  {moment:%Y-%m-%d %H:%M:%S}  {words[entry.kind]}  {entry.subject}")


def show_left(out: Console, engine: Engine, fired: list[Fired]) -> None:
    """Which policies were not done, because their slots come later; and what the clock that was set forward leaves behind: what
    it saw, and beat, which was stopped with it, are what `retention status` asks a person to look at."""
    from retention.scheduling.opening import next_slot

    zone = engine.project.config.timezone
    done = {one.run.policy for one in fired}
    came = max(one.slot.due_at for one in fired)
    for policy in engine.policies():
        following = next_slot([policy], came)
        if policy.name not in done and following is not None:
            comes = f"{following.astimezone(zone):%d %B %Y, %H:%M}"
            out.print(
                f"Not done here: {policy.name}, whose slot comes on {comes}. `retention run {policy.name}` does it now."
            )
    out.print(
        f"The project knows the slots of {came.astimezone(zone):%d %B %Y} as begun: they will not run again when your clock "
        "comes there. Until then, `retention status` here says that the clock was ahead and no beat is alive, and ends with 3."
    )


def show_fired(out: Console, fired: list[Fired]) -> int:
    """What each run did; returns how many records went in all."""
    from retention.cli.show import grid

    rows = []
    for one in fired:
        result = one.run.result or {}
        went, held = int(result.get("deleted", 0)), int(result.get("held", 0))
        rows.append((one.run.policy, went, held, one.slot.late_seconds, one.run.state.value, one.run.id))
    names = ("policy", "went", "held back", "seconds late", "state", "run")
    out.print(grid(*names, rows=rows, right=(1, 2, 3), whole=(0, 4, 5)))
    return sum(row[1] for row in rows)
