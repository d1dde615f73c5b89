"""`retention init` on the demo's database, then what it asks people to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


#: what `init` could not know about the demo's database
DECISIONS = {
    "title:    #": "title: Activities, five years    #",
    "mandate:    #": "mandate: Internal control rules    #",
    "owner:    #": "owner: compliance@example.com    #",
    "tags: []    #": "all: true    #",
    "  for:    #": "  for: 5 years    #",
    "  keep:    #": "  keep: 1 year    #",
}


def test_from_a_database_to_a_plan(demo: Retention, at: Callable[[Path], Retention], tmp_path: Path) -> None:
    said = demo("init", f"sqlite:///{demo.folder / 'crm.db'}", "--into", str(tmp_path / "mine"))
    assert "retention validate" in said.out
    mine = at(tmp_path / "mine")
    config = (mine.folder / "retention.yaml").read_text(encoding="utf-8")
    assert "DECIDE" in config
    assert "table: activity_logs" in config
    assert "activity_comments: {key: activity_id}" in config
    mine("control", "upgrade")
    [example] = (mine.folder / "policies").glob("*.example")
    policy = mine.folder / "policies" / "activity-logs.yaml"
    text = example.read_text(encoding="utf-8")
    policy.write_text(text, encoding="utf-8")
    undecided = mine("validate", status=2).err
    assert "policies/activity-logs.yaml:" in undecided
    assert "retention.yaml:" not in mine("validate", "--offline", status=2).err
    for open_question, decision in DECISIONS.items():
        assert open_question in text
        text = text.replace(open_question, decision)
    policy.write_text(text, encoding="utf-8")
    assert "without a zone, say `timezone:` on its class" in mine("validate", status=2).err
    (mine.folder / "retention.yaml").write_text(config.replace("# timezone: UTC", "timezone: UTC"), encoding="utf-8")
    assert "1 policy is valid" in mine("validate").out
    [plan] = mine("plan", "--json").json["policies"]
    assert plan["matched"] == demo.sql("crm.db", "SELECT count(*) FROM activity_logs")[0][0]


def test_nothing_that_exists_is_overwritten(project: Retention) -> None:
    before = (project.folder / "retention.yaml").read_bytes()
    assert "so nothing was written" in project("init", "sqlite:///crm.db", status=2).err
    assert (project.folder / "retention.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("crm.db", 2, "URL names no database"),
        ("oracle://u:hidden-word@h/d", 2, "oracle, for which there is no code here"),
        ("mysql://u:hidden-word@127.0.0.1:1/d", 1, "cannot connect"),
        ("sqlite:///nowhere.db", 1, "there is no file"),
        ("sqlite:///retention.yaml", 1, "no SQLite database"),
        ("postgresql://u:hidden-word@127.0.0.1:1/d", 1, "cannot connect"),
        ("postgresql://u:hidden%2Dword@[::1/d", 2, ""),
        ("postgresql://u@127.0.0.1:1/d?password=hidden-word&connect_timeout=1", 1, "cannot connect"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(
    demo: Retention, tmp_path: Path, url: str, status: int, message: str
) -> None:
    said = demo("init", url, "--into", str(tmp_path / "new"), status=status)
    assert message in said.err
    assert "hidden" not in said.out + said.err
    assert "  " in said.err  # what to do
    assert list(tmp_path.iterdir()) == []
