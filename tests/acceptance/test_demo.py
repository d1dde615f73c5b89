"""The demo tells the whole story, and leaves a project behind in which every command that it names works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


def told(demo: Retention) -> str:
    return (demo.folder / "said.txt").read_text(encoding="utf-8")


def test_it_says_what_went_what_stayed_and_why(demo: Retention) -> None:
    text = told(demo)
    report = text[text.index("\nReport\n") :]
    went, records, comments = re.search(r"([\d,]+) of ([\d,]+) records went, with ([\d,]+) comments", report).groups()
    assert records == "200,000"
    assert demo.sql("crm.db", "SELECT count(*) FROM activity_logs")[0][0] == 200_000 - int(went.replace(",", ""))
    assert demo.sql("crm.db", "SELECT count(*) FROM activity_comments")[0][0] == 60_000 - int(comments.replace(",", ""))
    for policy in ("business-letters", "campaign-contacts", "sales-records", "service-notes"):
        figures = re.search(rf"^{policy} +(.+)$", report, re.MULTILINE)
        assert figures is not None
        *reasons, matched = (int(figure.replace(",", "")) for figure in figures[1].split())
        assert sum(reasons) == matched
    assert re.search(r"^Held: H-\d{8}-\w+, Huaxin Logistics", report, re.MULTILINE)
    assert "No policy covers" in report
    assert "demo/archive" in report
    assert report.count("everything is as it was written") == 2


def test_it_reads_well_where_there_is_no_terminal(demo: Retention) -> None:
    lines = told(demo).splitlines()
    assert [line for line in lines if len(line) > 110] == []
    assert not any("\x1b" in line for line in lines)


def test_limits_are_said_without_needless_zeros(demo: Retention) -> None:
    shares = re.findall(r"limit share +(.+)", told(demo))
    assert len(shares) == 4
    for share in shares:
        assert re.fullmatch(r"[\d,]+ of at most [\d,]+ \(\d+% of the class\): \d+% used", share.strip()), share


def test_every_command_that_it_names_works(project: Retention) -> None:
    text = (project.folder / "said.txt").read_text(encoding="utf-8")
    further = text[text.index("\nLook further\n") :]
    commands = re.findall(r"^  retention (.+?)  ", further, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        words = [word.replace('"', "") for word in re.findall(r'"[^"]+"|\S+', command)]
        said = project(*words, *(["--yes"] if "restore" in words else []))
        assert said.out


def test_a_folder_that_holds_something_else_is_left_alone(demo: Retention, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    said = demo("demo", "--into", str(tmp_path), status=2)
    assert "is not an earlier demo" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_it_left_a_project_that_is_valid(demo: Retention) -> None:
    assert demo("validate").out.startswith("4 policies are valid: business-letters, ")
    assert json.loads(demo("validate", "--json").out) == {"valid": True, "problems": [], "advice": []}
    assert demo("validate", "--offline").out.startswith("4 policies are valid")
