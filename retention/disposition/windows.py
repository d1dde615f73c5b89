"""Key windows: where one batch ends and the next begins, in the database's own order of keys.

A LIMIT inside a DELETE costs nine times a plain one (measured), and paging without a lower bound degrades; so each window's
end is looked up first, by the key's index alone, on a connection of its own. Where one lane works at a time (SQLite),
the batch finds its own end while it reads. A window is only a stretch of keys: the batch tests the whole predicate.
"""

from __future__ import annotations

import threading

from retention.disposition.job import Disposed, Job, Window
from retention.sources import statements

#: due records that a batch should have; the first ones are small, because nothing is known about the rows' width yet
FIRST_ROWS = 1_000
MOST_ROWS = 10_000
#: and bytes
MOST_BYTES = 64 * 2**20
#: a stretch of keys has at most so many records, due or not: all of them could turn out to be due
MOST_KEYS = 100_000


class Windows:
    """Hands out windows to any number of lanes, each once, in key order."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._session = job.source.session()
        self._after: tuple[object, ...] | None = None
        self._rows = FIRST_ROWS
        #: records of a stretch for each due one among them, as far as is known
        self._stretch = 1.0
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
            keys = min(MOST_KEYS, int(self._rows * self._stretch))
            found = self._session.rows(statements.window_end(self._job.bound, after=self._after, rows=keys))
            until = tuple(found[0]) if found else None
            window = Window(after=self._after, until=until, keys=keys)
            self._after = until
            self._finished = until is None
            return window

    def learn(self, window: Window, batch: Disposed) -> None:
        """Widen or narrow the windows to come by what a row weighs and how many are due, and go on where a batch ended."""
        with self._lock:
            if window.rows is not None:
                self._after, self._finished = batch.until, batch.until is None
            if batch.rows:
                self._rows = max(1, min(MOST_ROWS, MOST_BYTES * batch.rows // max(batch.bytes, 1)))
            if window.keys is not None:
                # no more than four times as long: what follows may be denser
                self._stretch = max(1.0, min(4 * self._stretch, window.keys / max(batch.rows, 1)))

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
