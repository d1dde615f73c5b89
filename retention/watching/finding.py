"""What `retention doctor` found of one part: how grave it is, and what to change, ready to paste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum

from retention.errors import Failed, RetentionError


class Level(Enum):
    """How grave a finding is."""

    OK = "ok"
    #: worth knowing
    NOTE = "note"
    #: it works, and will cost time, room or a surprise
    WARNING = "warning"
    #: something is refused, or cannot be done, until it is changed
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    #: "source crm", "class crm.activities", "archive cold", "control database", "policies"
    subject: str
    level: Level
    what: str
    #: what to do about it, as a statement, a line of YAML or words; "" where nothing is to be done
    change: str = ""
    #: False for an error that says nothing yet: the part did not answer
    answered: bool = True

    def to_json(self) -> dict[str, object]:
        """The fields as `doctor --json` prints them."""
        return {**asdict(self), "level": self.level.value}


def failed(subject: str, error: RetentionError) -> Iterator[Finding]:
    """The error as findings, one for each thing that it names."""
    for message, hint in error.parts:
        answered = not isinstance(error, Failed)
        yield Finding(subject=subject, level=Level.ERROR, what=message, change=hint, answered=answered)


def megabytes(size: int) -> str:
    """``1,234 MB``, rounded up."""
    return f"{-(-size // 1024**2):,} MB"
