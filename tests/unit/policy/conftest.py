"""Small builders for policies, classes and records."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import ArchiveRule, LegalBound, Limits, Policy, Retain, Schedule
from retention.policy.policy_set import PolicySet
from retention.policy.record_class import RecordClass

SHANGHAI = ZoneInfo("Asia/Shanghai")
MARK = Mark(file="case.yaml")


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    def make(name: str, period: str, **more: Any) -> Policy:
        clock = more.pop("clock", None)
        values: dict[str, Any] = {
            "name": name,
            "title": name,
            "mandate": None,
            "owner": None,
            "records": "crm.activities",
            "tags": None,
            "where": None,
            "retain": Retain(period=Period.parse(period), clock=clock),
            "archive": ArchiveRule(to="cold", keep=Period(days=1)),
            "schedule": Schedule(cron="0 2 * * *", timezone=SHANGHAI),
            "approval": False,
            "limits": Limits(share=Fraction(1, 4)),
            "digest": name,
            "mark": MARK,
        }
        return Policy(**{**values, **more})

    return make


@pytest.fixture
def make_class() -> Callable[..., RecordClass]:
    def make(**more: Any) -> RecordClass:
        values: dict[str, Any] = {
            "source": "crm",
            "name": "activities",
            "table": "activity_logs",
            "key": ("id",),
            "created": "created_at",
            "timezone": ZoneInfo("UTC"),
            "mark": MARK,
        }
        return RecordClass(**{**values, **more})

    return make


@pytest.fixture
def make_set() -> Callable[..., PolicySet]:
    def make(*policies: Policy, bounds: tuple[LegalBound, ...] = ()) -> PolicySet:
        return PolicySet(policies=policies, bounds=bounds, timezone=SHANGHAI, digest="")

    return make


@pytest.fixture
def make_bound() -> Callable[..., LegalBound]:
    def make(kind: Any, period: str, **more: Any) -> LegalBound:
        values: dict[str, Any] = {
            "records": "crm.activities",
            "tags": None,
            "where": None,
            "mandate": "The Act",
            "mark": MARK,
        }
        return LegalBound(kind=kind, period=Period.parse(period), **{**values, **more})

    return make
