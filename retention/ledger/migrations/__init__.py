"""What Alembic runs to make and change the control database; part of the package, so an installed wheel has it.

Every release's revisions, oldest first. A database at any other revision was written by a newer release.
"""

from __future__ import annotations

REVISIONS = ("0001", "0002")

#: a name of our own, so that a database which another program's Alembic manages is not taken for a control database
VERSION_TABLE = "retention_version"
