"""Whose run it is: one living process at a time works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention.ledger import runs
from retention.ledger.owner import this_process
from retention.ledger.runs import Run, RunTaken

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


def take_over(engine: Engine, run: Run) -> bool:
    """Make this process the owner; False while another living process is. From then on the former owner cannot prepare
    a batch any more, should it come back: `batches.prepare` compares the owner in its own transaction."""
    with engine.control.write() as connection:
        try:
            runs.own(connection, run.id, this_process(), engine.now())
        except RunTaken:
            return False
    return True
