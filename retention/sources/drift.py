"""Whether a table still is what it was when it was looked at: a column that came later would go unarchived, and so would what
a later trigger or reference deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention.errors import SchemaUnsafe

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass
    from retention.sources.source import Session


def refuse_drift(session: Session, bound: BoundClass) -> None:
    """Raise SchemaUnsafe where the class's table or a dependent has gained, lost or renamed a column since it was bound, or
    gained a trigger, rule, partition or a reference to it. (On SQLite: where anything of the schema changed.)

    Asked in the transaction that deletes, which keeps the definitions (`Session.keep_definitions`).
    """
    for table in bound.tables:
        found = session.column_names(table)
        known = {column.name for column in table.columns}
        if found != known:
            raise _changed(f"the columns of {table.name} changed", ", ".join(sorted(found ^ known)))
    for name, marks in session.actions(bound.tables).items():
        if bound.actions.get(name) != marks:
            raise _changed(f"what the database does by itself to {name} changed", "")


def _changed(what: str, names: str) -> SchemaUnsafe:
    return SchemaUnsafe(
        f"{what} while it was worked on{': ' if names else ''}{names}. Nothing of this batch was deleted",
        hint="run again: the table is then looked at anew, and worked on as it is, or refused with what is unsafe",
    )
