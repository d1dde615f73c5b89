"""`retention run`, `retention approve` and `retention recover`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import (
    as_of_option,
    config_option,
    json_option,
    must_be_asked,
    open_engine,
    parse_when,
    print_json,
    yes_option,
)

if TYPE_CHECKING:
    from retention.cli.clean_up import CleanUp


@click.command(
    epilog=exits(
        {
            1: "failed; nothing was lost, and the next run goes on",
            3: "partly done: stopped, or a policy failed or was refused while others ran",
            4: "refused: a limit, a missing approval, a pending hold, an unsafe table",
        }
    )
)
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@config_option
@as_of_option
@yes_option
@json_option
def run(policies: tuple[str, ...], config: Path, as_of: str | None, yes: bool, as_json: bool) -> int:
    """Archive, then delete, what is expired and not held.

    First it finishes what an interrupted run left behind; then it shows the plan, asks, and does exactly that plan. Every
    record is in the archive, read back and verified, before it leaves the database. Ctrl-C stops after the batch in
    hand; the next run goes on from there.
    """
    from retention.cli.clean_up import clean_up
    from retention.disposition.run import check_as_of

    must_be_asked(yes=yes, as_json=as_json)
    engine = open_engine(config)
    when = parse_when(as_of, engine.project.config.timezone)
    check_as_of(engine, when)
    done = clean_up(engine, engine.policies(policies), when, yes=yes, quiet=as_json)
    if as_json:
        print_json(done.to_json())
    else:
        tell(done)
    return done.status


def tell(done: CleanUp) -> None:
    """What the clean-up did, policy by policy, and what kept it from doing more."""
    from retention.cli.main import report
    from retention.cli.show import console, counted, grid

    if done.results:
        rows = [
            (
                one.policy,
                one.deleted,
                one.dependent_rows,
                one.held,
                f"{one.deleted / one.seconds:,.0f}" if one.deleted and one.seconds else "",
                one.run,
            )
            for one in done.results
        ]
        names = ("archived and deleted", "records", "dependents", "held back", "records/s", "run")
        console().print(grid(*names, rows=rows, right=(1, 2, 3, 4), whole=(0, 5)))
    for one in done.results:
        if one.state != "finished":
            left = counted(max(one.planned - one.deleted, 0), "record")
            click.echo(f"{one.policy}: stopped with {left} of the plan to go; the next `retention run` goes on.")
    for refused in done.refused:
        click.echo(f"{refused.policy}: {refused.state.value.replace('_', ' ')}: {refused.reason}.", err=True)
        if refused.state.value == "awaiting_approval":
            click.echo(
                f"  `retention approve {refused.id} --reason ...`, then `retention run {refused.policy}`", err=True
            )
    for _, same in groupby(done.errors, key=lambda one: str(one[1])):  # one database away is one thing to say
        policies, errors = zip(*same, strict=True)
        click.echo(f"{', '.join(policies)}:", err=True)
        report(errors[0], as_json=False)


@click.command(epilog=exits({4: "refused: the run does not wait for approval"}))
@click.argument("run_id", metavar="RUN")
@config_option
@json_option
@click.option("--reason", required=True, help="Why the plan is right.")
def approve(run_id: str, config: Path, as_json: bool, reason: str) -> None:
    """Approve the plan of a run whose policy says `approval: required`; the next `retention run` does it.

    `retention runs` lists the runs that wait.
    """
    from retention.cli.runs import facts
    from retention.disposition.run import approve as approve_run

    approved = approve_run(open_engine(config), run_id, reason=reason)
    if as_json:
        print_json(facts(approved))
    else:
        click.echo(f"Run {approved.id} is approved. `retention run {approved.policy}` does it.")


@click.command(epilog=exits({1: "failed, or a batch is in doubt that only a person can judge"}))
@config_option
@json_option
def recover(config: Path, as_json: bool) -> None:
    """Resolve what an interrupted run left in doubt, without starting anything. Safe to repeat."""
    from retention.disposition.recover import recover as recover_all

    settled = recover_all(open_engine(config, policies=False))
    if as_json:
        print_json([{"batch": one.batch.id, "run": one.batch.run_id, "state": one.state.value} for one in settled])
        return
    for one in settled:
        click.echo(f"Batch {one.batch.id} was in doubt; it is {one.state.value}.")
    if not settled:
        click.echo("Nothing was in doubt.")
