"""Whether a table still has the columns that it had when it was looked at: what came later would go unarchived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from retention.errors import SchemaUnsafe
from retention.sources.sql import raw, rows_of

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass
    from retention.sources.source import Session


def refuse_drift(session: Session, bound: BoundClass) -> None:
    """Raise SchemaUnsafe where the table or a dependent has gained, lost or renamed a column since it was bound.

    Asked in the transaction that deletes: from then on its lock keeps the columns as they are. (`SELECT *` is resolved
    against the catalogue as it is, also on PostgreSQL, whose own tables would answer from the transaction's snapshot.)
    """
    for table in (bound.table, *(dependent.table for dependent in bound.dependents)):
        found = set(session.arrow(sa.select(raw("*")).select_from(rows_of(table)).limit(0)).column_names)
        known = {column.name for column in table.columns}
        if found != known:
            changed = ", ".join(sorted(found ^ known))
            raise SchemaUnsafe(
                f"the columns of {table.name} changed while it was worked on: {changed}. Nothing of this batch was deleted",
                hint="run again: the table is then looked at anew, and archived with the columns that it has",
            )
