"""`retention schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, open_engine, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from retention.policy.policy import Policy
    from retention.scheduling.cron import Occurrence

#: what a change of the clocks does to a slot, for a person
_JUMPS = {
    None: "",
    "gap": "clocks go forward: runs just after",
    "overlap": "time comes twice: runs the first time",
}


@click.command(epilog=exits())
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@config_option
@json_option
@click.option(
    "--next", "count", type=click.IntRange(1, 1000), default=3, show_default=True, help="Slots of each policy."
)
def schedule(policies: tuple[str, ...], config: Path, as_json: bool, count: int) -> None:
    """List what will run and when, by the clock of the policy's time zone and in UTC.

    Slots that a change of the clocks moves or doubles are marked. A slot that was opened already, because the clock was
    ahead or the zone another one, does not come again, and is not listed.
    """
    from itertools import islice

    from retention.ledger import schedules
    from retention.scheduling.coming import coming
    from retention.scheduling.opening import ahead_until

    engine = open_engine(config)
    chosen, now = engine.policies(policies), engine.now()
    with engine.control.read() as connection:
        found = [
            (policy, slot)
            for policy in chosen
            for slot in islice(coming(connection, policy.name, policy.schedule, now), count)
        ]
        seen = schedules.read(connection)
    ahead = {policy.name: ahead_until(seen.get(policy.name), now) for policy in chosen}
    found.sort(key=lambda pair: (pair[1].due_at, pair[0].name))
    if as_json:
        print_json([_facts(policy, slot, ahead[policy.name]) for policy, slot in found])
        return
    from retention.cli.show import console, grid
    from retention.watching.attention import closed

    rows = [
        (
            slot.wall.strftime("%Y-%m-%d %H:%M"),
            policy.schedule.timezone.key,
            slot.due_at.strftime("%Y-%m-%d %H:%M"),
            policy.name,
            _JUMPS[slot.jump],
        )
        for policy, slot in found
    ]
    out = console()
    out.print(grid("local time", "time zone", "UTC", "policy", "", rows=rows, whole=(0, 1, 2, 3)))
    for name, until in ahead.items():
        if until is not None:
            out.print(f"Look: {closed(name, until)}", style="bold red")


def _facts(policy: Policy, slot: Occurrence, ahead: datetime | None) -> dict[str, object]:
    return {
        "policy": policy.name,
        "local_time": slot.local_time,
        "timezone": policy.schedule.timezone.key,
        "due_at": slot.due_at.isoformat(),
        "cron": policy.schedule.cron,
        "missed": policy.missed,
        "jump": slot.jump,
        "ahead_until": None if ahead is None else ahead.isoformat(),
    }
