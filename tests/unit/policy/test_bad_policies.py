"""Every case of tests/bad_policies, and the exact messages that a person gets; and that the JSON Schema agrees."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from retention.config import load_project
from retention.errors import PolicyFilesError
from retention.policy.document import Block, Items, Node, Value, parse_document
from retention.policy.schema import config_schema, policy_schema

CASES = Path(__file__).parents[2] / "bad_policies"
GOOD = {
    "policies/case.yaml": """\
policy: case
title: A case
mandate: Some rule
records: crm.activities
tags: [sales]
retain: {for: 5 years}
archive: {to: cold, keep: 2 years}
then: delete
schedule: quarterly
""",
    "retention.yaml": """\
timezone: Asia/Shanghai
fiscal_year_starts: 04-01
sources:
  crm:
    url: sqlite:///crm.db
    classes:
      activities:
        table: activity_logs
        key: id
        created: created_at
        tags: {column: tags}
        columns: [status, action, amount, closed_at]
      plain:
        table: plain
        key: [a, b]
archives:
  cold: {url: "file:./archive"}
""",
}


@dataclass
class Case:
    title: str
    file: str = "policies/case.yaml"
    changes: list[str] = field(default_factory=list)
    whole: list[str] | None = None
    says: list[str] = field(default_factory=list)
    loader_only: str = ""

    def text(self) -> str:
        if self.whole is not None:
            return "\n".join(self.whole) + "\n"
        lines = GOOD[self.file].splitlines()
        last: int | None = None
        for change in self.changes:
            line = change[2:] if change.startswith("| ") else change[3:]
            key = re.match(r" *[\w? ]+?(?=:|$)", line)
            found = [n for n, old in enumerate(lines) if key is not None and old.startswith(key[0] + ":")]
            indent = re.match(r"[ \t]*", line)
            assert indent is not None
            if change.startswith("|-"):
                del lines[found[0]]
            elif found and not change.startswith("|+"):
                last = found[0]
                lines[last] = line
            else:
                siblings = [
                    n for n, old in enumerate(lines) if old.startswith(indent[0]) and old[len(indent[0])] != " "
                ]
                last = (siblings[-1] if last is None else last) + 1 if indent[0] else len(lines)
                lines.insert(last, line)
        return "\n".join(lines) + "\n"


def read_cases() -> list[Case]:
    cases: list[Case] = []
    for path in sorted(CASES.glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            mark, rest = line[:2], line[2:]
            if mark == "##":
                cases.append(Case(title=f"{path.stem}: {rest.strip()}"))
            elif mark == "@ ":
                cases[-1].file = rest
            elif mark == "? ":
                cases[-1].loader_only = rest
            elif mark == "> ":
                cases[-1].says.append(rest)
            elif line.startswith("|"):
                cases[-1].changes.append(line)
            elif line.startswith("+"):
                cases[-1].whole = [*(cases[-1].whole or []), rest]
    return cases


ALL = read_cases()


def problems_of(folder: Path, files: dict[str, str]) -> list[str]:
    (folder / "policies").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    try:
        load_project(folder / "retention.yaml")
    except PolicyFilesError as error:
        return [str(problem) for problem in error.problems]
    return []


def as_an_editor_reads(node: Node | None) -> object:
    """The document as a YAML 1.2 editor sees it: dates are text."""
    match node:
        case Block():
            return {key: as_an_editor_reads(entry) for key, entry in node.entries.items()}
        case Items():
            return [as_an_editor_reads(item) for item in node.items]
        case Value():
            return node.value if isinstance(node.value, str | bool | int | float | None) else node.text
    return None


def accepted_by_schema(file: str, text: str) -> bool:
    node, _ = parse_document(text.encode(), file)
    schema = config_schema() if file == "retention.yaml" else policy_schema()
    return Draft202012Validator(schema).is_valid(as_an_editor_reads(node))


def test_the_good_files_are_good(tmp_path: Path) -> None:
    assert problems_of(tmp_path, GOOD) == []
    assert all(accepted_by_schema(file, text) for file, text in GOOD.items())


def test_there_are_many_and_no_two_alike() -> None:
    assert len(ALL) >= 150
    assert len({case.title for case in ALL}) == len({(case.file, case.text()) for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
def test_what_a_person_is_told(case: Case, tmp_path: Path) -> None:
    said = problems_of(tmp_path, {**GOOD, case.file: case.text()})
    assert said == case.says
    assert said, "a bad file must be refused"


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
def test_the_schema_refuses_it_too_or_says_why_not(case: Case) -> None:
    _, problems = parse_document(case.text().encode(), case.file)
    if problems:
        return  # no YAML, or a part of YAML that is refused whatever it says: editors check that by themselves
    assert accepted_by_schema(case.file, case.text()) is bool(case.loader_only), case.text()
