"""Which records are there, by their keys; and keys as the database itself writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.errors import InputError, SourceFailed
from retention.holds.scope import Key
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.keys import key_text, plain_key

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


def any_same(bound: BoundClass, keys: Sequence[Key], wanted: Sequence[Key]) -> bool:
    """Whether to the database one of the keys is the same as a wanted one, in whatever spelling: by the collations of the
    key's columns (MariaDB and MySQL). Raises SourceFailed."""
    if not keys:
        return False
    session = bound.source.session()
    try:
        session.begin(write=False)
        load_keys(session, bound, keys)
        some = (wanted[start : start + 500] for start in range(0, len(wanted), 500))
        return any(session.rows(statements.same_keys(bound, each)) for each in some)
    finally:
        session.close()


def as_written(bound: BoundClass, keys: Sequence[Key]) -> list[Key]:
    """The same keys, in the same order, as the database writes them: a person may write ``10.5`` for ``10.50``, ``\\xFF`` for
    ``\\xff``, or a time in another zone, and archived keys are compared by their text. Raises InputError where one is no
    key, SourceFailed."""
    if not keys or all(plain_key(one, bound.dialect) for one in bound.key_columns):
        return list(keys)
    session = bound.source.session()
    try:
        session.begin(write=True)
        rows = key_table(bound, keys).append_column(statements.PLACE, pa.array(range(len(keys))))
        session.load_temporary(statements.KEYS, rows)
        found = [tuple(row) for row in session.rows(statements.keys_as_written(bound))]
        for key, written in zip(keys, found, strict=True):
            if None in written:  # MySQL makes nothing of what is no value, and goes on
                raise InputError(f"{key_text(key)} is no key of {bound.address}")
        return found
    except SourceFailed as error:
        if str(getattr(error, "sqlstate", "")).startswith("22"):  # what the text says is no value of that type
            told = key_text(keys[0]) if len(keys) == 1 else f"one of {len(keys):,} keys"
            raise InputError(f"{told} is no key of {bound.address}: {error.message}") from None
        raise
    finally:
        session.close()
