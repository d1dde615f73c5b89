"""`retention status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, print_json

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from retention.watching.status import PolicyStatus, Status

#: seconds between two looks of --watch
AGAIN = 2.0


@click.command(epilog=exits({3: "something needs a person; the last lines say what"}))
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
def status(config: Path, as_json: bool, watch: bool) -> int:
    """Show how everything stands: slots, runs, what is overdue, the queue, workers, holds, policy files.

    It asks the control database alone, so it answers while sources and the broker are away, and while a policy has a
    mistake. What is overdue is counted once a day by the workers, and after every run.
    """
    from retention.cli.show import console
    from retention.scheduling.current import Current
    from retention.watching.read import read_status

    current = Current(config)
    while True:
        current.refresh()
        engine = current.view()
        seen = read_status(engine)
        if as_json:
            print_json(seen.to_json())
        else:
            out = console()
            if watch:
                out.clear()
            _show(out, seen, engine.project.config.timezone)
        if not watch:
            return 3 if seen.attention else 0
        time.sleep(AGAIN)


def _show(out: Console, seen: Status, zone: ZoneInfo) -> None:
    from datetime import datetime

    from retention.cli.show import grid, local

    def when(iso: object) -> str:
        return "-" if iso is None else local(datetime.fromisoformat(str(iso)), zone)

    rows = []
    for one in seen.policies:
        last, following, debt = one.last_slot, one.next_slot, one.overdue
        rows.append(
            (
                one.policy,
                "-" if last is None else f"{when(last['due_at'])}, {last['state']}{_late(one)}",
                "-" if following is None else when(following["due_at"]),
                when(one.last_success_at),
                "not counted" if debt is None else f"{debt['records']:,}",
                "-" if debt is None or not debt["records"] else _long(debt["oldest_seconds"]),
                "-" if debt is None else f"{debt['held']:,}",
            )
        )
    heads = ("policy", "last slot", "next slot", "last success", "overdue", "since", "held")
    out.print(grid(*heads, rows=rows, right=(4, 5, 6), whole=(0,)))
    for old in seen.gone:
        count = old["overdue"]["records"] if isinstance(old["overdue"], dict) else 0
        left = f", {count:,} records overdue when last counted" if count else ""
        done = "never" if old["last_success_at"] is None else when(old["last_success_at"])
        out.print(f"No longer in policies/: {old['policy']}, last success {done}{left}.")
    for run in seen.runs:
        ends = "" if run.remaining_seconds is None else f", about {_long(run.remaining_seconds)} left"
        pace = f", {run.rows_per_second:,.0f} a second{ends}" if run.rows_per_second else ""
        out.print(f"{run.run}: {run.state.replace('_', ' ')}, {run.deleted:,} of {run.planned:,} records{pace}")
    living = [one for one in seen.workers if one["alive"]]
    told = ", ".join(_heard(kind, living) for kind in sorted({str(one["kind"]) for one in living})) or "nobody"
    out.print(f"At work: {told}. Waiting: {seen.queue_depth}{_since(seen)}. In doubt: {seen.batches_in_doubt}.")
    out.print(f"Holds: {seen.holds['in_force']} in force, {seen.holds['pending']} pending.")
    for pause in seen.pauses:
        what = "everything" if pause["target"] == "*" else pause["target"]
        out.print(f"Paused: {what}, by {pause['by']} since {when(pause['at'])}: {pause['reason']}")
    if seen.policy_load is not None and seen.policy_load["in_force"] and seen.policy_load["good_at"] is not None:
        out.print(f"Policies in force since {when(seen.policy_load['good_at'])}.")
    for sentence in seen.attention:
        out.print(f"Look: {sentence}", style="bold red")
    if not seen.attention:
        out.print("Nothing needs you.")


def _late(one: PolicyStatus) -> str:
    return f", {_long(one.lateness_seconds)} late" if one.lateness_seconds else ""


def _heard(kind: str, living: list[dict[str, object]]) -> str:
    """``2 worker (last heard of 12 s ago)``: of those that live, the one that was silent longest."""
    ages = [one["seen_seconds"] for one in living if one["kind"] == kind]
    return f"{len(ages)} {kind} (last heard of {_long(max(ages, key=_seconds))} ago)"


def _since(seen: Status) -> str:
    return f", the oldest for {_long(seen.queue_oldest_seconds)}" if seen.queue_depth else ""


def _long(seconds: object) -> str:
    whole = int(_seconds(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 172_800:
        return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
    return f"{whole // 86_400} days"


def _seconds(value: object) -> float:
    assert isinstance(value, int | float), "the status has numbers there"
    return value
