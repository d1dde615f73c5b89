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
        """The next window, or None when the last one (open to the right) was handed out."""
        with self._lock:
            if self._finished:
                return None
            found = self._session.rows(
                statements.window_end(self._job.bound, self._condition, after=self._after, rows=self._rows)
            )
            until = tuple(found[0]) if found else None
            window = Window(after=self._after, until=until)
            self._after = until
            self._finished = until is None
            return window

    def learn(self, batch: Disposed) -> None:
        """Widen or narrow the windows to come by what a row turned out to weigh."""
        if batch.rows == 0:
            return
        fitting = MOST_BYTES * batch.rows // max(batch.bytes, 1)
        with self._lock:
            self._rows = max(1, min(MOST_ROWS, fitting))

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
