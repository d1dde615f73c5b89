"""`retention init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("url")
@click.option(
    "--into",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="this folder",
    help="The folder of the new project.",
)
def init(url: str, folder: Path) -> None:
    """Write a commented starter project for the database at URL.

    URL is sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE. The schema is read, never changed; record classes
    are proposed for tables with dates, and everything that the schema does not tell is said in a comment. A password goes
    into no file. Nothing that exists is overwritten.
    """
    from retention.config import SourceConfig
    from retention.sources.open import open_source
    from retention.starter_project import propose, source_name, write

    source = open_source(SourceConfig(name=source_name(url), url=url, classes={}))
    written = write(folder, url, propose(source))
    for path in written.files:
        click.echo(f"wrote {path}")
    if written.export:
        click.echo(f"\nThe password stays out of the files. Set it where the commands run:\n  {written.export}")
    click.echo(
        "\nRead retention.yaml, decide what is marked DECIDE, then `retention control upgrade` and `retention validate`."
    )
