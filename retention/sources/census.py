"""Counting a policy's records by what becomes of them, and the due ones by the local month of their clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.calendar import local_day
from retention.policy.decide import Fate
from retention.policy.policy import Policy
from retention.sources.bound_class import BoundClass
from retention.sources.clocks import Bound, before, day_bound
from retention.sources.predicate import clock_of, matches
from retention.sources.sql import string

#: how far back months are told apart; what is older counts as "earlier"
YEARS = 20
EARLIER = "earlier"


def census(
    bound: BoundClass, policy: Policy, fate: sa.ColumnElement[str], as_of: datetime, zone: ZoneInfo
) -> sa.Select[Any]:
    """(fate, month of a due record's clock as "2019-03" or "earlier" or null, how many): every record that the policy
    matches is in one row. ``fate`` is `predicate.fate`; ``zone`` the policies' time zone."""
    clock = clock_of(bound, policy.retain)
    judged = sa.select(fate.label("fate")).select_from(bound.rows).where(matches(bound, policy, zone))
    if clock is None:
        alone = judged.subquery("judged")
        return sa.select(alone.c.fate, sa.null(), sa.func.count()).select_from(alone).group_by(alone.c.fate)
    month = month_of(bound, clock, as_of, zone)
    # the months are told in the same pass, but of due records alone: CASE does not compute what it does not need
    dated = judged.add_columns(sa.case((fate == string(Fate.DUE.value), month)).label("month")).subquery("judged")
    return (
        sa.select(dated.c.fate, dated.c.month, sa.func.count())
        .select_from(dated)
        .group_by(dated.c.fate, dated.c.month)
        .order_by(dated.c.fate, dated.c.month)
    )


def month_of(bound: BoundClass, clock: str, as_of: datetime, zone: ZoneInfo) -> sa.ColumnElement[Any]:
    """The local month of the clock, found by halving the months before ``as_of``: eight comparisons for twenty years."""
    today = local_day(as_of, zone)
    last = today.year * 12 + today.month - 1
    starts = [date(index // 12, index % 12 + 1, 1) for index in range(max(last - YEARS * 12, 12), last + 1)]
    return _halved(bound, clock, starts, zone, below=EARLIER)


def _halved(
    bound: BoundClass, clock: str, starts: Sequence[date], zone: ZoneInfo, *, below: str
) -> sa.ColumnElement[Any]:
    """The month among those that begin on ``starts``, or ``below`` before the first of them."""
    if not starts:
        return string(below)
    middle = len(starts) // 2
    limit: Bound = day_bound(starts[middle], zone)
    return sa.case(
        (before(bound, clock, limit), _halved(bound, clock, starts[:middle], zone, below=below)),
        else_=_halved(bound, clock, starts[middle + 1 :], zone, below=f"{starts[middle]:%Y-%m}"),
    )
