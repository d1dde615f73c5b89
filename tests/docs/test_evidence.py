"""Every test that the evidence names exists, and every mutation of `python -m tests.mutations` stands in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.mutations.table import MUTATIONS

if TYPE_CHECKING:
    from pathlib import Path

#: `file.py::test`, beneath tests/ or tests/proofs/, or the file alone
NAMED = re.compile(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)(?:::(\w+))?[^`]*`")


def _text(root: Path) -> str:
    return (root / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_every_named_test_exists(root: Path) -> None:
    named = NAMED.findall(_text(root))
    assert len(named) > 30
    missing = []
    for file, test in named:
        paths = [path for path in (root / "tests" / file, root / "tests" / "proofs" / file) if path.is_file()]
        if not any(re.search(rf"^def {test}" if test else "", path.read_text(), re.MULTILINE) for path in paths):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_mutation_stands_in_it_and_no_other(root: Path) -> None:
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in _text(root).partition("## Mutations")[2].splitlines()
        if re.match(r"\| P\d ", line)
    }
    wanted = {(one.promise, one.name, f"`{one.file}`", f"`{one.test.removeprefix('tests/')}`") for one in MUTATIONS}
    assert rows == wanted
