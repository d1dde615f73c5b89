"""The starter policies fit the demo's project, and the schema beside them is the program's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
import yaml

from retention.config import load_project
from retention.demo import data
from retention.demo.project import make_project
from retention.policy.schema import policy_schema

POLICIES = Path(__file__).parents[2] / "policies"
STARTERS = sorted(POLICIES.glob("*.yaml"))


def test_the_schema_beside_them_is_what_the_program_prints() -> None:
    text = (POLICIES / "policy.schema.json").read_text(encoding="utf-8")
    assert text == json.dumps(policy_schema(), ensure_ascii=False, indent=2) + "\n", (
        "retention schema > policies/policy.schema.json"
    )


def test_there_are_four() -> None:
    assert [file.stem for file in STARTERS] == [
        "business-letters",
        "campaign-contacts",
        "sales-records",
        "service-notes",
    ]


@pytest.mark.parametrize("file", STARTERS, ids=lambda file: file.stem)
def test_a_starter_policy_names_the_schema_and_keeps_to_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./policy.schema.json\n")
    jsonschema.Draft202012Validator(policy_schema()).validate(yaml.safe_load(text))


def test_they_load_in_the_demo_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACTIVITIES", "COMMENTS", "ACCOUNTS"):
        monkeypatch.setattr(data, name, 50)
    facts = make_project(tmp_path, today=datetime(2026, 11, 23, tzinfo=UTC))
    policies = load_project(facts.config_path).policies.policies
    assert [policy.name for policy in policies] == [file.stem for file in STARTERS]
    assert all(policy.mandate and policy.owner and policy.archive is not None for policy in policies)
