"""`retention schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, open_engine, print_json

if TYPE_CHECKING:
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

    Slots that a change of the clocks moves or doubles are marked.
    """
    from itertools import islice

    from retention.scheduling import cron

    engine = open_engine(config)
    now = engine.now()
    found = [
        (policy, slot)
        for policy in engine.policies(policies)
        for slot in islice(cron.slots(policy.schedule, after=now), count)
    ]
    found.sort(key=lambda pair: (pair[1].due_at, pair[0].name))
    if as_json:
        print_json([_facts(policy, slot) for policy, slot in found])
        return
    from retention.cli.show import console, grid

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
    console().print(grid("local time", "time zone", "UTC", "policy", "", rows=rows, whole=(0, 1, 2, 3)))


def _facts(policy: Policy, slot: Occurrence) -> dict[str, object]:
    return {
        "policy": policy.name,
        "local_time": slot.local_time,
        "timezone": policy.schedule.timezone.key,
        "due_at": slot.due_at.isoformat(),
        "cron": policy.schedule.cron,
        "missed": policy.missed,
        "jump": slot.jump,
    }
