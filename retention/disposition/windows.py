"""Key windows: where one batch ends and the next begins, in the database's own order of keys.

A LIMIT inside a DELETE costs nine times a plain one (measured), and paging without a lower bound degrades; so each window's
end is looked up first, by the key's index alone, on a connection of its own. Where a source has one writer (SQLite),
the batch finds its own end while it reads. A window is only a stretch of keys: the batch tests the whole predicate.
"""

from __future__ import annotations

import threading

from retention.disposition.job import Disposed, Job, Window
from retention.sources import statements

#: due records that a batch should have; the first ones are small, because nothing is known about the rows' width yet
FIRST_ROWS = 1_000
MOST_ROWS = 20_000
#: so many times as many where one lane works alone: nothing else is done there while it commits
ALONE = 1.25
#: and bytes
MOST_BYTES = 64 * 2**20
#: a stretch of keys has at most so many records, due or not: all of them could turn out to be due
MOST_KEYS = 100_000


class Windows:
    """Hands out windows to any number of lanes, each once, in key order."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._session = job.source.session()
        self._after = job.shard.after if job.shard.cursor is None else job.shard.cursor
        self._rows = FIRST_ROWS
        #: records of a stretch for each due one among them, as far as is known
        self._stretch = 1.0
        self._finished = False
        #: handed out and not dealt with, in key order
        self._open: list[Window] = []
        self._lock = threading.Lock()

    def next(self) -> Window | None:
        """The next window, or None when the last one was handed out."""
        with self._lock:
            if self._finished:
                return None
            # one writer: the batch itself finds where its window ends, and `learn` is told
            one_writer = self.job.source.one_writer
            window = Window(after=self._after, rows=self._rows) if one_writer else self._stretched()
            self._open.append(window)
            return window

    def _stretched(self) -> Window:
        """The next stretch of keys within the shard."""
        bound, last = self.job.bound, self.job.shard.until
        keys = min(MOST_KEYS, int(self._rows * self._stretch))
        end = statements.window_end(bound, after=self._after, rows=keys)
        found = self._session.rows(end.where(statements.in_window(bound, None, last)))
        until = tuple(found[0]) if found else last
        window = Window(after=self._after, until=until, keys=keys)
        self._after, self._finished = until, not found
        return window

    def learn(self, window: Window, batch: Disposed) -> None:
        """Widen or narrow the windows to come by what a row weighs and how many are due, and go on where a batch ended."""
        with self._lock:
            self._open.remove(window)
            if window.rows is not None:
                self._after, self._finished = batch.until, batch.until is None
            if batch.rows:
                most = int(MOST_ROWS * ALONE) if window.rows is not None else MOST_ROWS
                self._rows = max(1, min(most, MOST_BYTES * batch.rows // max(batch.bytes, 1)))
            if window.keys is not None:
                # no more than four times as long: what follows may be denser
                self._stretch = max(1.0, min(4 * self._stretch, window.keys / max(batch.rows, 1)))

    @property
    def cursor(self) -> tuple[object, ...] | None:
        """Everything up to this key was dealt with."""
        return self._open[0].after if self._open else self._after

    @property
    def exhausted(self) -> bool:
        """Whether everything in the shard was dealt with."""
        return self._finished and not self._open

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
