"""How one column of a table stands in an archive file, as the manifest tells a person and `restore` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: ``native``: Arrow carries every value without loss; ``text``: the database's own text form, cast back on restore;
#: ``literal``: a literal of SQLite's SQL, for one column with values of several types
Travels: TypeAlias = Literal["native", "text", "literal"]


@dataclass(frozen=True, kw_only=True)
class ColumnEntry:
    """``type`` is the source database's own name for the column's type, ready for a CAST (``numeric(12,2)``)."""

    name: str
    type: str
    travels: Travels
