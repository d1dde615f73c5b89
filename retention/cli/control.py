"""`retention control`: the database in which runs, batches, holds and the ledger are kept."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import MEANINGS, exits
from retention.cli.options import config_option


@click.group(epilog=exits(MEANINGS))
def control() -> None:
    """Create or upgrade the control database (SQLite, PostgreSQL, MariaDB or MySQL: `control:` in retention.yaml)."""


@control.command(
    epilog=exits({4: "refused: the database is of a newer release"}),
    short_help="Create the control database, or bring it up to date.",
)
@config_option
def upgrade(config: Path) -> None:
    """Create the control database, or bring it to this version's schema. Safe to repeat."""
    from retention.config import load_config, redact
    from retention.ledger.control import Control

    url = load_config(config).control
    Control.upgrade(url)
    click.echo(f"The control database {redact(url)} is ready.")
