"""`retention up`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, open_engine


@click.command(epilog=exits())
@config_option
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Policies worked on at once.")
@click.option(
    "--metrics", type=click.IntRange(0, 65535), metavar="PORT", help="Serve `retention metrics` there as well."
)
def up(config: Path, workers: int, metrics: int | None) -> None:
    """Run what the schedules ask for, in this one process, until it is stopped: for a site without Redis.

    Ctrl-C and SIGTERM end it after the batch in hand. Killed at any point, it loses nothing: started again, it goes on.
    Logs are JSON, one line an event. Started while a policy has a mistake, it waits until it is mended.
    """
    from retention.cli.clean_up import stop_on_signals
    from retention.scheduling.log import log_as_json
    from retention.scheduling.up import run_up
    from retention.watching.server import serving

    # it is there, and of this release; the threads open their own
    open_engine(config, policies=False).control.close()
    log_as_json()
    with stop_on_signals() as stop, ExitStack() as beside:
        if metrics is not None:
            beside.enter_context(serving(config, "127.0.0.1", metrics))
        run_up(config, workers=workers, stop=stop)
