"""Servers that speak a supported one's protocol and are something else: refused, and with `unsupported_dialect: accept` taken
after a trial. There is none of them here: a real PostgreSQL says that it is one, and does one thing as that one might."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from retention.config import SourceConfig
from retention.errors import SourceFailed, UnsupportedDatabase
from retention.ledger.control import Control
from retention.sources import mariadb_session, trial
from retention.sources.mariadb_session import MariadbSession
from retention.sources.open import open_source
from retention.sources.postgresql import PostgresqlSession
from retention.sources.source import Outcome, Source
from retention.watching.doctor_source import _accepted, examine_source
from retention.watching.finding import Level
from tests.integration.disposition.conftest import CONFIG, FILL, NOTES, TABLES, Site
from tests.servers import mariadb
from tests.servers.mariadb import MariadbServer

COCKROACH = "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, built 2024/05/15 21:28:29, go1.22.2)"
FENCE = "the lock by which a hold waits for batches"
OUTCOME = "what became of a transaction"
DELETION = "row counts and rollback of a deletion"
SNAPSHOT = "one state of the data within a transaction"


@pytest.fixture(autouse=True)
def nothing_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setattr(trial, "_passed", {})


Odd = Callable[..., Source]


@pytest.fixture
def odd(postgres_url: str, run_sql: Callable[..., None]) -> Odd:
    """``odd("CREATE ...")``: a source on a server that says it is CockroachDB, where what these statements make in the
    schema `odd` is found before the server's own."""
    database = postgres_url.partition("?")[0].rpartition("/")[2]

    def make(*statements: str) -> Source:
        run_sql(
            postgres_url,
            "CREATE SCHEMA odd",
            f"CREATE FUNCTION odd.version() RETURNS text LANGUAGE sql AS $$ SELECT '{COCKROACH}'::text $$",
            *statements,
            f"ALTER DATABASE {database} SET search_path = odd, pg_catalog, public",
        )
        return open_source(SourceConfig(name="crm", url=postgres_url, classes={}, accept_unsupported=True))

    return make


def _function(name: str, takes: str, returns: str, body: str, *, language: str = "sql") -> str:
    return f"CREATE FUNCTION odd.{name}({takes}) RETURNS {returns} LANGUAGE {language} AS $$ {body} $$"


#: a status in the place of another
SAYS = "SELECT CASE found WHEN '{}' THEN '{}' ELSE found END FROM pg_catalog.pg_xact_status($1) AS found"
#: what the server does otherwise -> the statements, the part of the trial, and what is told of it
BROKEN = {
    "sharing a lock does nothing": (
        (_function("pg_advisory_xact_lock_shared", "bigint", "text", "SELECT NULL::text"),),
        FENCE,
        "a lock that excludes all others was granted while two batches were under way",
    ),
    "excluding others does nothing": (
        (_function("pg_advisory_xact_lock", "bigint", "text", "SELECT NULL::text"),),
        FENCE,
        "a lock that excludes all others was granted while two batches were under way",
    ),
    "a lock outlives its transaction": (
        (_function("pg_advisory_xact_lock_shared", "bigint", "text", "SELECT pg_catalog.pg_advisory_lock_shared($1)::text"),),
        FENCE,
        "its lock was still there when",
    ),
    "every transaction was committed": (
        (_function("pg_xact_status", "xid8", "text", "SELECT 'committed'"),),
        OUTCOME,
        "of an open transaction: committed instead of open",
    ),
    "a committed transaction was aborted": (
        (_function("pg_xact_status", "xid8", "text", SAYS.format("committed", "aborted")),),
        OUTCOME,
        "of one that was committed: rolled back instead of committed",
    ),
    "an aborted transaction was committed": (
        (_function("pg_xact_status", "xid8", "text", SAYS.format("aborted", "committed")),),
        OUTCOME,
        "of one that was rolled back: committed instead of rolled back",
    ),
    "transactions have no names": (
        (_function("pg_current_xact_id", "", "xid8", "BEGIN RAISE EXCEPTION 'unimplemented'; END", language="plpgsql"),),
        OUTCOME,
        "unimplemented",
    ),
    "deletions are not counted": (
        (_function("pg_stat_get_xact_tuples_deleted", "oid", "bigint", "SELECT 0::bigint"),),
        DELETION,
        "rows that the server counts as deleted: 0 instead of 3",
    ),
    "a deletion does nothing": (
        (
            _function(
                "no_deletions", "", "event_trigger",
                "BEGIN IF to_regclass('pg_temp.retention_trial_odd') IS NOT NULL AND NOT EXISTS"
                " (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass('pg_temp.retention_trial_odd'))"
                " THEN CREATE TRIGGER keep BEFORE DELETE ON pg_temp.retention_trial_odd FOR EACH ROW EXECUTE FUNCTION odd.keep();"
                " END IF; END",
                language="plpgsql",
            ),
            _function("keep", "", "trigger", "BEGIN RETURN NULL; END", language="plpgsql"),
            "CREATE EVENT TRIGGER odd_deletions ON ddl_command_end WHEN TAG IN ('CREATE TABLE')"
            " EXECUTE FUNCTION odd.no_deletions()",
        ),
        DELETION,
        "rows that a DELETE says it took: 0 instead of 3",
    ),
    "a transaction sees what comes": (
        (
            "CREATE SEQUENCE odd.looked",
            "CREATE VIEW odd.pg_class AS SELECT relname FROM pg_catalog.pg_class UNION ALL"
            " SELECT relname FROM (SELECT 'retention_trial_odd'::name AS relname, nextval('odd.looked') AS n) AS later"
            " WHERE n > 1",
        ),
        SNAPSHOT,
        "after somebody else committed: 1 instead of 0",
    ),
    "a setting is not known": (
        (
            _function(
                "set_config", "text, text, boolean", "text", "BEGIN RAISE EXCEPTION 'unknown: %', $1; END", language="plpgsql"
            ),
        ),
        "the settings of a session",
        "unknown: application_name",
    ),
}  # fmt: skip


def test_without_the_key_it_is_refused(odd: Odd) -> None:
    source = odd()
    source.accept_unsupported = False
    with pytest.raises(
        UnsupportedDatabase, match=r"speaks PostgreSQL's protocol, and is .CockroachDB CCL v24\.1\.0."
    ) as caught:
        source.session()
    assert "`unsupported_dialect: accept` takes it at your own risk, if it passes a trial" in caught.value.hint


def test_one_that_does_everything_right_is_taken(odd: Odd, caplog: pytest.LogCaptureFixture) -> None:
    source = odd()
    assert source.accepted is None
    source.session().close()
    assert source.accepted is not None
    assert source.accepted.server == "CockroachDB CCL v24.1.0"
    assert [part.partition(" (")[0] for part in source.accepted.tried] == [FENCE, OUTCOME, DELETION, SNAPSHOT]
    [record] = caplog.records
    assert record.getMessage().startswith("crm: CockroachDB CCL v24.1.0 is taken at your own risk")
    assert source.tables() == [], "nothing is left of the trial"


@pytest.mark.parametrize("broken", BROKEN)
def test_what_it_does_otherwise_refuses_it(odd: Odd, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statements, part, told = BROKEN[broken]
    source = odd(*statements)
    monkeypatch.setattr("secrets.token_hex", lambda size: "odd")
    with pytest.raises(UnsupportedDatabase) as caught:
        source.session()
    assert caught.value.message.startswith('crm: the server is "CockroachDB CCL v24.1.0", and fails in the trial')
    assert part in caught.value.message and told in caught.value.message
    assert source.accepted is None and trial._passed == {}


def test_a_wait_that_the_server_does_not_bound_ends_here(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 2)
    unbounded = PostgresqlSession.pass_fence
    monkeypatch.setattr(
        PostgresqlSession, "pass_fence", lambda self, addresses, *, patience=60: unbounded(self, addresses, patience=60)
    )
    with pytest.raises(UnsupportedDatabase, match="a wait of 1 second for a lock did not end within 2"):
        odd().session()


def test_it_is_tried_once_in_a_process_for_each_server(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    parts, untried = trial._PARTS["postgresql"]
    counted = replace(parts[1], run=lambda connect, source: tried.append(source.name))
    monkeypatch.setattr(trial, "_PARTS", {"postgresql": ((counted,), untried)})
    source = odd()
    threads = [threading.Thread(target=lambda: source.session().close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tried == ["crm"]
    monkeypatch.setattr(trial, "os", SimpleNamespace(getpid=lambda: 0))
    source.session().close()
    assert tried == ["crm", "crm"]


def test_one_that_is_away_during_the_trial_has_not_failed_it(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker tries again what did not answer, and gives up what is refused."""
    source = odd()

    def gone(connect: object, alone: Source) -> None:
        monkeypatch.setattr(type(alone), "_place", "nowhere", raising=True)
        monkeypatch.setattr("adbc_driver_postgresql.dbapi.connect", _no_connection)
        raise SourceFailed("crm: the connection is lost")

    parts, untried = trial._PARTS["postgresql"]
    monkeypatch.setattr(trial, "_PARTS", {"postgresql": ((replace(parts[0], run=gone),), untried)})
    with pytest.raises(SourceFailed, match="cannot connect"):
        source.session()


def _no_connection(*_: object, **__: object) -> None:
    from adbc_driver_manager import OperationalError

    raise OperationalError("could not connect", status_code=0)


def test_a_job_and_the_doctor_on_one_that_was_taken(
    postgres_url: str, odd: Odd, tmp_path: Path, run_sql: Callable[..., None]
) -> None:
    statements = (*TABLES["postgresql"][:1], FILL["postgresql"][0].format(rows=60))
    run_sql(postgres_url, *statements)
    odd()
    site = Site(folder=tmp_path, url=postgres_url, dialect="postgresql", comments=False, run_sql=run_sql)
    (tmp_path / "policies").mkdir()
    config = CONFIG.format(control=f"sqlite:///{tmp_path}/retention.db", url=postgres_url, dependents="")
    site.config.write_text(config)
    (tmp_path / "policies" / "service-notes.yaml").write_text(NOTES)
    Control.upgrade(f"sqlite:///{tmp_path}/retention.db")
    refused = site.cli("plan")
    assert refused.returncode == 4 and 'and is "CockroachDB CCL v24.1.0"' in refused.stderr
    site.config.write_text(config.replace("    classes:", "    unsupported_dialect: accept\n    classes:"))
    assert "CockroachDB CCL v24.1.0 is taken at your own risk" in site.cli("plan").stderr
    assert site.run().deleted == 4
    told = {one.level: one for one in examine_source(site.engine(), "crm") if "own risk" in one.what}
    assert f"Tried now, and right: {FENCE}; {OUTCOME}" in told[Level.WARNING].what
    assert "Not tried: locks of rows and tables" in told[Level.WARNING].what
    assert site.findings() == []


def test_no_control_database_on_one_that_is_unsupported(postgres_url: str, odd: Odd) -> None:
    odd()
    for use in (Control.upgrade, Control.open):
        with pytest.raises(UnsupportedDatabase, match=r"control database is to be in a server that is .CockroachDB"):
            use(postgres_url)


# -- MySQL's protocol ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tidb() -> Iterator[str]:
    """``mysql://...`` of a MariaDB that says it is TiDB."""
    mariadb.require()
    folder = Path(tempfile.mkdtemp(prefix="retention-tidb-"))
    server = MariadbServer(folder=folder / "data", options=("--version=8.0.11-TiDB-v7.5.0",))
    server.start()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE crm")
    yield server.url("crm")
    server.remove()
    folder.rmdir()


def _tidb_source(url: str, *, accept: bool = True) -> Source:
    return open_source(SourceConfig(name="crm", url=url, classes={}, accept_unsupported=accept))


def test_one_that_speaks_mysqls_protocol_is_refused_without_the_key(tidb: str) -> None:
    with pytest.raises(UnsupportedDatabase, match=r"speaks MySQL's protocol, and is \"8\.0\.11-TiDB-v7\.5\.0"):
        _tidb_source(tidb, accept=False).session()


def test_one_that_speaks_mysqls_protocol_is_taken_after_its_trial(tidb: str) -> None:
    source = _tidb_source(tidb)
    source.session().close()
    assert source.accepted is not None and source.accepted.tried == (FENCE, DELETION)
    assert "a permanent table" in source.accepted.untried
    assert source.tables() == []


def test_no_control_database_on_one_that_speaks_mysqls_protocol(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library asks a TiDB other things first than a MariaDB can answer; so this one says it here."""
    monkeypatch.setattr(
        "retention.ledger.control.no_mysql", lambda version, comment: f"TiDB, not {version} of {comment}"
    )
    with pytest.raises(UnsupportedDatabase, match=r"control database is to be in a server that is .TiDB, not \d+\.\d+"):
        Control.upgrade(mariadb_url)


def _lock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MariadbSession, "_lock", lambda self, address, slot, seconds: True)


def _release_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to a session stays until that ends, and is not let go with a transaction."""
    monkeypatch.setattr(MariadbSession, "_release", lambda self: None)


def _commit_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MariadbSession, "rollback", MariadbSession.commit)


def _count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = MariadbSession.execute
    monkeypatch.setattr(
        MariadbSession,
        "execute",
        lambda self, statement: execute(self, statement) * (2 if str(statement).startswith("DELETE") else 1),
    )


def _lose_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = mariadb_session.chunks
    monkeypatch.setattr(mariadb_session, "chunks", lambda rows: chunks(rows.slice(1)))


@pytest.mark.parametrize(
    ("break_it", "part", "told"),
    [
        (_lock_nothing, FENCE, "a lock that excludes all others was granted while two batches were under way"),
        (_release_nothing, FENCE, "its lock was still there when"),
        (_commit_always, DELETION, "rows after the transaction: 2 instead of 5"),
        (_count_twice, DELETION, "rows that a DELETE says it took: 6 instead of 3"),
        (_lose_keys, DELETION, "keys that were handed over: (999, 999) instead of (1000, 1000)"),
    ],
)
def test_what_it_does_otherwise_with_mysqls_protocol_refuses_it(
    tidb: str, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], part: str, told: str
) -> None:
    """Its functions cannot be replaced there; what the server would do wrong, the session does."""
    break_it(monkeypatch)
    with pytest.raises(UnsupportedDatabase) as caught:
        _tidb_source(tidb).session()
    assert part in caught.value.message and told in caught.value.message


# -- supported ones --------------------------------------------------------------------------------------------------


def test_the_key_changes_nothing_on_a_supported_database(crm_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_PARTS", {})
    source = open_source(SourceConfig(name="crm", url=crm_url, classes={}, accept_unsupported=True))
    source.session().close()
    assert source.accepted is None and source.accept_unsupported
    [finding] = _accepted("source crm", source)
    assert finding.level is Level.NOTE and "is needless here" in finding.what


def test_the_trial_passes_on_supported_servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what it finds is never a fault of the trial."""
    for fixture, dialect in (("postgres_url", "postgresql"), ("mariadb_url", "mysql")):
        source = open_source(SourceConfig(name="crm", url=request.getfixturevalue(fixture), classes={}))
        assert trial._tried(source, "itself").tried == tuple(part.what for part in trial._PARTS[dialect][0])
        assert source.outcome("5") in (Outcome.UNKNOWN, Outcome.COMMITTED)
