"""Every YAML example in the documents loads as the project that it says it is a part of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retention.config import load_config, load_project

if TYPE_CHECKING:
    from tests.docs.conftest import Document

FILE = re.compile(r"^# (retention\.yaml|policies/[\w-]+\.yaml)$", re.MULTILINE)


def files(document: Document) -> list[tuple[str, str]]:
    """The document's YAML examples, each with the file that its comment names."""
    found = []
    for block in document.blocks("yaml"):
        named = FILE.search(block)
        assert named is not None, f"{document.name}: a YAML example does not say which file it is:\n{block}"
        found.append((named[1], block))
    return found


def test_the_documents_have_examples(documents: list[Document]) -> None:
    """So that the next test cannot pass by finding none."""
    assert sum(len(files(document)) for document in documents) >= 5


def test_every_example_loads(documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document's policies load with its first retention.yaml; every other retention.yaml loads alone."""
    monkeypatch.setenv("CRM_URL", "postgresql://reader@db.example/crm")
    monkeypatch.delenv("RETENTION_CONTROL_URL", raising=False)
    for number, document in enumerate(documents):
        folder = tmp_path / str(number)
        (folder / "policies").mkdir(parents=True)
        policies = [(name, block) for name, block in files(document) if name != "retention.yaml"]
        configs = [block for name, block in files(document) if name == "retention.yaml"]
        for name, block in policies:
            (folder / name).write_text(block, encoding="utf-8")
        for alone, block in enumerate(configs):
            config = folder / f"retention-{alone}.yaml"
            config.write_text(block, encoding="utf-8")
            assert load_config(config).classes
        if policies:
            project = load_project(folder / "retention-0.yaml")
            assert len(project.policies.policies) == len(policies)


def test_the_commented_clocks_are_right() -> None:
    """The table of dated cases in policy-language.md says what the code does."""
    from datetime import UTC, date, datetime, time, timedelta
    from zoneinfo import ZoneInfo

    from retention.policy.clock import expired
    from retention.policy.period import Period
    from retention.policy.policy import Retain

    text = (Path(__file__).parents[2] / "docs" / "policy-language.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\d+ \w+ \d{4})(?:, [\d:]+)? \| ([\w ]+) \| (\d+ \w+ \d{4}) \| (\d+ \w+ \d{4}) \|$", text, re.M
    )
    assert len(rows) == 4

    def day(words: str) -> date:
        return datetime.strptime(words, "%d %B %Y").replace(tzinfo=UTC).date()

    for clock, period, kept, gone in rows:
        retain = Retain(period=Period.parse(period))
        assert day(gone) == day(kept) + timedelta(days=1)
        for as_of, outcome in ((day(kept), False), (day(gone), True)):
            moment = datetime.combine(as_of, time(12), tzinfo=UTC)
            assert expired(retain, day(clock), moment, ZoneInfo("UTC")) is outcome, (clock, period, as_of)
