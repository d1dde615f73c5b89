"""`retention audit`: changes to the ledger are found and named, in the database and in an export that stands alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


def test_the_ledger_of_the_demo_is_whole(demo: Retention) -> None:
    report = demo("audit", "verify", "--json").json
    assert report["findings"] == []
    assert report["entries"] == demo.sql("retention.db", "SELECT count(*) FROM ledger")[0][0]
    assert demo("audit", "verify").out.endswith("The ledger is whole and unchanged.\n")


def test_show(demo: Retention) -> None:
    entries = demo("audit", "show", "--last", "1000", "--json").json
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0]["kind"] == "control.created"
    assert {"policies.changed", "hold.placed", "run.planned", "batch.committed", "run.finished"} <= {
        entry["kind"] for entry in entries
    }
    committed = demo("audit", "show", "--kind", "batch.committed", "--last", "1", "--json").json
    assert committed == [[one for one in entries if one["kind"] == "batch.committed"][-1]]
    subject = committed[0]["subject"]
    assert subject in demo("audit", "show", "--subject", subject).out
    assert all(len(line) <= 110 for line in demo("audit", "show").out.splitlines())
    assert demo("audit", "show", "--subject", "nobody").out == "The ledger has no such entries.\n"
    assert "there are no entries of kind 'hold.paced'" in demo("audit", "show", "--kind", "hold.paced", status=2).err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE ledger SET body = replace(body, 'customer', 'costumer') WHERE seq = 2", 2),
        ("UPDATE ledger SET at = '2026-01-01T00:00:00.000000Z' WHERE seq = 5", 5),
        ("DELETE FROM ledger WHERE seq = 7", 7),
        ("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)", None),
        ("UPDATE batch SET rows = rows + 1 WHERE number = 1", None),
        ("UPDATE hold SET state = 'released', released_at = placed_at", None),
    ],
)
def test_a_change_by_hand_is_found_and_named(project: Retention, change: str, named: int | None) -> None:
    project.sql("retention.db", "DROP TRIGGER IF EXISTS ledger_append_only")
    project.sql("retention.db", change)
    findings = project("audit", "verify", "--json", status=1).json["findings"]
    assert findings
    if named is not None:
        assert any(re.search(rf"\b{named}\b", finding) for finding in findings), findings


def test_an_export_verifies_anywhere_and_shows_any_change(
    demo: Retention, at: Callable[[Path], Retention], tmp_path: Path
) -> None:
    file = tmp_path / "ledger.jsonl"
    assert "audit verify --export" in demo("audit", "export", str(file)).out
    assert demo("audit", "export", "-").out == file.read_text(encoding="utf-8")
    assert "exists already" in demo("audit", "export", str(file), status=2).err
    away = at(tmp_path)  # no project, no database
    assert away("audit", "verify", "--export", "ledger.jsonl").out.endswith("The export is whole and unchanged.\n")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for changed in (lines[:3] + lines[4:], lines[:-1], [lines[0], lines[2], lines[1], *lines[3:]]):
        (tmp_path / "changed.jsonl").write_text("".join(changed), encoding="utf-8")
        said = away("audit", "verify", "--export", "changed.jsonl", status=1)
        assert "The export is NOT what was written" in said.err
        assert json.loads(away("audit", "verify", "--export", "changed.jsonl", "--json", status=1).out)["findings"]


def test_an_earlier_export_is_the_beginning_of_the_ledger(project: Retention, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    project("audit", "export", str(file))
    project("hold", "place", "--matter", "m", "--reason", "r", "--tag", "sales")
    assert "whole and unchanged" in project("audit", "verify", "--against", str(file)).out
    (project.folder / "retention.db").unlink()
    project("control", "upgrade")  # a new ledger, whole in itself
    project("audit", "verify")
    said = project("audit", "verify", "--against", str(file), status=1)
    assert "The ledger is NOT what was written" in said.err


@pytest.mark.parametrize("option", ["--export", "--against"])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere.jsonl", "No such file or directory"),
        ("crm.db", "cannot be read"),
        ("retention.yaml", "this is not a ledger export"),
        ("policies", "is a directory"),
    ],
)
def test_a_file_that_is_no_export_is_told(demo: Retention, option: str, file: str, message: str) -> None:
    error = demo("audit", "verify", option, file, "--json", status=2).error
    assert message in error["message"]
    assert error["hint"]
