"""The scheduler of `celery beat`: it opens slots in the control database and keeps nothing of its own."""

from __future__ import annotations

from typing import Any

from celery.beat import Scheduler

from retention.scheduling.app import send_looks
from retention.scheduling.current import Current
from retention.scheduling.entries import beat_entries
from retention.scheduling.reconcile import Reconciler
from retention.scheduling.tasks import refuse_memory
from retention.scheduling.ticker import Ticker


class SlotScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """Any number of beats may run with it, be killed, or be started anew anywhere: a slot is opened once."""

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **more: Any) -> None:
        super().__init__(app, *args, lazy=lazy, **more)
        if lazy:  # made only to be shown in the banner
            return
        refuse_memory(app)
        self._current = Current(app.retention_config)
        reconciler = Reconciler(self._current, kind="beat", send=lambda looks: send_looks(app, looks))
        self._ticker = Ticker(self._current, reconciler)

    def setup_schedule(self) -> None:
        """Nothing: the policies are the schedule, and the control database knows how far it was looked at."""

    def get_schedule(self) -> dict[str, Any]:
        """The policies as beat entries."""
        policies = self._current.project.policies.policies
        return {name: self._maybe_entry(name, entry) for name, entry in beat_entries(policies).items()}

    schedule = property(get_schedule)

    def tick(self, *_: Any, **__: Any) -> float:
        """Open what came due; returns the seconds until the next tick. Never raises, never waits for the broker."""
        return self._ticker.tick()

    def close(self) -> None:
        """End. There is nothing to save."""
        self._ticker.close()
        self._current.close()

    @property
    def info(self) -> str:
        """A line of the banner."""
        return "    . state -> the control database"
