"""`retention runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, last_option, open_engine, print_json

if TYPE_CHECKING:
    from retention.ledger.runs import Run


@click.command(epilog=exits())
@config_option
@json_option
@last_option("How many runs, the newest.")
def runs(config: Path, as_json: bool, last: int) -> None:
    """List the newest runs, oldest of them first: what was planned and done, and what is waited for.

    `retention audit show --subject RUN` says how a run came to its state.
    """
    from retention.ledger import chain
    from retention.ledger.runs import ENTRY, RunKind, RunState, recent
    from retention.ledger.tallies import deleted_in_run

    engine = open_engine(config, policies=False)
    with engine.control.read() as connection:
        # by the ledger, in the order in which they were planned: a clock that was ahead makes no run the newest
        planned = chain.newest(connection, last=last, kind=ENTRY[RunState.PLANNED])
        order = {entry.subject: entry.seq for entry in planned}
        found = sorted(recent(connection, None), key=lambda one: order.get(one.id, 0))[-last:]
        # of runs that did not come to their end: what is gone is gone, however the run ended
        so_far = {
            one.id: deleted_in_run(connection, one.id)
            for one in found
            if one.kind is RunKind.DISPOSITION and one.result is None
        }
    if as_json:
        print_json([facts(one) for one in found])
        return
    if not found:
        click.echo("Nothing has run yet.")
        return
    from retention.cli.show import console, grid, local

    zone = engine.project.config.timezone
    rows = [
        (
            one.id,
            one.state.value.replace("_", " "),
            local(one.as_of, zone),
            _number(one, "plan", "due"),
            so_far.get(one.id) or _number(one, "result", "deleted"),
            one.reason,
        )
        for one in found
    ]
    out = console()
    out.print(grid("run", "state", "as of", "planned", "deleted", "", rows=rows, right=(3, 4), whole=(0, 1, 2)))


def facts(one: Run) -> dict[str, object]:
    """A run as `--json` prints it. Times are ISO, UTC."""
    return {
        "run": one.id,
        "kind": one.kind.value,
        "policy": one.policy,
        "records": one.records,
        "state": one.state.value,
        "as_of": one.as_of.isoformat(),
        "created_at": one.created_at.isoformat(),
        "finished_at": None if one.finished_at is None else one.finished_at.isoformat(),
        "requested_by": one.requested_by,
        "plan": one.plan,
        "result": one.result,
        "reason": one.reason,
    }


def _number(one: Run, part: str, name: str) -> object:
    """A count of the run's plan or result; nothing where it has none (a destruction counts batches)."""
    told = one.plan if part == "plan" else one.result
    return "" if told is None else told.get(name, "")
