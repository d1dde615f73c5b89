"""Which records are there, by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.holds.scope import Key
from retention.sources import statements
from retention.sources.bound_class import BoundClass

if TYPE_CHECKING:
    from retention.sources.source import Session


def key_table(bound: BoundClass, keys: Sequence[Key]) -> pa.Table:
    """The keys as a temporary table takes them (`Session.load_temporary`)."""
    names = bound.record_class.key
    return pa.table({name: pa.array([key[place] for key in keys]) for place, name in enumerate(names)})


def load_keys(session: Session, bound: BoundClass, keys: Sequence[Key]) -> None:
    """Load the keys into the session's temporary table KEYS, on which the statements by keys stand."""
    session.load_temporary(statements.KEYS, key_table(bound, keys))


def present(session: Session, bound: BoundClass, keys: Sequence[Key]) -> list[Key]:
    """Which of the records are in the source now. Raises SourceFailed."""
    if not keys:
        return []
    load_keys(session, bound, keys)
    return [tuple(row) for row in session.rows(statements.present_keys(bound))]
