"""What the engine may not see or do stops it before anything goes: "0 due" never means "I may not look"."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from retention.config import SourceConfig, load_project
from retention.demo import postgres
from retention.disposition import restore
from retention.disposition.engine import Engine
from retention.errors import RightMissing, SchemaUnsafe, SourceFailed
from retention.sources.open import open_source
from retention.sources.rights import Need, lacks
from tests.readonly import nobody
from tests.servers.mariadb import MariadbServer

ROWS = 100


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> str:
    """The dialects whose databases have users; a test that is about one of them says which, by indirect parametrization."""
    return str(request.param)


@pytest.fixture
def owned(request: pytest.FixtureRequest, server: str, tmp_path: Path, run_sql: Any) -> Any:
    """The site with comments, as its owner has it, who may do everything."""
    url = request.getfixturevalue("postgres_url" if server == "postgresql" else "mariadb_url")
    return request.getfixturevalue("make_site")(tmp_path, url, run_sql, comments=True)


@pytest.fixture
def clerk(owned: Any, server: str) -> Iterator[str]:
    """A role that has all that docs/tables/rights.md asks for, and the site runs as it."""
    role = f"clerk_{uuid.uuid4().hex[:8]}"
    grants, ends = {
        "postgresql": (
            [
                f"CREATE ROLE {role} LOGIN",
                f"GRANT SELECT, DELETE, INSERT ON activity_logs, activity_comments, comment_files TO {role}",
            ],
            [f"REASSIGN OWNED BY {role} TO postgres", f"DROP OWNED BY {role}", f"DROP ROLE {role}"],
        ),
        "mysql": (
            [
                f"CREATE USER {role}",
                f"GRANT SELECT, CREATE TEMPORARY TABLES ON `{_escaped(database(owned))}`.* TO {role}",
                *(
                    f"GRANT SELECT, DELETE, INSERT, TRIGGER ON {database(owned)}.{table} TO {role}"
                    for table in owned.tables
                ),
            ],
            [f"DROP USER {role}"],
        ),
    }[server]
    owned.run_sql(owned.url, *grants)
    owned.fill(ROWS)
    as_owner = owned.config.read_text()
    url = make_url(owned.url).set(username=role).render_as_string(hide_password=False)
    owned.config.write_text(as_owner.replace(owned.url, url))
    yield role
    owned.run_sql(owned.url, *ends)


def database(site: Any) -> str:
    return str(make_url(site.url).database)


#: what is taken from a role that has all it needs -> what is said, and the remedy
TAKEN = {
    "postgresql": {
        "to read the table": (
            "REVOKE SELECT ON activity_logs FROM {role}",
            "role {role} may not SELECT activity_logs",
            "GRANT SELECT ON public.activity_logs TO {role};",
        ),
        "to read one column": (
            "REVOKE SELECT ON activity_logs FROM {role};"
            "GRANT SELECT (id, account_id, status, amount, tags, created_at, closed_at) ON activity_logs TO {role}",
            "role {role} may not SELECT note of activity_logs",
            "GRANT SELECT ON public.activity_logs TO {role};",
        ),
        "to read a dependent": (
            "REVOKE SELECT ON activity_comments FROM {role}",
            "role {role} may not SELECT activity_comments",
            "GRANT SELECT ON public.activity_comments TO {role};",
        ),
        "to delete": (
            "REVOKE DELETE ON activity_logs FROM {role}",
            "role {role} may not DELETE activity_logs",
            "GRANT DELETE ON public.activity_logs TO {role};",
        ),
        "to delete a dependent": (
            "REVOKE DELETE ON activity_comments FROM {role}",
            "role {role} may not DELETE activity_comments",
            "GRANT DELETE ON public.activity_comments TO {role};",
        ),
        "to see every row": (
            "ALTER TABLE activity_logs ENABLE ROW LEVEL SECURITY;CREATE POLICY half ON activity_logs USING (id > 50)",
            "row-level security hides rows of activity_logs from role {role}",
            "ALTER ROLE {role} BYPASSRLS;",
        ),
        "to see every row of a dependent": (
            "ALTER TABLE activity_comments ENABLE ROW LEVEL SECURITY",
            "row-level security hides rows of activity_comments from role {role}",
            "ALTER ROLE {role} BYPASSRLS;",
        ),
        "to see every row of its own table": (
            "ALTER TABLE activity_logs OWNER TO {role}; ALTER TABLE activity_logs ENABLE ROW LEVEL SECURITY;"
            "ALTER TABLE activity_logs FORCE ROW LEVEL SECURITY",
            "row-level security hides rows of activity_logs from role {role}",
            "ALTER ROLE {role} BYPASSRLS;",
        ),
        "temporary tables": (
            "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
            "role {role} may not create temporary tables in database {database}",
            "GRANT TEMPORARY ON DATABASE {database} TO {role};",
        ),
        "locks": (
            "REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) FROM PUBLIC",
            "role {role} may not call pg_advisory_xact_lock_shared(bigint)",
            "GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock_shared(bigint) TO {role};",
        ),
    },
    "mysql": {
        "to read every table, for one that it does not see may refer to the records": (
            "REVOKE SELECT ON `{pattern}`.* FROM {role}",
            "user {role}@% may not see every table of database {database}, and one that it does not see may refer to the records",
            "GRANT SELECT ON `{pattern}`.* TO '{role}'@'%';",
        ),
        "to delete": (
            "REVOKE DELETE ON {database}.activity_logs FROM {role}",
            "user {role}@% may not DELETE activity_logs",
            "GRANT DELETE ON `{database}`.`activity_logs` TO '{role}'@'%';",
        ),
        "to delete a dependent of the second level": (
            "REVOKE DELETE ON {database}.comment_files FROM {role}",
            "user {role}@% may not DELETE comment_files",
            "GRANT DELETE ON `{database}`.`comment_files` TO '{role}'@'%';",
        ),
        "to see triggers": (
            "REVOKE TRIGGER ON {database}.activity_logs FROM {role}",
            "user {role}@% may not see the triggers of activity_logs",
            "GRANT TRIGGER ON `{database}`.`activity_logs` TO '{role}'@'%';",
        ),
        "to see the triggers of a dependent": (
            "REVOKE TRIGGER ON {database}.activity_comments FROM {role}",
            "user {role}@% may not see the triggers of activity_comments",
            "GRANT TRIGGER ON `{database}`.`activity_comments` TO '{role}'@'%';",
        ),
        "temporary tables": (
            "REVOKE CREATE TEMPORARY TABLES ON `{pattern}`.* FROM {role}",
            "user {role}@% may not create temporary tables in database {database}",
            "GRANT CREATE TEMPORARY TABLES ON `{pattern}`.* TO '{role}'@'%';",
        ),
        # of several grants whose patterns fit, the server goes by one alone
        "what a wider grant has and a narrower one has not": (
            "REVOKE TRIGGER ON {database}.activity_logs FROM {role};GRANT TRIGGER ON `test%`.* TO {role}",
            "user {role}@% may not see the triggers of activity_logs",
            "GRANT TRIGGER ON `{database}`.`activity_logs` TO '{role}'@'%';",
        ),
        # and the name of a database before that of a table is no pattern
        "what it has on a table of a database of almost that name": (
            "REVOKE TRIGGER ON {database}.activity_logs FROM {role};CREATE DATABASE {other};"
            "CREATE TABLE {other}.activity_logs (id INT);GRANT TRIGGER ON {other}.activity_logs TO {role};DROP DATABASE {other}",
            "user {role}@% may not see the triggers of activity_logs",
            "GRANT TRIGGER ON `{database}`.`activity_logs` TO '{role}'@'%';",
        ),
    },
}


def _escaped(name: str) -> str:
    """The name of a database as MariaDB's grants say it: an underscore alone would be a wildcard."""
    return name.replace("_", r"\_")


def refused_everywhere(site: Any, message: str, remedy: str) -> None:
    """`validate`, `plan` and `run` say it, and nothing goes."""
    for attempt in (site.plan, site.run):
        with pytest.raises(RightMissing) as caught:
            attempt()
        assert message in caught.value.message
        assert remedy in caught.value.hint
    [*problems] = map(str, site.engine().problems())
    assert any(message in one and remedy in one for one in problems), problems
    assert site.asked("SELECT count(*) FROM batch") == [(0,)]


@pytest.mark.parametrize(
    ("server", "what"), [(server, what) for server, taken in TAKEN.items() for what in taken], indirect=["server"]
)
def test_a_right_that_is_missing_is_named_with_what_to_grant(owned: Any, clerk: str, server: str, what: str) -> None:
    site = owned
    named = database(site)
    names = {"role": clerk, "database": named, "pattern": _escaped(named), "other": f"_{named[1:]}"}
    take, message, remedy = (text.format(**names) for text in TAKEN[server][what])
    site.run_sql(site.url, *take.split(";"))
    refused_everywhere(site, message, remedy)
    [(left,)] = owner_rows(site, "SELECT count(*) FROM activity_logs")
    assert left == ROWS
    site.run_sql(site.url, remedy)  # what is said to be pasted is what was missing
    assert site.plan().due == len(site.due_ids(ROWS))


def test_a_role_with_what_the_documentation_asks_for_can_do_it_all(owned: Any, clerk: str) -> None:
    site = owned
    assert site.engine().problems() == []
    due = site.due_ids(ROWS)
    site.run()
    assert site.ids() == set(range(1, ROWS + 1)) - due
    choice = restore.choose(site.engine(), run=None, keys=("15",), where=(), address=None)
    restore.restore(site.engine(), choice, reason="asked for")
    assert site.ids() == set(range(1, ROWS + 1)) - due | {15}


def test_a_role_with_no_more_than_that_sees_what_refers_to_its_records(owned: Any, clerk: str) -> None:
    """MariaDB shows such a user the columns of a reference, and not what it does on deletion."""
    site = owned
    below = "            dependents:\n              comment_files: {key: comment_id}\n"
    site.config.write_text(site.config.read_text().replace(below, ""))
    before = site.everything()
    with pytest.raises(SchemaUnsafe) as caught:
        site.run()
    assert "comment_files (comment_id) refers to its dependent activity_comments" in caught.value.message
    assert "comment_files: {key: comment_id}" in caught.value.hint
    assert site.everything() == before


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_table_of_another_database_that_refers_to_the_records_is_seen(owned: Any, clerk: str) -> None:
    """Of what it does on deletion the server tells a user nothing who may only read it."""
    site, other = owned, f"other_{uuid.uuid4().hex[:8]}"
    site.run_sql(
        site.url,
        f"CREATE DATABASE {other}",
        f"CREATE TABLE {other}.bills (id BIGINT PRIMARY KEY, activity_id BIGINT,"
        f" FOREIGN KEY (activity_id) REFERENCES {database(site)}.activity_logs (id) ON DELETE CASCADE)",
        f"GRANT SELECT ON {other}.bills TO {clerk}",
    )
    try:
        with pytest.raises(SchemaUnsafe, match=rf"{other}\.bills \(activity_id\) refers to it"):
            site.run()
        assert len(site.ids()) == ROWS
    finally:
        site.run_sql(site.url, f"DROP DATABASE {other}")


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_a_role_that_owns_its_table_sees_every_row_although_others_do_not(owned: Any, clerk: str) -> None:
    site = owned
    site.run_sql(
        site.url,
        f"ALTER TABLE activity_logs OWNER TO {clerk}",
        "ALTER TABLE activity_logs ENABLE ROW LEVEL SECURITY",
    )
    assert site.plan().due == len(site.due_ids(ROWS))


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_a_schema_that_may_not_be_used(owned: Any, clerk: str) -> None:
    site = owned
    site.run_sql(
        site.url,
        "CREATE SCHEMA app",
        "ALTER TABLE activity_logs SET SCHEMA app",
        "ALTER TABLE activity_comments SET SCHEMA app",
    )
    text = site.config.read_text().replace("table: activity_logs", "table: app.activity_logs")
    site.config.write_text(text.replace("activity_comments:", "app.activity_comments:"))
    message = f"role {clerk} may not use schema app, in which app.activity_logs is"
    refused_everywhere(site, message, f"GRANT USAGE ON SCHEMA app TO {clerk};")


def test_a_restore_needs_the_right_to_insert_before_it_places_its_hold(owned: Any, clerk: str) -> None:
    site = owned
    site.run()
    site.run_sql(site.url, f"REVOKE INSERT ON activity_comments FROM {clerk}")
    choice = restore.choose(site.engine(), run=None, keys=("15",), where=(), address=None)
    with pytest.raises(RightMissing, match=f"{clerk}(@%)? may not INSERT activity_comments"):
        restore.restore(site.engine(), choice, reason="asked for")
    assert site.asked("SELECT count(*) FROM hold") == [(0,)]


def test_a_restore_that_closes_a_circle_needs_the_right_to_update(owned: Any, clerk: str, server: str) -> None:
    """The column is added by the owner; asked before the hold is placed, as INSERT is."""
    site = owned
    site.run_sql(
        site.url,
        "ALTER TABLE activity_logs ADD COLUMN main_comment BIGINT",
        "ALTER TABLE activity_logs ADD FOREIGN KEY (main_comment) REFERENCES activity_comments (id)",
    )
    below = "            dependents:\n"
    closing = f"{below}              activity_logs: {{key: main_comment, then: block}}\n"
    site.config.write_text(site.config.read_text().replace(below, closing))
    site.run()
    choice = restore.choose(site.engine(), run=None, keys=("15",), where=(), address=None)
    with pytest.raises(RightMissing, match=f"{clerk}(@%)? may not UPDATE activity_logs"):
        restore.restore(site.engine(), choice, reason="asked for")
    assert site.asked("SELECT count(*) FROM hold") == [(0,)]
    place = "activity_logs" if server == "postgresql" else f"{database(site)}.activity_logs"
    site.run_sql(site.url, f"GRANT UPDATE ON {place} TO {clerk}")
    assert restore.restore(site.engine(), choice, reason="asked for")[0].restored == 1


def test_a_right_that_is_taken_between_plan_and_batch_fails_with_nothing_gone(
    owned: Any, clerk: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = owned
    monkeypatch.setattr(Engine, "deletable", Engine.checked)  # as if it was asked a moment before
    site.run_sql(site.url, f"REVOKE DELETE ON activity_logs FROM {clerk}")
    denied = (
        "permission denied for table"
        if server == "postgresql"
        else r"(DELETE|SELECT with locking clause) command denied to user .* for"
    )
    with pytest.raises(SourceFailed, match=f"{denied} .*activity_logs") as caught:
        site.run()
    assert "grant" in caught.value.hint
    assert len(site.ids()) == ROWS


def owner_rows(site: Any, statement: str) -> list[tuple[Any, ...]]:
    session = open_source(SourceConfig(name="crm", url=site.url, classes={})).session()
    try:
        return session.rows(statement)
    finally:
        session.close()


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_a_server_that_is_read_only(owned: Any, clerk: str, mariadb_server: MariadbServer, mysql_kind: str) -> None:
    """Whoever may write nevertheless, as administrators may, is not kept from it."""
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only = 1")
        try:
            told = f"the server of database {database(owned)} is read-only"
            refused_everywhere(owned, told, "name the server that is written to in the source's url")
            right = "READ_ONLY ADMIN" if mysql_kind == "mariadb" else "CONNECTION_ADMIN"
            owned.run_sql(owned.url, f"GRANT {right} ON *.* TO {clerk}")
            assert owned.run().deleted == len(owned.due_ids(ROWS))
        finally:
            cursor.execute("SET GLOBAL read_only = 0")


def test_a_standby(request: pytest.FixtureRequest, tmp_path: Path, run_sql: Any) -> None:
    folder = Path(tempfile.mkdtemp(prefix="retention-standby-"))
    try:
        server = postgres.start(folder / "data")
        try:
            site = request.getfixturevalue("make_site")(tmp_path, server.url, run_sql, comments=True)
            site.fill(ROWS)
            subprocess.run(shlex.split(server.stop), check=True, capture_output=True)
            (folder / "data" / "standby.signal").touch()
            subprocess.run(shlex.split(server.start), check=True, stdout=subprocess.DEVNULL)
            refused_everywhere(
                site,
                "the server of database crm is a standby, which can only be read",
                "name the primary in the source's url",
            )
        finally:
            postgres.stop(folder / "data")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_or_folder_that_can_only_be_read(
    request: pytest.FixtureRequest, open_folder: Path, run_sql: Any, what: str
) -> None:
    records = open_folder / "records"
    records.mkdir()
    file = records / "crm.db"
    file.touch()
    make: Callable[..., Any] = request.getfixturevalue("make_site")
    site = make(open_folder, f"sqlite:///{file}", run_sql, comments=True)
    site.fill(ROWS)
    for one in (records, file, site.folder, *site.folder.iterdir()):
        one.chmod(0o777)
    source = site.engine().source("crm")
    assert lacks(source, (), Need.DELETE) == []
    with nobody(file if what == "file" else records):
        message = f"{file} can only be read" if what == "file" else f"the folder {records} can only be read"
        refused_everywhere(site, message, f"user {os.geteuid()}")
        assert [lack.what for lack in lacks(source, (), Need.DELETE)] == [message]
    assert site.plan().due == len(site.due_ids(ROWS))
    assert load_project(site.config).config.folder == site.folder
