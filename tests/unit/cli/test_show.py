"""How plans look: figures, shares and reasons that a person reads at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from retention.cli.show import counted, local, show_plan
from retention.disposition.plan import LimitUse, Plan, PolicyPlan

PLAN = PolicyPlan(
    policy="sales-records",
    title="Sales records, five years",
    records="crm.activities",
    as_of="2026-11-23T14:00:00+00:00",
    cutoff="2021-11-23",
    matched=2000,
    due=1500,
    not_expired=400,
    kept_last=0,
    kept_by_other=60,
    held=30,
    blocked=0,
    no_clock=9,
    future_clock=1,
    by_tag={"sales": 1500, "key-account": 20},
    by_month={f"{year}-{month:02}": 10 for year in (2019, 2020) for month in range(1, 13)},
    kept_by={"business-letters": 60},
    held_by={"H-20261123-abcdef": 30},
    blocked_by={},
    dependents={"activity_comments": 1},
    detached={},
    unmatched=198_000,
    unreadable_tags=0,
    limits=(
        LimitUse(name="rows", written="5000000", limit=5_000_000, planned=1500),
        LimitUse(name="share", written="25%", limit=50_000, planned=1500),
    ),
)


def shown(plan: PolicyPlan, uncovered: int = 0) -> str:
    out = Console(width=110, highlight=False, force_terminal=False, color_system=None)
    with out.capture() as capture:
        show_plan(out, Plan(policies=(plan,), uncovered={"crm.activities": uncovered}), ZoneInfo("Asia/Shanghai"))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_a_plan() -> None:
    assert shown(PLAN, uncovered=1).splitlines() == [
        "sales-records  Sales records, five years",
        "  crm.activities as of 2026-11-23 22:00 (Asia/Shanghai): expired is what is dated before 2021-11-23",
        "  go now                        1,500  with 1 row of activity_comments",
        "  stay: not expired yet           400",
        "  stay: another policy decides     60  business-letters 60",
        "  stay: held                       30  H-20261123-abcdef 30",
        "  stay: no clock                    9",
        "  stay: clock in the future         1",
        "  matched in all                2,000",
        "  by tag       sales 1,500, key-account 20",
        "  by month     2019-01 10, 2019-02 10, 2019-03 10, 2019-04 10, 2019-05 10, 2019-06 10, … 16 months 160 …,",
        "               2020-11 10, 2020-12 10",
        "  limit rows   1,500 of at most 5,000,000: under 1% used",
        "  limit share  1,500 of at most 50,000 (25% of the class): 3% used",
        "",
        "1 record of crm.activities: no policy covers them, so they stay.",
    ]


def test_what_blocks_is_told_by_its_table() -> None:
    text = shown(replace(PLAN, blocked=3, blocked_by={"invoices": 2, "disputes": 1}))
    assert "  stay: blocked                     3  by rows of invoices 2, disputes 1" in text


def test_what_stays_and_is_detached_is_told_beside_what_goes() -> None:
    assert "with 1 row of activity_comments, detaching 2 rows of audit_rows" in shown(
        replace(PLAN, detached={"audit_rows": 2})
    )


def test_indexes_to_make_stand_whole_on_a_line() -> None:
    statement = f"CREATE INDEX ON activity_comments ({'a' * 100});"
    assert f"\n    {statement}\n" in shown(replace(PLAN, missing_indexes=(statement,)))


def test_nothing_due_and_nothing_that_expires() -> None:
    none = replace(PLAN, due=0, cutoff=None, by_tag={}, by_month={}, dependents={}, limits=())
    text = shown(none)
    assert "(Asia/Shanghai): nothing expires" in text
    assert "  go now                            0\n" in text
    assert "by tag" not in text and "by month" not in text


def test_an_exceeded_limit_and_tags_that_cannot_be_read_stand_out() -> None:
    limit = LimitUse(name="share", written="0.500000%", limit=0, planned=7)
    text = shown(replace(PLAN, limits=(limit,), unreadable_tags=1))
    assert "limit share  7 of at most 0 (0.5% of the class): all used" in text
    assert "The plan exceeds the limit share: nothing of this policy will be deleted." in text
    assert "1 record has tags that cannot be read" in text


@pytest.mark.parametrize(
    ("written", "said"), [("10.000000%", "10%"), ("100%", "100%"), ("33.333333%", "33.333333%"), ("0.5%", "0.5%")]
)
def test_a_share_has_no_needless_zeros(written: str, said: str) -> None:
    limit = LimitUse(name="share", written=written, limit=100, planned=0)
    assert f"0 of at most 100 ({said} of the class): 0% used" in shown(replace(PLAN, limits=(limit,)))


def test_words() -> None:
    assert counted(1, "batch", "batches") == "1 batch"
    assert counted(2_000, "batch", "batches") == "2,000 batches"
    assert counted(0, "record") == "0 records"
    assert local(datetime(2026, 11, 23, 16, tzinfo=UTC), ZoneInfo("Asia/Shanghai")) == "2026-11-24 00:00"
