"""The status as Prometheus metrics (deploy/metrics.md lists them). Everything is read when it is asked for, so it is right
whatever became of the processes that did the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from retention.watching.status import Status


def exposition(status: Status) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(status))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        yield from _of_policies(self._status)
        yield from _of_everything(self._status)


def _of_policies(status: Status) -> Iterator[Metric]:
    lateness = _gauge(
        "retention_slot_lateness_seconds", "How long the oldest slot not begun is past its time.", "policy"
    )
    ahead = _gauge(
        "retention_schedule_ahead_seconds", "For how long no slot is opened yet, because a clock was ahead.", "policy"
    )
    success = _gauge(
        "retention_slot_last_success_timestamp_seconds", "When the policy's last run ended, all done.", "policy"
    )
    overdue = _gauge("retention_overdue_records", "Records that are expired, not held, and still there.", "policy")
    oldest = _gauge("retention_overdue_oldest_seconds", "For how long the oldest of them has been expired.", "policy")
    held = _gauge("retention_held_overdue_records", "Records that are expired and kept by a hold.", "policy")
    deleted = CounterMetricFamily(
        "retention_deleted_records", "Records deleted in committed batches.", labels=["policy"]
    )
    for one in status.policies:
        name = [one.policy]
        lateness.add_metric(name, one.lateness_seconds)
        ahead.add_metric(name, 0 if one.ahead_until is None else _timestamp(one.ahead_until) - _timestamp(status.at))
        deleted.add_metric(name, one.deleted)
        if one.last_success_at is not None:
            success.add_metric(name, _timestamp(one.last_success_at))
        if one.overdue is not None:
            overdue.add_metric(name, _number(one.overdue["records"]))
            oldest.add_metric(name, _number(one.overdue["oldest_seconds"]))
            held.add_metric(name, _number(one.overdue["held"]))
    yield from (lateness, ahead, success, overdue, oldest, held, deleted)


def _of_everything(status: Status) -> Iterator[Metric]:
    yield _by("retention_runs", "Runs by state, destructions included.", "state", status.runs_by_state)
    yield _one("retention_batches_in_doubt", "Batches of which nobody knows yet what became.", status.batches_in_doubt)
    yield _one("retention_quarantined", "Slots and shards that were given up.", len(status.quarantined))
    yield _one("retention_queue_depth", "Pieces of work that could be taken now.", status.queue_depth)
    yield _one("retention_queue_oldest_seconds", "For how long the oldest of them waits.", status.queue_oldest_seconds)
    yield _one("retention_workers", "Processes heard of lately.", sum(one["alive"] is True for one in status.workers))
    seen: dict[str, float] = {}
    for worker in status.workers:
        kind, age = str(worker["kind"]), _number(worker["seen_seconds"])
        seen[kind] = min(age, seen.get(kind, age))
    yield _by("retention_worker_seen_seconds", "Since when the liveliest of the kind was not heard of.", "kind", seen)
    yield _by("retention_holds", "Holds by state.", "state", status.holds)
    if status.oldest_hold_seconds is not None:
        yield _one("retention_hold_oldest_seconds", "Age of the oldest hold not released.", status.oldest_hold_seconds)
    if status.ledger is not None:
        yield _one("retention_ledger_ok", "Whether the ledger verified.", float(status.ledger["ok"] is True))
    whole = {str(one["archive"]): float(one["ok"] is True) for one in status.archives if one["ok"] is not None}
    yield _by("retention_archive_ok", "Whether the archive was in order when last verified.", "archive", whole)
    # where only a clock that was ahead has told anything, nobody knows for how long: that is to alert
    ages = {
        str(one["archive"]): inf if one["unverified_seconds"] is None else _number(one["unverified_seconds"])
        for one in status.archives
        if one["used"]
    }
    name = "retention_archive_unverified_seconds"
    yield _by(name, "For how long nobody has found the archive in order.", "archive", ages)
    if status.policy_load is not None:
        ok, good_at = status.policy_load["ok"] is True, status.policy_load["good_at"]
        yield _one("retention_policy_load_ok", "Whether the policy files as they are now are in force.", float(ok))
        if good_at is not None:
            name = "retention_policy_load_timestamp_seconds"
            yield _one(name, "When a set of policies last came into force.", _timestamp(str(good_at)))


def _gauge(name: str, says: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, labels=[label])


def _by(name: str, says: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = _gauge(name, says, label)
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _one(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, value=value)


def _timestamp(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _number(value: object) -> float:
    assert isinstance(value, int | float), "the status has numbers there"
    return float(value)
