"""`retention doctor`: each check has a database in which it fires, and one in which all is well."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from retention.config import load_project
from retention.disposition.engine import Engine
from retention.ledger.control import Control
from retention.watching.doctor import examine
from retention.watching.doctor_source import skew
from retention.watching.finding import Finding, Level
from tests.readonly import nobody

ROWS = 100
#: the servers of the tests do without it, as tests/conftest.py says
UNSAFE = "a crash of the machine loses what was committed"

INDEXES = (
    "CREATE INDEX a ON activity_logs (created_at)",
    "CREATE INDEX b ON activity_logs (closed_at)",
    "CREATE INDEX c ON activity_comments (activity_id)",
    "CREATE INDEX f ON comment_files (comment_id)",
)


def change(site: Any, *statements: str) -> None:
    """Run them, as this database wants them written."""
    if site.dialect == "mysql":  # an index has its name beside those of its table alone
        tables = {"a": "activity_logs", "b": "activity_logs", "c": "activity_comments"}
        if "DROP INDEX c" in statements:  # nor is there a foreign key without one
            site.run_sql(site.url, "ALTER TABLE activity_comments DROP FOREIGN KEY activity_comments_ibfk_1")
        statements = tuple(
            re.sub(r"DROP INDEX (\w)$", lambda at: f"{at[0]} ON {tables[at[1]]}", one) for one in statements
        )
    if site.dialect == "postgresql":
        site.run_sql(site.url, "DROP INDEX IF EXISTS activity_comments_activity_id_idx")
    site.run_sql(site.url, *statements)


def found(site: Any, *levels: Level) -> list[Finding]:
    """What it says of these levels, but for the one setting of the tests' server."""
    engine = Engine(load_project(site.config, lenient=True))
    every = list(examine(engine))
    if "control" in vars(engine):
        engine.control.close()
    return [one for one in every if one.level in levels and UNSAFE not in one.what]


def troubles(site: Any) -> list[Finding]:
    return found(site, Level.NOTE, Level.WARNING, Level.ERROR)


@pytest.fixture
def well(site: Any) -> Any:
    """A site of which nothing is to be said."""
    site.fill(ROWS)
    site.run_sql(site.url, *INDEXES)
    site.engine().store("cold").ensure(expected=False)
    return site


def test_all_is_well(well: Any) -> None:
    before = well.everything()
    assert troubles(well) == []
    told = {(one.subject, one.what.split(" answers")[0].split(",")[0]) for one in found(well, Level.OK)}
    assert ("class crm.activities", "table activity_logs") in told
    assert ("archive cold", "it is there") in told
    assert ("control database", "it is there") in told
    assert {subject for subject, _ in told} == {
        "source crm",
        "class crm.activities",
        "archive cold",
        "control database",
    }
    assert f"service-notes {len(well.due_ids(ROWS))}" in str([one.what for one in found(well, Level.OK)])
    assert well.everything() == before
    assert well.asked("SELECT count(*) FROM run") == [(0,)]


#: what is done to the database -> level, subject, what is said, what is to be changed
EITHER: dict[str, tuple[str, Level, str, str]] = {
    "no index on a dependent's key": (
        "DROP INDEX c",
        Level.WARNING,
        "no index begins with activity_id of activity_comments",
        "ON {schema}activity_comments (activity_id);",
    ),
    "no index on the clock": (
        "DROP INDEX a",
        Level.WARNING,
        "no index begins with the clock created_at",
        "ON {schema}activity_logs (created_at);",
    ),
    "no index on a policy's own clock": (
        "DROP INDEX b",
        Level.WARNING,
        "no index begins with the clock closed_at",
        "ON {schema}activity_logs (closed_at);",
    ),
    "a reference that is not declared": (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, log_id BIGINT,"
        " FOREIGN KEY (log_id) REFERENCES activity_logs (id) ON DELETE CASCADE);"
        "CREATE INDEX d ON notes (log_id)",
        Level.ERROR,
        "notes (log_id) refers to it, ON DELETE CASCADE, and is not declared",
        "notes: {{key: log_id}}",
    ),
    "no table": (
        "ALTER TABLE activity_logs RENAME TO logs",
        Level.ERROR,
        'has no table "activity_logs"',
        "did you mean",
    ),
    "no clock": (
        "ALTER TABLE activity_logs RENAME COLUMN created_at TO made_at",
        Level.ERROR,
        'has no column "created_at"',
        "did you mean",
    ),
    "a clock of a policy that is not there": (
        "ALTER TABLE activity_logs RENAME COLUMN closed_at TO ended_at",
        Level.ERROR,
        'has no column "closed_at"',
        "did you mean",
    ),
}


@pytest.mark.parametrize("what", EITHER)
def test_what_either_database_may_have(well: Any, what: str) -> None:
    statements, level, said, remedy = EITHER[what]
    change(well, *statements.split(";"))
    matching = [one for one in troubles(well) if said in one.what]
    assert [one.level for one in matching] == [level] * len(matching) != []
    wanted = remedy.format(schema="public." if well.dialect == "postgresql" else "")
    assert all(wanted in one.change for one in matching), matching


@pytest.mark.parametrize("what", ["no index on the clock", "no index on a dependent's key"])
def test_the_index_that_is_to_be_pasted_is_the_one_that_was_missing(well: Any, what: str) -> None:
    change(well, EITHER[what][0])
    [finding] = troubles(well)
    well.run_sql(well.url, finding.change)
    assert troubles(well) == []


def test_a_trigger_that_fires_on_deletion_or_insertion(well: Any) -> None:
    if well.dialect == "postgresql":
        well.run_sql(
            well.url,
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER rewriter BEFORE INSERT ON activity_comments FOR EACH ROW EXECUTE FUNCTION f()",
        )
    elif well.dialect == "mysql":
        well.run_sql(
            well.url, "CREATE TRIGGER rewriter BEFORE INSERT ON activity_comments FOR EACH ROW SET NEW.body = 'x'"
        )
    else:
        well.run_sql(
            well.url,
            "CREATE TRIGGER rewriter AFTER INSERT ON activity_comments BEGIN"
            " UPDATE activity_comments SET body = 'x' WHERE id = new.id; END",
        )
    [finding] = troubles(well)
    assert finding.level is Level.NOTE
    assert "trigger rewriter of activity_comments fires on insert" in finding.what
    cleaning = {
        "postgresql": "FOR EACH ROW EXECUTE FUNCTION f()",
        "mysql": "FOR EACH ROW DELETE FROM activity_comments",
        "sqlite": "BEGIN DELETE FROM activity_comments; END",
    }
    well.run_sql(well.url, f"CREATE TRIGGER cleaner AFTER DELETE ON activity_logs {cleaning[well.dialect]}")
    [error] = found(well, Level.ERROR)
    assert "a trigger that fires on deletion, cleaner" in error.what
    assert "drop cleaner" in error.change


def test_a_role_without_rights(make_site: Callable[..., Any], tmp_path: Path, postgres_url: str, run_sql: Any) -> None:
    site = make_site(tmp_path, postgres_url, run_sql, comments=True)
    role = f"weak_{make_url(postgres_url).database}"
    run_sql(
        postgres_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON activity_logs, activity_comments, comment_files TO {role}",
    )
    run_sql(postgres_url, *INDEXES)
    url = make_url(postgres_url).set(username=role).render_as_string(hide_password=False)
    site.config.write_text(site.config.read_text().replace(postgres_url, url))
    try:
        errors = found(site, Level.ERROR)
        assert [one.change for one in errors] == [
            f"GRANT DELETE ON public.activity_logs TO {role};",
            f"GRANT DELETE ON public.activity_comments TO {role};",
            f"GRANT DELETE ON public.comment_files TO {role};",
        ]
        run_sql(postgres_url, *(one.change for one in errors))
        warnings = found(site, Level.WARNING)  # it can be deleted by now, and not be restored
        assert [one.change for one in warnings] == [
            f"GRANT INSERT ON public.activity_logs TO {role};",
            f"GRANT INSERT ON public.activity_comments TO {role};",
            f"GRANT INSERT ON public.comment_files TO {role};",
        ]
        run_sql(postgres_url, *(one.change for one in warnings))
        assert found(site, Level.ERROR, Level.WARNING) == []
    finally:
        run_sql(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def in_shanghai(url: str) -> str:
    """Sessions begin in that zone."""
    return f"ALTER DATABASE {make_url(url).database} SET timezone = 'Asia/Shanghai'"


def test_a_server_in_another_zone_than_a_naive_clock(
    make_site: Callable[..., Any], tmp_path: Path, postgres_url: str, run_sql: Any
) -> None:
    site = make_site(tmp_path, postgres_url, run_sql, comments=True)
    run_sql(
        postgres_url, *INDEXES, in_shanghai(postgres_url), "ALTER TABLE activity_logs ALTER created_at TYPE timestamp"
    )
    [finding] = found(site, Level.WARNING)
    assert "clock created_at has no zone and is declared as UTC, and the server's sessions are in Asia/Shanghai" in (
        finding.what
    )
    line = finding.change.partition(":  ")[2]
    assert line == "timezone: Asia/Shanghai"
    site.config.write_text(site.config.read_text().replace("        timezone: UTC", f"        {line}"))
    assert found(site, Level.WARNING) == []


def test_a_clock_here_that_is_not_the_server_s(
    make_site: Callable[..., Any], tmp_path: Path, postgres_url: str, run_sql: Any
) -> None:
    site = make_site(tmp_path, postgres_url, run_sql, comments=True)
    run_sql(postgres_url, *INDEXES)
    assert not any("clock and the one here" in one.what for one in troubles(site))
    with site.at(datetime.now(UTC) + timedelta(hours=1)):
        said = [one.what for one in found(site, Level.WARNING)]
    assert any("the server's clock and the one here are 3" in what for what in said), said


def test_a_clock_is_off_only_by_what_waiting_does_not_explain() -> None:
    ten = datetime(2026, 10, 1, 10, tzinfo=UTC)
    for seconds, off in ((-3, 3), (0, 0), (2, 0), (4, 0), (9, 5)):
        assert skew(ten + timedelta(seconds=seconds), ten, ten + timedelta(seconds=4)) == timedelta(seconds=off)


def test_a_server_that_loses_what_it_committed(
    make_site: Callable[..., Any], tmp_path: Path, postgres_url: str, run_sql: Any
) -> None:
    """The tests' own does without fsync."""
    site = make_site(tmp_path, postgres_url, run_sql, comments=True)
    [risk] = [one for one in examine(site.engine()) if UNSAFE in one.what]
    assert risk.level is Level.WARNING
    assert "ALTER SYSTEM SET fsync = on;" in risk.change


def test_an_archive_that_is_not_there_yet_is_no_error(well: Any) -> None:
    shutil.rmtree(well.folder / "archive")
    [note] = troubles(well)
    assert (note.level, note.subject) == (Level.NOTE, "archive cold")
    assert not (well.folder / "archive").exists()


def test_an_archive_that_has_lost_its_marker(well: Any) -> None:
    well.run()
    (well.folder / "archive" / "retention-archive.json").write_text("{}")
    [error] = found(well, Level.ERROR)
    assert error.subject == "archive cold"
    assert "has been changed since it was written" in error.what


def test_an_archive_that_can_only_be_read(
    make_site: Callable[..., Any], open_folder: Path, crm_url: str, run_sql: Any
) -> None:
    site = make_site(open_folder, crm_url, run_sql, comments=True)
    archive = site.folder / "archive"
    store = site.engine().store("cold")
    assert store.unwritable() is None  # where the first run would make it
    store.ensure(expected=False)
    assert store.unwritable() is None
    with nobody(archive):
        assert "may not write in" in str(store.unwritable())


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room(well: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 100))
    said = {one.subject: one.what for one in found(well, Level.WARNING)}
    assert set(said) == {"archive cold", "control database"}
    assert said["archive cold"].startswith("1 MB are free, and what would be archived now is 1 MB in the database")
    assert said["control database"] == "1 MB are free where it lies"


def test_a_control_database_that_is_not_there(well: Any) -> None:
    (well.folder / "retention.db").unlink()
    [*errors] = [one for one in found(well, Level.ERROR) if one.subject == "control database"]
    assert ["there is no control database" in one.what for one in errors] == [True]
    assert "retention control upgrade" in errors[0].change
    assert not (well.folder / "retention.db").exists()


def test_a_control_database_that_its_role_may_not_write(well: Any, postgres_url: str, run_sql: Any) -> None:
    Control.upgrade(postgres_url)
    role = f"reader_{make_url(postgres_url).database}"
    run_sql(postgres_url, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = make_url(postgres_url).set(username=role).render_as_string(hide_password=False)
    text = well.config.read_text()
    well.config.write_text(text.replace(f"control: sqlite:///{well.folder / 'retention.db'}", f"control: {url}"))
    try:
        errors = found(well, Level.ERROR)
        assert {one.subject for one in errors} == {"control database"}
        assert f"GRANT INSERT ON batch TO {role};" in [one.change for one in errors]
        assert [one.change for one in errors if "DELETE" in one.change] == [f"GRANT DELETE ON pause TO {role};"]
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for one in errors:
                connection.execute(one.change.encode())
        assert troubles(well) == []
    finally:
        run_sql(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_mistake_in_a_policy_hides_nothing_else(well: Any) -> None:
    (well.folder / "policies" / "service-notes.yaml").write_text("policy: [")
    change(well, "DROP INDEX a")
    said = {one.subject: one.level for one in troubles(well)}
    assert said == {"policies": Level.ERROR, "class crm.activities": Level.WARNING}


def test_statuses_and_json(well: Any) -> None:
    done = well.cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("0 errors, ")
    well.run_sql(well.url, "ALTER TABLE activity_logs RENAME TO logs")
    done = well.cli("doctor", "crm", "--json")
    assert done.returncode == 4
    [error] = [one for one in json.loads(done.stdout) if one["level"] == "error"]
    assert set(error) == {"subject", "level", "what", "change", "answered"}
    assert error["subject"] == "class crm.activities"
    text = well.config.read_text()
    away = "sqlite:////nowhere/crm.db" if well.dialect == "sqlite" else "postgresql://nobody@127.0.0.1:1/crm"
    well.config.write_text(text.replace(well.url, away))
    done = well.cli("doctor")
    assert done.returncode == 1, done.stdout
    assert "control database\n  ok" in done.stdout  # what is away hides nothing else
    done = well.cli("doctor", "cmr")
    assert done.returncode == 2
    assert 'crm"' in done.stderr


def test_a_composed_clock_is_looked_at_in_each_of_its_tables(site: Any) -> None:
    """Its columns in dependents and parents, the index by which they are found, and the zone of each."""
    wall = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP", "mysql": "DATETIME"}[site.dialect]
    change(
        site,
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, ended_on DATE)",
        f"ALTER TABLE activity_comments ADD COLUMN written_at {wall}",
        *INDEXES,
    )
    text = site.config.read_text().replace(
        "        created: created_at\n",
        "        created: last activity\n"
        "        clocks: {last activity: {latest of: [created_at, activity_comments.written_at, account.ended_on]}}\n"
        "        parents: {account: {table: accounts, column: account_id}}\n",
    )
    site.config.write_text(text)
    said = [one.what for one in found(site, Level.OK) if "clock last activity" in one.what]
    assert len(said) == 1, found(site, *Level)
    assert re.fullmatch(
        r"clock last activity is the latest of created_at \(.+\), activity_comments.written_at \(.+, in UTC\),"
        r" accounts.ended_on \(date, in UTC\), looked up for each record: no index on it could serve a plan",
        said[0],
        re.IGNORECASE,
    )
    assert found(site, Level.ERROR, Level.WARNING) == []
    change(site, "DROP INDEX c")
    assert [one.what for one in found(site, Level.WARNING)] == [
        "no index begins with activity_id of activity_comments: each deleted record reads all of it"
    ]
    site.policy("service-notes", retain="{for: 90 days, from: account.ended_on}")
    assert any("clock account.ended_on is accounts.ended_on (" in one.what for one in found(site, Level.OK))


def test_each_part_of_a_composed_clock_is_in_a_zone(
    make_site: Callable[..., Any], tmp_path: Path, postgres_url: str, run_sql: Any
) -> None:
    site = make_site(tmp_path, postgres_url, run_sql, comments=True)
    run_sql(
        postgres_url,
        *INDEXES,
        in_shanghai(postgres_url),
        "ALTER TABLE activity_comments ADD COLUMN written_at timestamp",
    )
    clocks = "        clocks: {last: {latest of: [created_at, activity_comments.written_at]}}\n        created: last\n"
    site.config.write_text(site.config.read_text().replace("        created: created_at\n", clocks))
    [finding] = found(site, Level.WARNING)
    assert finding.what.startswith("clock activity_comments.written_at has no zone and is declared as UTC")
