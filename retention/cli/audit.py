"""`retention audit`: the ledger of everything that was done."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import MEANINGS, exits
from retention.cli.options import config_option, json_option, open_engine, print_json
from retention.errors import EvidenceBroken, InputError


@click.group(epilog=exits(MEANINGS))
def audit() -> None:
    """Verify, export and show the ledger: every deletion, refusal, hold, release, approval and policy change, chained."""


@audit.command(
    epilog=exits({0: "the ledger is whole", 1: "it is not: every finding is named"}),
    short_help="Check that the ledger is whole and unchanged.",
)
@config_option
@json_option
@click.option(
    "--export",
    "exported",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Verify this export, without any database.",
)
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also that this earlier export is its beginning.",
)
def verify(config: Path, as_json: bool, exported: Path | None, against: Path | None) -> int:
    """Check the chain of the ledger, and that runs, batches and holds say in their tables what it says.

    With --export it needs no project and no database: an auditor can do it anywhere. With --against it also finds a
    ledger that was rewritten as a whole after that export.
    """
    from retention.disposition.evidence import verify_file, verify_ledger

    report = (
        verify_ledger(open_engine(config, policies=False), against)
        if exported is None
        else verify_file(exported, against)
    )
    if as_json:
        print_json({"entries": report.entries, "head": report.head, "findings": list(report.findings)})
    else:
        for finding in report.findings:
            click.echo(finding, err=True)
        what = "ledger" if exported is None else "export"
        click.echo(f"{report.entries:,} entries; the last one's hash is {report.head}.")
        if report.findings:
            click.echo(f"The {what} is NOT what was written: {len(report.findings):,} findings.", err=True)
        else:
            click.echo(f"The {what} is whole and unchanged.")
    return EvidenceBroken.exit_status if report.findings else 0


@audit.command(epilog=exits(), short_help="Write the ledger to a file that anyone can verify offline.")
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
def export(config: Path, file: Path) -> None:
    """Write the whole ledger to FILE (JSON lines; - for standard output). Anyone can verify it offline.

    Keep an export where nobody can change it: whoever rewrites the whole ledger later cannot make it begin with that.
    """
    import sys

    from retention.ledger.export import export as write

    engine = open_engine(config, policies=False)
    with engine.control.read() as connection:
        if str(file) == "-":
            write(connection, sys.stdout)
            return
        try:
            with file.open("x", encoding="utf-8") as out:
                write(connection, out)
        except FileExistsError:
            raise InputError(
                f"{file} exists already", hint="name a new file; exports are evidence and are not overwritten"
            ) from None
        except OSError as error:
            raise InputError(
                f"{file} cannot be written: {error.strerror}", hint="name a file in a folder that exists"
            ) from None
    click.echo(f"The ledger is in {file}. `retention audit verify --export {file}` checks it anywhere.")


@audit.command(epilog=exits())
@config_option
@json_option
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many entries, the newest.")
@click.option("--subject", help="Only entries about this run, batch, hold or policy.")
@click.option("--kind", help="Only entries of this kind, such as hold.placed.")
def show(config: Path, as_json: bool, last: int, subject: str | None, kind: str | None) -> None:
    """Show the newest entries of the ledger, oldest of them first."""
    from retention.disposition.evidence import recent_entries

    found = recent_entries(open_engine(config, policies=False), last=last, subject=subject, kind=kind)
    if as_json:
        print_json(
            [
                {
                    "seq": one.seq,
                    "at": one.at,
                    "kind": one.kind,
                    "subject": one.subject,
                    "body": one.facts,
                    "hash": one.hash,
                }
                for one in found
            ]
        )
        return
    if not found:
        click.echo("The ledger has no such entries.")
        return
    from retention.cli.show import console, grid

    rows = [(one.seq, one.at[:19].replace("T", " "), one.kind, one.subject, _gist(one.facts)) for one in found]
    console().print(grid("", "when (UTC)", "what", "about", "", rows=rows, right=(0,), whole=(1, 2, 3)))


def _gist(facts: dict[str, object]) -> str:
    shown = [
        f"{name} {facts[name]}"
        for name in ("matter", "reason", "policy", "rows", "records")
        if facts.get(name) not in (None, "")
    ]
    return "; ".join(shown)
