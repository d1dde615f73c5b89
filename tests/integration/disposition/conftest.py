"""A small project on either database: a class with comments, two policies, a control database and an archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.archive.find import rows_of
from retention.cli import main
from retention.config import load_project
from retention.disposition import holding
from retention.disposition.archived import read_manifest
from retention.disposition.catalogue import verify_archives
from retention.disposition.engine import Engine
from retention.disposition.evidence import verify_ledger
from retention.disposition.plan import PolicyPlan, make_plan
from retention.disposition.recover import recover
from retention.disposition.run import RunResult, begin, perform, unfinished
from retention.ledger import batches, slots
from retention.ledger.control import Control
from retention.ledger.slots import SlotState
from retention.sources.open import open_source
from tests.integration.disposition.desk import POLICY as OLD_TICKETS
from tests.integration.disposition.desk import Desk
from tests.servers import forked
from tests.servers.mariadb import numbers

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)

CONFIG = """\
timezone: UTC
control: {control}
hold_release_grace: 30 days
sources:
  crm:
    url: {url}
    classes:
      activities:
        table: activity_logs
        key: id
        created: created_at
        timezone: UTC
        tags: {{column: tags}}
        subjects: {{customer: account_id}}
        columns: [status, amount, account_id, closed_at]
{dependents}
archives:
  cold: {{url: "file:./archive"}}
"""

DEPENDENTS = """\
        dependents:
          activity_comments:
            key: activity_id
            dependents:
              comment_files: {key: comment_id}
"""

#: the tables of `site`, each before those that refer to it
LEVELS = ("activity_logs", "activity_comments", "comment_files")

NOTES = """\
policy: service-notes
title: Temporary service notes, ninety days
mandate: Data minimisation
records: crm.activities
tags: [service-note]
retain: {for: 90 days}
archive: {to: cold, keep: 1 year}
then: delete
schedule: quarterly
"""

SALES = """\
policy: sales-records
title: Sales records, five years after the deal closes
records: crm.activities
tags: [sales]
retain: {for: 5 years, from: closed_at}
archive: {to: cold, keep: 2 years}
then: delete
schedule: quarterly
"""

#: a project of one class of any table, and its policy: records older than a year are due
THINGS = """\
timezone: UTC
control: sqlite:///{folder}/retention.db
sources:
  crm:
    url: {url}
    classes:
      things: {{table: things, key: {key}, created: {clock}, timezone: UTC{dependents}}}
archives:
  cold: {{url: "file:./archive"}}
"""

THINGS_POLICY = """\
policy: things
title: Things, a year
records: crm.things
all: true
retain: {for: 1 year}
archive: {to: cold, keep: 1 year}
then: delete
schedule: quarterly
"""

TABLES = {
    "sqlite": (
        "CREATE TABLE activity_logs (id INTEGER PRIMARY KEY, account_id INTEGER, status TEXT, amount NUMERIC(12,2), note TEXT,"
        " tags TEXT, created_at DATETIME, closed_at DATETIME)",
        "CREATE TABLE activity_comments (id INTEGER PRIMARY KEY, activity_id INTEGER REFERENCES activity_logs(id), body TEXT)",
        "CREATE TABLE comment_files (id INTEGER PRIMARY KEY, comment_id INTEGER REFERENCES activity_comments(id), name TEXT)",
    ),
    "postgresql": (
        "CREATE TABLE activity_logs (id BIGINT PRIMARY KEY, account_id INT, status TEXT, amount NUMERIC(12,2), note TEXT,"
        " tags TEXT[], created_at TIMESTAMPTZ, closed_at TIMESTAMPTZ)",
        "CREATE TABLE activity_comments (id BIGINT PRIMARY KEY, activity_id BIGINT REFERENCES activity_logs(id), body TEXT)",
        "CREATE INDEX ON activity_comments (activity_id)",
        "CREATE TABLE comment_files (id BIGINT PRIMARY KEY, comment_id BIGINT REFERENCES activity_comments(id), name TEXT)",
        "CREATE INDEX ON comment_files (comment_id)",
    ),
    "mysql": (
        "CREATE TABLE activity_logs (id BIGINT PRIMARY KEY, account_id INT, status VARCHAR(20), amount DECIMAL(12,2), note TEXT,"
        " tags JSON, created_at DATETIME, closed_at DATETIME(6))",
        "CREATE TABLE activity_comments (id BIGINT PRIMARY KEY, activity_id BIGINT REFERENCES activity_logs(id), body TEXT)",
        "CREATE TABLE comment_files (id BIGINT PRIMARY KEY, comment_id BIGINT REFERENCES activity_comments(id), name TEXT)",
    ),
}

#: ids 1 to n: every third is a service note, one in five of these has expired; ids divisible by 1000 carry sales as well.
#: Records with even ids have a comment each, those divisible by 10 a file on it.
FILL = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        " INSERT INTO activity_logs SELECT i, i % 50, CASE WHEN i % 2 THEN 'open' ELSE 'closed' END, i * 1.25, 'note ' || i,"
        " CASE WHEN i % 1000 = 0 THEN '[\"service-note\",\"sales\"]' WHEN i % 3 = 0 THEN '[\"service-note\"]' ELSE '[]' END,"
        " CASE WHEN i % 5 = 0 THEN '2026-01-15 10:00:00' ELSE '2026-09-15 10:00:00' END, NULL FROM n",
        "INSERT INTO activity_comments SELECT id * 10, id, 'comment on ' || id FROM activity_logs WHERE id % 2 = 0",
        "INSERT INTO comment_files SELECT id * 10, id, id || '.pdf' FROM activity_comments WHERE id % 100 = 0",
    ),
    "postgresql": (
        "INSERT INTO activity_logs SELECT i, i % 50, CASE WHEN i % 2 = 1 THEN 'open' ELSE 'closed' END, i * 1.25, 'note ' || i,"
        " CASE WHEN i % 1000 = 0 THEN '{{service-note,sales}}' WHEN i % 3 = 0 THEN '{{service-note}}' ELSE '{{}}' END::text[],"
        " (CASE WHEN i % 5 = 0 THEN '2026-01-15 10:00:00Z' ELSE '2026-09-15 10:00:00Z' END)::timestamptz, NULL"
        " FROM generate_series(1, {rows}) i",
        "INSERT INTO activity_comments SELECT id * 10, id, 'comment on ' || id FROM activity_logs WHERE id % 2 = 0",
        "INSERT INTO comment_files SELECT id * 10, id, id || '.pdf' FROM activity_comments WHERE id % 100 = 0",
    ),
    "mysql": (
        "INSERT INTO activity_logs SELECT seq, seq % 50, IF(seq % 2, 'open', 'closed'), seq * 1.25, concat('note ', seq),"
        " CASE WHEN seq % 1000 = 0 THEN '[\"service-note\",\"sales\"]' WHEN seq % 3 = 0 THEN '[\"service-note\"]' ELSE '[]' END,"
        f" IF(seq % 5 = 0, '2026-01-15 10:00:00', '2026-09-15 10:00:00'), NULL FROM {numbers('{rows}')}",
        "INSERT INTO activity_comments SELECT id * 10, id, concat('comment on ', id) FROM activity_logs WHERE id % 2 = 0",
        "INSERT INTO comment_files SELECT id * 10, id, concat(id, '.pdf') FROM activity_comments WHERE id % 100 = 0",
    ),
}

#: how many holds wait for the fence of a batch
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "mysql": "SELECT count(*) AS n FROM information_schema.processlist WHERE state = 'User lock' AND db = database()",
}

WORKER = """
import signal, sys, threading
from pathlib import Path
from retention.config import load_project
from retention.disposition import shift
from retention.disposition.engine import Engine
from retention.sources.postgresql import PostgresqlSource

PostgresqlSource.in_flight = int(sys.argv[3])
shift.FIRST_WAIT = shift.ASK_AGAIN = 0.2
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
engine = Engine(load_project(Path(sys.argv[1])))
while not stop.is_set():
    if not shift.work(engine, seconds=float(sys.argv[2]), stop=stop):
        stop.wait(0.1)
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A project folder and the database it names."""

    folder: Path
    url: str
    dialect: str
    comments: bool
    run_sql: Callable[..., None]
    #: commands that were started, ended at the latest with the test
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "retention.yaml"

    @property
    def tables(self) -> tuple[str, ...]:
        """Each before those that refer to it."""
        return LEVELS if self.comments else LEVELS[:1]

    def engine(self) -> Engine:
        return Engine(load_project(self.config))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the source, through the engine's own driver."""
        session = open_source(load_project(self.config).config.sources["crm"]).session()
        try:
            return session.rows(statement)
        finally:
            session.close()

    def ids(self) -> set[int]:
        return {row[0] for row in self.rows("SELECT id FROM activity_logs")}

    def due_ids(self, rows: int) -> set[int]:
        """What service-notes must take of `fill(rows)`, said independently of the engine."""
        return {i for i in range(1, rows + 1) if i % 3 == 0 and i % 5 == 0 and i % 1000 != 0}

    def fill(self, rows: int) -> None:
        fill = FILL[self.dialect] if self.comments else FILL[self.dialect][:1]
        self.run_sql(self.url, *(statement.format(rows=rows) for statement in fill))

    def plan(self, policy: str = "service-notes", as_of: datetime = AS_OF) -> PolicyPlan:
        engine = self.engine()
        return make_plan(engine, engine.policies([policy]), as_of).policies[0]

    def run(self, policy: str = "service-notes", as_of: datetime = AS_OF) -> RunResult:
        """What `retention run POLICY --yes` does, in this process."""
        engine = self.engine()
        recover(engine)
        wanted = engine.project.policies.get(policy)
        run = unfinished(engine, wanted)
        if run is None:
            run = begin(engine, wanted, make_plan(engine, [wanted], as_of).policies[0], as_of)
        return perform(engine, run, progress=lambda batch: None, stop=threading.Event())

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """What this process does within happens at that time."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "now", lambda engine: moment)
            yield

    def run_long_ago(self) -> RunResult:
        """Run so that the archive's copies are past their time by now."""
        self.policy("service-notes", archive="{to: cold, keep: 1 day}")
        with self.at(AS_OF + timedelta(hours=1)):
            return self.run()

    def release_long_ago(self, hold: str) -> None:
        """Release a hold so that its grace is over by now."""
        with self.at(datetime(2026, 1, 1, tzinfo=UTC)):
            holding.release(self.engine(), hold, reason="settled")

    def policy(self, name: str, **replaced: str) -> None:
        """Change lines of a policy: its ``key`` becomes ``key: value``; keys that it lacks are added."""
        path = self.folder / "policies" / f"{name}.yaml"
        lines = [line for line in path.read_text().splitlines() if line.split(":")[0] not in replaced]
        path.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in replaced.items())]) + "\n")

    def tags(self, *names: str) -> str:
        """A literal for the column `tags`."""
        return f"'{{{','.join(names)}}}'" if self.dialect == "postgresql" else f"'{json.dumps(names)}'"

    def everything(self) -> dict[str, list[str]]:
        """Every row of every table, each as one text that tells values and their types apart."""
        found = {}
        for table in self.tables:
            if self.dialect == "sqlite":
                columns = [row[0] for row in self.rows(f"SELECT name FROM pragma_table_info('{table}')")]
                row = " || ',' || ".join(f"typeof({one}) || quote(CAST({one} AS BLOB))" for one in columns)
            elif self.dialect == "mysql":
                no_text = "'bit', 'geometry', 'binary', 'longblob'"
                names = self.rows(
                    f"SELECT if(data_type IN ({no_text}), concat('hex(', column_name, ')'), column_name) AS n"
                    f" FROM information_schema.columns WHERE table_schema = database() AND table_name = '{table}'"
                    " ORDER BY ordinal_position"
                )
                row = "concat_ws(',', " + ", ".join(f"coalesce(quote({name}), 'null')" for (name,) in names) + ")"
            else:
                row = "t::text"
            found[table] = [one[0] for one in self.rows(f"SELECT {row} AS r FROM {table} t ORDER BY id")]
        return found

    def archived(self) -> Counter[int]:
        """How often each record stands in the archive."""
        engine = self.engine()
        with engine.control.read() as connection:
            found = batches.committed(connection, not_destroyed=True)
        ids: Counter[int] = Counter()
        for batch in (one for one in found if one.archive is not None):
            store = engine.store("cold")
            ids.update(rows_of(store, read_manifest(store, batch).files[0])["id"].to_pylist())
        return ids

    def findings(self) -> list[str]:
        """What `archive verify` and `audit verify` find wrong."""
        engine = self.engine()
        return [*verify_archives(engine, ("cold",)).findings, *verify_ledger(engine).findings]

    def control(self, statement: str) -> None:
        """Change a row of the control database behind the engine's back."""
        import sqlalchemy as sa

        with self.engine().control.write() as connection:
            connection.execute(sa.text(statement))

    def asked(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the control database."""
        import sqlalchemy as sa

        with self.engine().control.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the ledger's entries of a kind, oldest first."""
        from retention.ledger import chain

        with self.engine().control.read() as connection:
            return [entry.facts for entry in chain.entries(connection, kind=kind)]

    def cli(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command of its own process."""
        return forked.run([*words, "--config", str(self.config)], text=True, env={**os.environ, **(env or {})})

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, begin: Callable[[], None] = main
    ) -> subprocess.Popen[str]:
        """A command that goes on while the test does."""
        process = forked.command(
            [*words, "--config", str(self.config)],
            begin=begin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.started.append(process)
        return process

    def start_and_stop_at(self, failpoint: str, *words: str) -> subprocess.Popen[str]:
        """The command, suspended at its failpoint."""
        process = self.start(*words, env={"RETENTION_FAILPOINTS": f"{failpoint}=stop@1"}, begin=forked.alone)
        self.wait(lambda: _state(process.pid) == "T", f"{words[0]} did not reach {failpoint}")
        return process

    def hold_waits(self) -> None:
        """A hold that is being placed was written down, and is not in force while something that does not know it goes on."""
        self.wait(lambda: self.asked("SELECT state FROM hold") == [("pending",)], "no hold was written down")
        if self.dialect in WAITING:
            self.wait(lambda: self.rows(WAITING[self.dialect]) == [(1,)], "the hold did not wait for the fence")
        else:  # SQLite shows nobody who waits
            time.sleep(1.5)
        assert self.asked("SELECT state FROM hold") == [("pending",)], "the hold did not wait"

    def open_slot(self, policy: str = "service-notes", at: datetime = AS_OF) -> None:
        """What a beat writes down when a slot is due."""
        with self.engine().control.write() as connection:
            slots.open_slot(
                connection,
                policy=policy,
                local_time=at.strftime("%Y-%m-%dT%H:%M"),
                zone="UTC",
                due_at=at,
                state=SlotState.DUE,
                reason=None,
                at=at,
            )

    def worker(
        self, *, seconds: float = 30, env: Mapping[str, str] | None = None, lanes: int = 2
    ) -> subprocess.Popen[str]:
        """A process that does nothing but look for work, and waits little after what failed; on PostgreSQL with so many
        batches at a time."""
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(self.config), str(seconds), str(lanes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.started.append(process)
        return process

    def worker_stopped_at(self, failpoint: str) -> subprocess.Popen[str]:
        """A worker that is suspended at its failpoint."""
        name, _, turn = failpoint.partition("@")
        # one batch at a time: see `forked.alone`
        process = self.worker(env={"RETENTION_FAILPOINTS": f"{name}=stop@{turn or 1}"}, lanes=1)
        self.wait(lambda: _state(process.pid) == "T", f"no worker reached {failpoint}")
        return process

    def lapse(self) -> None:
        """Two minutes pass without a heartbeat of anybody."""
        self.control("UPDATE shard SET owner_seen_at = '2026-01-01T00:00:00.000000Z' WHERE owner IS NOT NULL")
        self.control("UPDATE slot SET owner_seen_at = '2026-01-01T00:00:00.000000Z' WHERE owner IS NOT NULL")

    def wait_for_run(self, state: str = "finished") -> None:
        """Until the one run is over."""
        self.wait(lambda: self.asked("SELECT state FROM run") == [(state,)], f"no run became {state}")

    def wait(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, complaint
            time.sleep(0.05)


def _state(pid: int) -> str:
    """The process's state, as proc(5) has it: T while it is stopped, Z when it has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _make(
    tmp_path: Path, crm_url: str, run_sql: Callable[..., None], *, comments: bool, control: str | None = None
) -> Site:
    folder = tmp_path / "site"
    (folder / "policies").mkdir(parents=True)
    dialect = crm_url.split(":")[0]
    run_sql(crm_url, *TABLES[dialect][: None if comments else 1])
    control = f"sqlite:///{folder / 'retention.db'}" if control is None else control
    (folder / "retention.yaml").write_text(
        CONFIG.format(control=control, url=crm_url, dependents=DEPENDENTS if comments else "")
    )
    (folder / "policies" / "service-notes.yaml").write_text(NOTES)
    (folder / "policies" / "sales-records.yaml").write_text(SALES)
    Control.upgrade(control)
    return Site(folder=folder, url=crm_url, dialect=dialect, comments=comments, run_sql=run_sql)


def _end(site: Site) -> None:
    for process in site.started:
        process.kill()
        process.communicate()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user of this machine may pass through, and write in."""
    folder = Path(tempfile.mkdtemp(prefix="retention-rights-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """``make_site(folder, url, run_sql, comments=True)``, for a test that says itself where."""
    made: list[Site] = []

    def make(*where: Any, comments: bool) -> Site:
        made.append(_make(*where, comments=comments))
        return made[-1]

    yield make
    for one in made:
        _end(one)


@pytest.fixture
def site_control() -> str | None:
    """Where a site has its control database, None for a file beside its retention.yaml. A module whose tests are to run on
    another has a fixture of this name."""
    return None


@pytest.fixture
def site(tmp_path: Path, crm_url: str, run_sql: Callable[..., None], site_control: str | None) -> Iterator[Site]:
    """A class with comments as dependents: rows are selected, then deleted."""
    made = _make(tmp_path, crm_url, run_sql, comments=True, control=site_control)
    yield made
    _end(made)


@pytest.fixture
def plain_site(tmp_path: Path, crm_url: str, run_sql: Callable[..., None], site_control: str | None) -> Iterator[Site]:
    """A class without dependents: PostgreSQL streams what it deletes."""
    made = _make(tmp_path, crm_url, run_sql, comments=False, control=site_control)
    yield made
    _end(made)


@pytest.fixture(params=["dependents", "plain"])
def any_site(
    request: pytest.FixtureRequest, tmp_path: Path, crm_url: str, run_sql: Callable[..., None]
) -> Iterator[Site]:
    """`site` and `plain_site`, one after the other."""
    made = _make(tmp_path, crm_url, run_sql, comments=request.param == "dependents")
    yield made
    _end(made)


@pytest.fixture
def sqlite_site(
    tmp_path: Path, sqlite_url: str, run_sql: Callable[..., None], site_control: str | None
) -> Iterator[Site]:
    """`plain_site` on SQLite alone."""
    made = _make(tmp_path, sqlite_url, run_sql, comments=False, control=site_control)
    yield made
    _end(made)


@pytest.fixture(params=["postgres_url", "mariadb_url"], ids=["postgresql", "mysql"])
def server_site(request: pytest.FixtureRequest, tmp_path: Path, run_sql: Callable[..., None]) -> Iterator[Site]:
    """`plain_site` on the databases of which several sessions write at once."""
    made = _make(tmp_path, request.getfixturevalue(request.param), run_sql, comments=False)
    yield made
    _end(made)


@pytest.fixture
def mariadb_site(tmp_path: Path, mariadb_url: str, run_sql: Callable[..., None]) -> Iterator[Site]:
    """`plain_site` on MariaDB alone."""
    made = _make(tmp_path, mariadb_url, run_sql, comments=False)
    yield made
    _end(made)


@pytest.fixture
def postgresql_site(tmp_path: Path, postgres_url: str, run_sql: Callable[..., None]) -> Iterator[Site]:
    """`plain_site` on PostgreSQL alone."""
    made = _make(tmp_path, postgres_url, run_sql, comments=False)
    yield made
    _end(made)


@pytest.fixture
def desk(tmp_path: Path, crm_url: str, run_sql: Callable[..., None]) -> Desk:
    """A class of tickets, once for each dialect; the test says what is declared under it."""
    return desk_on(crm_url, tmp_path, run_sql)


def desk_on(url: str, place: Path, run_sql: Callable[..., None]) -> Desk:
    """A class of tickets in that database."""
    folder = place / "desk"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "old-tickets.yaml").write_text(OLD_TICKETS)
    Control.upgrade(f"sqlite:///{folder / 'retention.db'}")
    return Desk(folder=folder, url=url, run_sql=run_sql)
