"""Policies as beat entries, in a form that any beat understands."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.beat import Scheduler

from retention.policy.policy import Schedule
from retention.scheduling.entries import LOOK, PolicySchedule

SHANGHAI = Schedule(cron="0 2 1 1,4,7,10 *", timezone=ZoneInfo("Asia/Shanghai"))
DUE = datetime(2026, 9, 30, 18, tzinfo=UTC)


def at(moment: datetime) -> PolicySchedule:
    return PolicySchedule(SHANGHAI, nowfun=lambda: moment)


def test_it_is_due_at_the_policy_s_own_local_time() -> None:
    assert at(DUE - timedelta(seconds=1)).is_due(DUE - timedelta(days=1)) == (False, 1.0)
    due, following = at(DUE).is_due(DUE - timedelta(days=1))
    assert due and following == (datetime(2026, 12, 31, 18, tzinfo=UTC) - DUE).total_seconds()
    assert at(DUE).is_due(DUE).is_due is False


def test_remaining_time() -> None:
    assert at(DUE - timedelta(hours=1)).remaining_estimate(DUE - timedelta(hours=1)) == timedelta(hours=1)


def test_equal_schedules_are_equal_and_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(PolicySchedule(SHANGHAI)))
    assert copy == PolicySchedule(SHANGHAI) and hash(copy) == hash(PolicySchedule(SHANGHAI))
    assert copy != PolicySchedule(Schedule(cron=SHANGHAI.cron, timezone=ZoneInfo("UTC")))


def test_celery_s_own_scheduler_takes_the_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery(set_as_current=False)
    app.conf.beat_schedule = {"notes": {"task": LOOK, "schedule": at(DUE)}}
    scheduler = Scheduler(app)
    scheduler.schedule["notes"].last_run_at = DUE - timedelta(days=1)
    sent: list[str] = []
    monkeypatch.setattr(scheduler, "apply_async", lambda entry, **_: sent.append(entry.task))
    monkeypatch.setattr(Scheduler, "producer", None)
    assert scheduler.tick() == 0
    assert sent == [LOOK]
