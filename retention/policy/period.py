"""A retention period: so many months and days, so many hours, or forever."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Period:
    """Calendar periods have months or days; exact ones have hours alone; ``forever`` has neither.

    Years are 12 months, weeks are 7 days. Never zero, never negative, at most 200 years.
    """

    months: int = 0
    days: int = 0
    hours: int = 0
    forever: bool = False
