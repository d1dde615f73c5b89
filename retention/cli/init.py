"""`retention init`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import exits
from retention.errors import InputError, RetentionError


@click.command(epilog=exits({4: "refused: the schema cannot be read safely"}))
@click.argument("url")
@click.option(
    "--into",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The new project's folder; this one if left out.",
)
def init(url: str, folder: Path) -> None:
    """Write a commented starter project for the database at URL.

    URL is sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE. The schema is
    read, never changed; record classes are proposed for tables with dates, and everything that the schema does not tell is
    said in a comment. A password goes into no file. Nothing that exists is overwritten.
    """
    from retention.config import SourceConfig
    from retention.sources.open import open_source
    from retention.starter_project import propose, source_name, write

    if "://" not in url:
        raise InputError("URL names no database", hint="write sqlite:///FILE, or postgresql://USER@HOST/DATABASE")
    source = open_source(SourceConfig(name=source_name(url), url=url, classes={}))
    try:
        proposal = propose(source)
    except RetentionError as error:
        error.hint = "correct the URL, or see to the database; then run `retention init` again"  # there is no file yet
        raise
    written = write(folder, url, proposal)
    for path in written.files:
        click.echo(f"wrote {path}")
    if written.export:
        click.echo(f"\nThe password stays out of the files. Set it where the commands run:\n  {written.export}")
    click.echo(
        "\nRead retention.yaml, decide what is marked DECIDE, then `retention control upgrade` and `retention validate`."
    )
