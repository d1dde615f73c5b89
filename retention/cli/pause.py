"""`retention pause`, `retention resume` and `retention cancel`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, open_engine, print_json


@click.command(epilog=exits({4: "refused: the run is over"}))
@click.argument("target", required=False, metavar="[RUN or POLICY]")
@config_option
@json_option
@click.option("--reason", required=True, help="Why it waits.")
def pause(target: str | None, config: Path, as_json: bool, reason: str) -> None:
    """Let a run, a policy, or everything wait.

    Nothing of it begins, and what is under way ends after the batch in hand, wherever it runs, until `retention resume`.
    """
    from retention.disposition.hands import pause as let_wait

    made = let_wait(open_engine(config, lenient=True), target, reason=reason)
    if as_json:
        print_json({"target": made.target, "by": made.by, "at": made.at.isoformat(), "reason": made.reason})
    else:
        click.echo(f"{target or 'Everything'} waits until `retention resume` lets it go on.")


@click.command(epilog=exits({4: "refused: nothing of it is paused or was given up, or somebody works on it"}))
@click.argument("target", required=False, metavar="[RUN or POLICY]")
@config_option
@json_option
@click.option("--reason", required=True, help="Why it goes on.")
def resume(target: str | None, config: Path, as_json: bool, reason: str) -> None:
    """Let what was paused go on, and try again what had been given up.

    A run that failed goes on where it stopped, a slot that could not begin is tried again. Workers do the rest; without a
    worker, `retention run` does.
    """
    from retention.disposition.hands import resume as let_go_on

    going_on = let_go_on(open_engine(config, lenient=True), target, reason=reason)
    if as_json:
        print_json(going_on)
        return
    for one in going_on:
        named = target is not None and one.startswith(f"{target} ")  # a name stays as it is written
        click.echo(f"{one if named else one[:1].upper() + one[1:]}.")


@click.command(epilog=exits({4: "refused: the run is over"}))
@click.argument("target", metavar="RUN or POLICY")
@config_option
@json_option
@click.option("--reason", required=True, help="Why it ends.")
def cancel(target: str, config: Path, as_json: bool, reason: str) -> None:
    """End a run, or every run of a policy that is not over, for good. What it did stays done; nothing more of it is.

    The policy's next slot, or the next `retention run`, plans anew.
    """
    from retention.cli.runs import facts
    from retention.disposition.hands import cancel as end

    ended = end(open_engine(config, lenient=True), target, reason=reason)
    if as_json:
        print_json([facts(run) for run in ended])
        return
    for run in ended:
        click.echo(f"Run {run.id} is cancelled.")
