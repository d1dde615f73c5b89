"""What this process may not do with an SQLite file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retention.sources.rights import Lack

#: what SQLite itself puts beside the file: a writer needs to write these too, where they are there
_BESIDE = ("-journal", "-wal", "-shm")


def sqlite_lacks(file: Path) -> Iterator[Lack]:
    """Why nothing in the file could be changed: SQLite opens such a file without a word, and fails at the first change."""
    beside = [one for one in (Path(f"{file}{ending}") for ending in _BESIDE) if one.exists()]
    by_effect = os.access in os.supports_effective_ids
    for one in (file, *beside):
        if not os.access(one, os.W_OK, effective_ids=by_effect):
            remedy = f"let user {os.geteuid()} write it: chmod or chown, and no read-only mount"
            yield Lack(what=f"{one} can only be read", remedy=remedy)
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=by_effect):
        remedy = f"let user {os.geteuid()} create files in it: SQLite puts its journal beside the database"
        yield Lack(what=f"the folder {file.parent} can only be read", remedy=remedy)
