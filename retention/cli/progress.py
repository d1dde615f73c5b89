"""How far a run is: records, rate, remaining time."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from retention.cli.show import console

if TYPE_CHECKING:
    from retention.disposition.job import Disposed
    from retention.ledger.runs import Run


class Progress:
    """A bar on a terminal; a line every few seconds where there is none; nothing if ``quiet``."""

    #: seconds between two lines in a log
    EVERY = 5.0

    def __init__(self, name: str, run: Run, *, quiet: bool) -> None:
        self._name = name
        self._due = int((run.plan or {}).get("due", 0))
        self._done = 0
        self._quiet = quiet
        self._lock = threading.Lock()
        self._started = self._told = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        out = console()
        if out.is_terminal and not self._quiet:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]} records/s"),
                TimeRemainingColumn(),
                console=out,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._due, rate="…")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def batch(self, disposed: Disposed) -> None:
        """Count a batch; called from any lane."""
        with self._lock:
            self._done += disposed.rows
            now = time.monotonic()
            rate = self._done / max(now - self._started, 0.001)
            if self._bar is not None:
                self._bar.update(self._task, completed=self._done, rate=f"{rate:,.0f}")
            elif not self._quiet and now - self._told >= self.EVERY:
                self._told = now
                left = max(self._due - self._done, 0) / rate if rate else 0.0
                self._say(
                    f"{self._name}: {self._done:,} of {self._due:,} records, {rate:,.0f} a second, {left:,.0f} s left"
                )

    def _say(self, line: str) -> None:
        try:
            click.echo(line)
        except OSError:
            self._quiet = True  # nobody reads on; that ends the telling, never the run
