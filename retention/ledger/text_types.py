"""Types of text columns. Text has no end on SQLite and PostgreSQL; MariaDB and MySQL index 3072 bytes at most, of four a
character, and end a TEXT at 64 KB. What is too long there is an error, never cut.

Migrations use them too, so none is ever changed: another length is another name.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR


def _indexed(length: int) -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(VARCHAR(length), "mysql", "mariadb")


#: text that no index has
TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
#: names and ids: those of policies, sources, classes and archives have 60 characters at most, hosts 64
NAME = _indexed(255)
#: a path in an archive; with the archive's name in one index
PATH = _indexed(512)
#: a key's values as JSON; with a hold's id in one index
KEY = _indexed(728)
