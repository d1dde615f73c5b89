"""The operator's guide: the chapters that it must have, each alert with its remedy, and each event of the logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

#: what logs speak of work that is done, with the ids of slot, run, shard and batch
WORK = re.compile(r'_log\.\w+\(\s*"((?:slot|shard|batch|run|control|litter)\.[\w-]+)"')


def chapters(root: Path) -> dict[str, str]:
    text = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


def test_it_has_the_chapters_that_an_operator_needs(root: Path) -> None:
    assert set(chapters(root)) >= {"Install", "Sizing", "Upgrade", "Backup and restore", "Watching", "Alerts"}


def test_each_alert_has_its_row_with_what_it_means_and_what_to_do(root: Path) -> None:
    [group] = yaml.safe_load((root / "deploy" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rows = re.findall(r"^\| `(Retention\w+)` \| (.+?) \| (.+?) \|$", chapters(root)["Alerts"], re.MULTILINE)
    assert [name for name, _, _ in rows] == [rule["alert"] for rule in group["rules"]]
    assert all(len(means) > 20 and len(do) > 20 for _, means, do in rows)


def test_each_event_of_the_logs_is_explained(root: Path) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (root / "retention").rglob("*.py")]
    said = {event for text in sources for event in WORK.findall(text)}
    # the beat names a slot's state
    said |= {f"slot.{state}" for state in ("due", "skipped", "missed")}
    rows = re.findall(r"^\| ((?:`[\w.-]+`(?:, )?)+) \| .+ \| .+ \|$", chapters(root)["Watching"], re.MULTILINE)
    assert {event for row in rows for event in re.findall(r"`([\w.-]+)`", row)} == said
