"""Where something stands in a file, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Mark:
    """A place in a file; line and column count from 1, as editors do."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong in one place; printed as ``file:line:column: what is wrong, what would be right``."""

    mark: Mark
    #: what is wrong, with the value, as a clause without a full stop
    message: str
    #: what would be right
    remedy: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.message}, {self.remedy}" if self.remedy else f"{self.mark}: {self.message}"
