"""`retention metrics`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, open_engine


@click.command(epilog=exits())
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="0: any that is free.")
def metrics(config: Path, host: str, port: int) -> None:
    """Serve /metrics for Prometheus, and /healthz and /readyz, until it is stopped.

    One is enough for a control database, however many workers there are: everything is read there. It has no password, so
    let it listen where only Prometheus comes by.
    """
    from retention.cli.clean_up import stop_on_signals
    from retention.watching.server import serving

    open_engine(config, policies=False).control.close()  # it is there, and of this release
    with stop_on_signals() as stop, serving(config, host, port) as address:
        click.echo(address)
        stop.wait()
