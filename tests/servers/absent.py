"""A server that this machine may lack, because pip has none."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str, package: str) -> NoReturn:
    """Skip the test; CI, which installs every server, cannot do without."""
    told = f"{what} is not installed: Debian's package {package}"
    pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
