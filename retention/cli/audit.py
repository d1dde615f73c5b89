"""`retention audit`: the ledger of everything that was done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from retention.cli.exits import MEANINGS, exits
from retention.cli.options import config_option, json_option, last_option, open_engine, print_json
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
@click.option(
    "--checkpoint",
    "checkpoint_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also that it is what this checkpoint signed; may be repeated.",
)
@click.option(
    "--public-key",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The public key of whoever signs checkpoints.",
)
def verify(
    config: Path,
    as_json: bool,
    exported: Path | None,
    against: Path | None,
    checkpoint_files: tuple[Path, ...],
    public_key: Path | None,
) -> int:
    """Check the chain of the ledger, and that runs, batches and holds say in their tables what it says.

    With --export it needs no project and no database: an auditor can do it anywhere. With --against or --checkpoint it
    also finds a ledger that was rewritten as a whole after that export or checkpoint; `retention status` says so until it
    agrees with one again.
    """
    from retention.cli.show import counted
    from retention.disposition.evidence import verify_file, verify_ledger
    from retention.disposition.survey import note
    from retention.ledger.checkpoint import read_checkpoint
    from retention.ledger.observations import EVERYTHING, KEPT_ELSEWHERE

    if bool(checkpoint_files) != (public_key is not None):
        raise InputError("--checkpoint and --public-key go together", hint="a signature is checked with its key")
    checkpoints = [read_checkpoint(file, public_key) for file in checkpoint_files if public_key is not None]
    if exported is None:
        engine = open_engine(config, policies=False)
        report = verify_ledger(engine, against, checkpoints)
        compared = against is not None or bool(checkpoints)
        note(engine, "ledger", [EVERYTHING, KEPT_ELSEWHERE] if compared else [EVERYTHING], {"ok": not report.findings})
    else:
        report = verify_file(exported, against, checkpoints)
    if as_json:
        print_json({"entries": report.entries, "head": report.head, "findings": list(report.findings)})
    else:
        for finding in report.findings:
            click.echo(finding, err=True)
        what = "ledger" if exported is None else "export"
        click.echo(f"{report.entries:,} entries; the last one's hash is {report.head}.")
        if report.findings:
            click.echo(f"The {what} is NOT what was written: {counted(len(report.findings), 'finding')}.", err=True)
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
        with _new_file(file) as out:
            write(connection, out)
    click.echo(f"The ledger is in {file}. `retention audit verify --export {file}` checks it anywhere.")


@audit.command(epilog=exits(), short_help="Make a key pair that signs checkpoints.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def keygen(file: Path) -> None:
    """Write a new Ed25519 private key to FILE, and its public key to FILE.pub.

    Keep FILE where nobody who can write to the control database can read it; give FILE.pub to every auditor.
    """
    from retention.ledger.checkpoint import make_keys

    public = Path(f"{file}.pub")
    make_keys(file, public)
    click.echo(f"The private key is in {file}, the public one in {public}.")


@audit.command(
    epilog=exits({1: "the ledger does not verify: nothing was signed"}), short_help="Sign where the ledger stands."
)
@config_option
@click.option(
    "--key",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The private key that `retention audit keygen` wrote.",
)
@click.option(
    "--export",
    "exported",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign where this export ends, without any database.",
)
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it here, not to the output."
)
def checkpoint(config: Path, key: Path, exported: Path | None, out: Path | None) -> None:
    """Sign the ledger's last entry (number, hash, changes of holds, time), after verifying all of it.

    Whoever later rewrites the ledger cannot make it agree with the checkpoint: keep it, and the key, elsewhere.
    """
    from datetime import UTC, datetime

    from retention.disposition.evidence import sign_file, sign_ledger

    signed = (
        sign_ledger(open_engine(config, policies=False), key)
        if exported is None
        else sign_file(exported, key, datetime.now(UTC))
    )
    if out is None:
        click.echo(signed.to_text(), nl=False)
        return
    with _new_file(out) as file:
        file.write(signed.to_text())
    click.echo(f"Entry {signed.seq} is signed in {out}.")


@audit.command(epilog=exits())
@config_option
@json_option
@last_option("How many entries, the newest.")
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


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A text file that was not there before. Raises InputError where there is one, or where none can be made."""
    try:
        with path.open("x", encoding="utf-8") as file:
            yield file
    except FileExistsError:
        raise InputError(
            f"{path} exists already", hint="name a new file; what is evidence is not overwritten"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that exists"
        ) from None


def _gist(facts: dict[str, object]) -> str:
    shown = [
        f"{name} {facts[name]}"
        for name in ("matter", "reason", "policy", "rows", "records")
        if facts.get(name) not in (None, "")
    ]
    return "; ".join(shown)
