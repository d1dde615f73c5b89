"""The demo on the PostgreSQL that it starts."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A socket's path may have 107 bytes at most, and the server's own user must be able to get there."""
    with tempfile.TemporaryDirectory(prefix="retention-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_demo_on_postgresql(at: Callable[[Path], Retention], short_path: Path) -> None:
    said = at(short_path)("demo", "--postgres", "--into", "pg").out
    stop = re.search(r"Stop it with\n  (.+)\n", said)
    start = re.search(r"start it again with\n  (.+)\n", said)
    assert stop is not None and start is not None
    project = at(short_path / "pg")
    try:
        assert "200,000 records went" in said
        assert said.count("everything is as it was written") == 2
        assert "4 policies are valid" in project("validate").out
        plans = project("plan", "--json").json["policies"]
        assert [plan["due"] for plan in plans] == [0, 0, 0, 0]
        assert sum(plan["held"] for plan in plans) > 0
        batch = project("archive", "list", "--json").json[0]["batch"]
        key = project("archive", "show", batch, "--json").json["key_least"]
        [went] = project("explain", "crm.activities", str(key), "--json").json["archived"]
        assert went["values"]["id"] == key
        restored = project("archive", "restore", "--key", str(key), "--reason", "asked for", "--yes", "--json").json
        assert [one["restored"] for one in restored] == [1]
        assert project("explain", "crm.activities", str(key), "--json").json["exists"]
        project("archive", "verify")
        project("audit", "verify")
        subprocess.run(shlex.split(stop[1]), check=True, capture_output=True)
        down = project("plan", status=1)
        assert "cannot connect" in down.err
        subprocess.run(shlex.split(start[1]), check=True, capture_output=True)
        project("plan", "sales-records")
    finally:
        subprocess.run(shlex.split(stop[1]), check=False, capture_output=True)
