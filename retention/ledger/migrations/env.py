"""Run by Alembic, on the connection and in the transaction that `Control.upgrade` hands over."""

from __future__ import annotations

from alembic import context

import retention.ledger.migrations.resumed  # noqa: F401  # Alembic finds what is in it by the dialects' names
from retention.ledger.migrations import VERSION_TABLE
from retention.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
