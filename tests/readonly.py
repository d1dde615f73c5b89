"""Files that can only be read, also for root, whom modes do not keep from writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nobody(*files: Path) -> Iterator[None]:
    """Within, this process may write none of these files and folders; root becomes somebody else for that."""
    modes = {file: file.stat().st_mode for file in files}
    for file in files:
        file.chmod(0o555 if file.is_dir() else 0o444)
    try:
        if os.geteuid() == 0:
            os.seteuid(65534)
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for file, mode in modes.items():
            file.chmod(mode)
