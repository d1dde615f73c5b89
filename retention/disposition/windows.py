"""Key windows: where one batch ends and the next begins, in the database's own order of keys.

A LIMIT inside a DELETE costs nine times a plain one (measured), and paging without a lower bound degrades; so each window's
end is looked up first, beyond the last one's, on a connection of its own. The lookup is only a hint: the batch tests the
whole predicate again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from retention.disposition.job import Disposed, Job, Window
from retention.sources import statements

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

#: the first windows are small, because nothing is known about the width of the rows yet
FIRST_ROWS = 1_000
MOST_ROWS = 10_000
MOST_BYTES = 64 * 2**20


class Windows:
    """Hands out windows to any number of lanes, each once, in key order."""

    def __init__(self, job: Job, condition: ColumnElement[bool]) -> None:
        self._job = job
        self._condition = condition
        self._session = job.source.session()
        self._after: tuple[object, ...] | None = None
        self._rows = FIRST_ROWS
        self._finished = False
        self._lock = threading.Lock()

    def next(self) -> Window | None:
        """The next window, or None when the last one was handed out."""
        with self._lock:
            if self._finished:
                return None
            if self._job.source.in_flight == 1:
                # one lane: the batch itself finds where its window ends, and `learn` is told
                return Window(after=self._after, rows=self._rows)
            found = self._session.rows(
                statements.window_end(self._job.bound, self._condition, after=self._after, rows=self._rows)
            )
            until = tuple(found[0]) if found else None
            window = Window(after=self._after, until=until)
            self._after = until
            self._finished = until is None
            return window

    def learn(self, window: Window, batch: Disposed) -> None:
        """Widen or narrow the windows to come by what a row turned out to weigh, and go on where the batch ended."""
        with self._lock:
            if window.rows is not None:
                self._after, self._finished = batch.until, batch.until is None
            if batch.rows:
                self._rows = max(1, min(MOST_ROWS, MOST_BYTES * batch.rows // max(batch.bytes, 1)))

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
