"""The demo on its own PostgreSQL: made, stopped and started by the printed commands, replaced, and stopped again."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from zoneinfo import ZoneInfo

import psycopg
import pytest
import yaml

from retention.config import load_project
from retention.demo import data, postgres
from retention.demo.project import ProjectFacts, make_project
from retention.errors import Failed
from retention.sources.bind import bind
from retention.sources.check import check
from retention.sources.open import open_source

UTC_ZONE = ZoneInfo("UTC")
TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that the server's own system user may reach; pytest's folders are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="demo"))
    yield path / "demo"
    postgres.stop(path / "demo" / "postgres")
    rmtree(path)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("ACTIVITIES", 400), ("COMMENTS", 100), ("ACCOUNTS", 50)):
        monkeypatch.setattr(data, name, count)


def made(folder: Path) -> tuple[ProjectFacts, postgres.ServerFacts]:
    facts = make_project(folder, today=TODAY, postgres=True)
    assert facts.server is not None
    return facts, facts.server


def ask(url: str, question: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row


def run(command: str) -> None:
    subprocess.run(shlex.split(command), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def test_the_database_is_filled_and_the_commands_stop_and_start_it(folder: Path) -> None:
    facts, server = made(folder)
    config = yaml.safe_load(facts.config_path.read_text(encoding="utf-8"))
    assert config["sources"]["crm"]["url"] == server.url
    assert "timezone" not in config["sources"]["crm"]["classes"]["activities"]
    assert ask(server.url, "SELECT count(*), count(created_at) > 390 FROM activity_logs") == (400, True)
    tagged = "SELECT count(*) FROM activity_logs WHERE tags @> '{service-note,temporary}' AND amount IS NULL"
    assert ask(server.url, tagged) > (100,)
    first = "SELECT created_at AT TIME ZONE 'UTC', closed_at IS NULL FROM activity_logs ORDER BY id LIMIT 1"
    assert str(ask(server.url, first)[0]) == next(iter(data.activities(TODAY)))[8]

    project = load_project(facts.config_path)
    bound = bind(open_source(project.config.sources["crm"]), project.config.classes["crm.activities"], {})
    assert [dependent.table.name for dependent in bound.dependents] == ["activity_comments"]
    assert [problem for policy in project.policies.policies for problem in check(bound, policy, UTC_ZONE)] == []

    run(server.stop)
    with pytest.raises(psycopg.OperationalError):
        ask(server.url, "SELECT 1")
    run(server.start)
    assert ask(server.url, "SELECT count(*) FROM activity_comments") == (100,)


def test_a_later_demo_replaces_the_server_and_one_on_sqlite_stops_it(folder: Path) -> None:
    _, server = made(folder)
    with psycopg.connect(server.url) as connection:
        connection.execute("DELETE FROM activity_comments")
    _, server = made(folder)
    assert ask(server.url, "SELECT count(*) FROM activity_comments") == (100,)
    make_project(folder, today=TODAY)
    assert not (folder / "postgres").exists()
    with pytest.raises(psycopg.OperationalError):
        ask(server.url, "SELECT 1")


def test_a_server_that_died_does_not_stand_in_the_way(folder: Path) -> None:
    _, server = made(folder)
    stale = (folder / "postgres" / "postmaster.pid").read_text()
    run(server.stop)
    (folder / "postgres" / "postmaster.pid").write_text(stale)
    postgres.stop(folder / "postgres")


def test_a_server_that_does_not_start_says_where_its_words_are(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Failed, match="did not start") as failed:
        postgres.start(folder / "postgres")
    assert str(folder / "postgres" / "log") in failed.value.hint
