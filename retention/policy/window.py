"""The hours of the day in which a policy may work: "01:00-05:00"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class RunWindow:
    """From one minute of the local day (counted from midnight) to before another, on the next day if that is earlier."""

    starts: int
    ends: int

    def is_open(self, wall: datetime) -> bool:
        """Whether a clock on the wall that shows ``wall`` is within it."""
        minute = wall.hour * 60 + wall.minute
        if self.starts < self.ends:
            return self.starts <= minute < self.ends
        return minute >= self.starts or minute < self.ends
