"""Every promise names tests that keep it, and each of them exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize(("document", "least"), [("promises.md", 40), ("scheduling.md", 15)])
def test_every_named_test_exists(root: Path, document: str, least: int) -> None:
    named = NAMED.findall((root / "docs" / document).read_text(encoding="utf-8"))
    assert len(named) > least
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (root / file).is_file()
        or not re.search(rf"^\s*def {test}\(", (root / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_every_promise_of_the_design_has_its_section_and_a_test(root: Path) -> None:
    promised = re.findall(r"^\| (P\d) \|", (root / "docs" / "design.md").read_text(encoding="utf-8"), re.MULTILINE)
    text = (root / "docs" / "promises.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (P\d): (.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert promised == sorted(sections) == ["P1", "P2", "P3", "P4", "P5", "P6", "P7"]
    assert [promise for promise, section in sections.items() if not NAMED.search(section)] == []
