"""`retention plan`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import as_of_option, config_option, json_option, open_engine, parse_when, print_json


@click.command(epilog=exits({4: "refused: a table cannot be handled safely"}))
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@config_option
@as_of_option
@json_option
def plan(policies: tuple[str, ...], config: Path, as_of: str | None, as_json: bool) -> None:
    """Show what the policies would do, and change nothing.

    Every record that a policy matches is counted once: it goes now, or it stays because it is not expired, another
    policy decides, a hold covers it, it has no clock, or its clock lies in the future. `retention run` does exactly this.
    """
    from retention.disposition.plan import make_plan

    engine = open_engine(config)
    zone = engine.project.config.timezone
    made = make_plan(engine, engine.policies(policies), parse_when(as_of, zone))
    if as_json:
        print_json(made.to_json())
        return
    from retention.cli.show import console, show_plan

    show_plan(console(), made, zone)
