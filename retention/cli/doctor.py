"""`retention doctor`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, open_engine, print_json


@click.command(
    epilog=exits(
        {
            0: "nothing stands against a run",
            1: "some part does not answer",
            4: "everything answers; something would be refused until it is changed",
        }
    )
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@config_option
@json_option
def doctor(sources: tuple[str, ...], config: Path, as_json: bool) -> int:
    """Check everything that a run depends on, and say what to change, ready to paste. Nothing is changed.

    Every source (or those named), class, archive and the control database: whether it answers; rights; table, key,
    clock and its zone; indexes; references that are not declared; triggers; clocks; room for what would go now, which
    is counted as `retention plan` does.
    """
    from retention.watching.doctor import examine
    from retention.watching.finding import Level

    engine = open_engine(config, lenient=True)
    found = list(examine(engine, sources))
    errors = [one for one in found if one.level is Level.ERROR]
    if as_json:
        print_json([one.to_json() for one in found])
    else:
        from retention.cli.show import counted

        for subject, of_it in groupby(found, key=lambda one: one.subject):
            click.echo(subject)
            for one in of_it:
                level, colour = one.level.value, _COLOURS[one.level.value]
                click.echo(f"  {click.style(f'{level:<8}', fg=colour)} {one.what}")
                for line in one.change.splitlines():
                    click.echo(f"           {line.strip()}")
        warnings = sum(one.level is Level.WARNING for one in found)
        click.echo(f"{counted(len(errors), 'error')}, {counted(warnings, 'warning')}. Nothing was changed.")
    if not errors:
        return 0
    return 4 if all(one.answered for one in errors) else 1


_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
