"""One look at the control database: who looks, in which transaction, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that is told of one moment is read in one transaction, so that it fits together."""

    engine: Engine
    connection: Connection
    #: aware, UTC
    now: datetime

    def age(self, moment: datetime) -> float:
        """How long ago that was, in seconds; 0 for what a clock that was ahead wrote down."""
        return round(max((self.now - moment).total_seconds(), 0.0), 1)
