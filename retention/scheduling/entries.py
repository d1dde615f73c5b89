"""Policies compiled into beat entries: one a policy, with the policy's own cron in its own time zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import BaseSchedule, schedstate

from retention.policy.policy import Policy, Schedule
from retention.scheduling import cron

#: the one task there is; its name never changes, so that messages of older and newer releases are understood
LOOK = "retention.look"


class PolicySchedule(BaseSchedule):  # type: ignore[misc]  # celery has no types
    """A policy's schedule in Celery's form: as `cron.slots` says, whatever Celery's own zone is."""

    def __init__(self, schedule: Schedule, **more: Any) -> None:
        super().__init__(**more)
        self.policy_schedule = schedule

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot after the aware ``moment``, UTC; None where there is none."""
        return next((slot.due_at for slot in cron.slots(self.policy_schedule, after=moment)), None)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Until the next slot; as long as a timedelta can be where there is none."""
        due_at = self.next_after(_aware(last_run_at))
        return timedelta.max if due_at is None else due_at - _aware(self.now())

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a slot came since, and the seconds until the next one."""
        now = _aware(self.now())
        due_at, following = self.next_after(_aware(last_run_at)), self.next_after(now)
        seconds = timedelta.max.total_seconds() if following is None else (following - now).total_seconds()
        return schedstate(due_at is not None and due_at <= now, seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PolicySchedule) and other.policy_schedule == self.policy_schedule

    def __hash__(self) -> int:
        return hash(self.policy_schedule.cron)

    def __repr__(self) -> str:
        return f"<{self.policy_schedule.cron} {self.policy_schedule.timezone.key}>"

    def __reduce__(self) -> tuple[type[PolicySchedule], tuple[Schedule]]:
        return type(self), (self.policy_schedule,)


def beat_entries(policies: Iterable[Policy]) -> dict[str, dict[str, Any]]:
    """The policies as Celery's ``beat_schedule``: policy -> task and schedule.

    Every entry sends the same hint. What is due, and whether it ran, is in the control database alone, so that an entry
    that fires twice, late or not at all changes nothing.
    """
    return {policy.name: {"task": LOOK, "schedule": PolicySchedule(policy.schedule)} for policy in policies}


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
