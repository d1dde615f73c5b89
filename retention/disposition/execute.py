"""Working on a shard: lanes take windows until none is left, somebody asks to stop, or something fails."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from retention.disposition.batch import Lane, dispose
from retention.disposition.job import Disposed, Job, Window
from retention.disposition.windows import Windows
from retention.errors import SourceFailed
from retention.sources.read import Widen
from retention.sources.source import SourceBusy
from retention.trace import carried

#: a row that the application changes meanwhile, a deadlock or a lock that is busy: the batch is tried again this often
ATTEMPTS = 6


def execute(job: Job, windows: Windows) -> None:
    """Dispose of what is due in the windows. Returns early, with whole batches done, when ``job.go_on`` says no.

    Raises the first error of any lane, after the other lanes have ended their batch.
    """
    failed = threading.Event()
    count = 1 if job.bound.shared else job.source.in_flight  # batches that share rows go on one at a time
    with ThreadPoolExecutor(max_workers=count, thread_name_prefix="lane") as pool:
        lanes = [pool.submit(carried(_work), job, windows, failed) for _ in range(count)]
        for lane in as_completed(lanes):
            if lane.exception() is not None:
                failed.set()
    for lane in lanes:
        lane.result()


def _work(job: Job, windows: Windows, failed: threading.Event) -> None:
    lane = Lane(job)
    try:
        while not failed.is_set() and job.go_on():
            window = windows.next()
            if window is None:
                return
            batch = _insist(lane, window)
            windows.learn(window, batch)
            job.progress(batch)
    finally:
        lane.close()


def _insist(lane: Lane, window: Window) -> Disposed:
    """Dispose of a window, again after what can pass; each attempt begins anew, with the fence and the holds."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return dispose(lane, window)
        except Widen as found:
            lane.wide |= found.columns
        except SourceBusy:
            if attempt == ATTEMPTS:
                raise
            time.sleep(random.uniform(0.5, 1.0) * 0.1 * 2**attempt)
    raise SourceFailed(
        f"a batch of {lane.job.bound.address} could not be read: values beyond Arrow's range kept appearing",
        hint="run again; if it stays, the table is being changed while it is read",
    )
