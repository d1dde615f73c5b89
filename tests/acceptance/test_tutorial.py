"""The tutorial's commands, in its order, in the project that the demo left."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorial_can_be_followed(project: Retention, deleted: int) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ retention ")]
    assert lines.pop(0) == "retention demo"
    assert len(lines) > 10
    hold = "none yet"
    for line in lines:
        words = [str(deleted) if word == "1" else word for word in shlex.split(line)[1:]]
        said = project(*[hold if word.startswith("H-") else word for word in words])
        if words[:2] == ["hold", "place"]:
            hold = said.out.split()[0]


def test_the_tutorial_shows_what_the_program_says(project: Retention, deleted: int) -> None:
    """Figures, dates and identifiers aside, every line that it quotes is one that a command prints."""

    def shape(line: str) -> str:
        return re.sub(r"\s+", " ", re.sub(r"[\w-]*\d[\w,.:-]*", "#", line)).strip()

    text = TUTORIAL.read_text(encoding="utf-8")
    quoted = {
        shape(line)
        for block in re.findall(r"```(?:text|console)\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip() and not line.startswith("$ ")
    }
    said = [(project.folder / "said.txt").read_text(encoding="utf-8").replace("demo/archive", "retention-demo/archive")]
    key = str(deleted)
    for words in (
        ["plan", "service-notes", "--as-of", "2030-01-01"],
        ["explain", "crm.activities", "199999"],
        ["explain", "crm.activities", key],
        [*shlex.split("hold place --matter 1 --reason x --tag business-letter --from 2025-01-01 --to 2025-12-31")],
        ["archive", "verify"],
        ["archive", "restore", "--key", key, "--reason", "x", "--yes"],
        ["audit", "verify"],
        ["audit", "export", "ledger.jsonl"],
    ):
        said.append(project(*words).out)
    printed = {shape(line) for text in said for line in text.splitlines()}
    assert sorted(quoted - printed) == []
