"""From a real schema to files that load and bind, on every database."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from retention.config import SourceConfig, load_project
from retention.policy.tags import TagColumn, TagTable
from retention.sources.bind import bind
from retention.sources.open import open_source
from retention.starter_project import StarterProject, propose, write

SCHEMA = (
    "CREATE TABLE accounts (id {int} PRIMARY KEY, name text NOT NULL, customer_since date NOT NULL)",
    "CREATE TABLE activity_logs (id {int} PRIMARY KEY, account_id {int} NOT NULL REFERENCES accounts (id), "
    "status text, tags {tags}, created_at {instant} NOT NULL, closed_at {instant})",
    "CREATE TABLE activity_comments (id {int} PRIMARY KEY, activity_id {int} REFERENCES activity_logs (id), body text)",
    "CREATE TABLE orders (shop {int}, number {int}, made_on date NOT NULL, PRIMARY KEY (shop, number))",
    "CREATE TABLE events (id {int} PRIMARY KEY, occurred_at {wall} NOT NULL)",
    "CREATE TABLE event_tags (event_id {int} REFERENCES events (id), tag {word}, PRIMARY KEY (event_id, tag))",
    "CREATE TABLE settings (name {word} PRIMARY KEY, value text)",
    "CREATE TABLE imports (line text, loaded_at {wall})",
    "CREATE VIEW recent AS SELECT * FROM events",
)
TYPES = {
    "sqlite": {"int": "INTEGER", "instant": "TIMESTAMP", "wall": "timestamp", "word": "text", "tags": "TEXT"},
    "postgresql": {"int": "bigint", "instant": "timestamptz", "wall": "timestamp", "word": "text", "tags": "text[]"},
    "mysql": {"int": "bigint", "instant": "timestamp", "wall": "datetime", "word": "varchar(40)", "tags": "json"},
}


@pytest.fixture
def dialect(crm_url: str, run_sql: Callable[..., None]) -> str:
    """The dialect of ``crm_url``, with the schema made."""
    name = crm_url.partition(":")[0]
    run_sql(crm_url, *(statement.format(**TYPES[name]) for statement in SCHEMA))
    return name


def project(url: str) -> StarterProject:
    return propose(open_source(SourceConfig(name="crm", url=url, classes={})))


@pytest.mark.usefixtures("dialect")
def test_the_schema_becomes_classes(crm_url: str) -> None:
    proposed = {one.name: one for one in project(crm_url).classes}
    assert [(name, one.doubt is None) for name, one in proposed.items()] == [
        ("activity_logs", True),
        ("events", True),
        ("orders", True),
        ("accounts", False),
    ]
    logs = proposed["activity_logs"]
    assert (logs.created.name, logs.other_clocks, logs.tags) == ("created_at", ("closed_at",), TagColumn(column="tags"))
    assert [(one.table, one.key, one.question) for one in logs.dependents] == [
        ("activity_comments", ("activity_id",), None)
    ]
    assert proposed["events"].tags == TagTable(table="event_tags", record=("event_id",), tag="tag")
    assert proposed["orders"].key == ("shop", "number")


@pytest.mark.usefixtures("dialect")
def test_every_other_table_is_named_with_the_reason(crm_url: str) -> None:
    assert {one.table: one.why.partition(",")[0] for one in project(crm_url).skipped} == {
        "activity_comments": "its rows are a part of activity_logs",
        "event_tags": "its rows are a part of events",
        "imports": "it has no primary key",
        "settings": "it has no column with a date",
    }


def test_only_times_without_a_zone_ask_for_one(crm_url: str, dialect: str) -> None:
    needing = {one.name for one in project(crm_url).classes if one.needs_zone}
    assert needing == ({"activity_logs", "events"} if dialect == "sqlite" else {"events"})


@pytest.mark.usefixtures("dialect")
def test_once_the_questions_are_answered_the_project_loads_and_binds(crm_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder, crm_url, project(crm_url))
    config = folder / "retention.yaml"
    answered = config.read_text(encoding="utf-8").replace("        # timezone: UTC ", "        timezone: UTC ")
    config.write_text(answered, encoding="utf-8")

    example = folder / "policies" / "activity-logs.yaml.example"
    answers = {
        "title": "Activities",
        "mandate": "Rule 1",
        "owner": "me@example.com",
        "for": "5 years",
        "keep": "2 years",
    }
    policy = example.read_text(encoding="utf-8").replace("tags: []", "tags: [sales]")
    for key, value in answers.items():
        policy = re.sub(rf"^( *{key}:) +# DECIDE.*$", rf"\1 {value}", policy, flags=re.MULTILINE)
    example.with_name("activity-logs.yaml").write_text(policy, encoding="utf-8")

    loaded = load_project(config)
    source = open_source(loaded.config.sources["crm"])
    assert set(loaded.config.classes) == {"crm.activity_logs", "crm.events", "crm.orders"}
    for record_class in loaded.config.classes.values():
        bound = bind(source, record_class, loaded.config.classes)
        assert bound.table.bare_name == record_class.name
