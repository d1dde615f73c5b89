"""Round trips of whole tables that were generated: what is due is archived once, goes with what refers to it, and comes back
equal in the database's own words; or the table is refused by name, and nothing is gone.

`RETENTION_SOAK_COUNT=500 pytest -n 0 -s -m soak tests/integration/disposition/test_generated_tables.py` tries as many on each.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, note, seed, settings

from retention.archive.find import rows_of
from retention.config import SourceConfig
from retention.disposition import holding, restore
from retention.disposition.archived import read_manifest
from retention.disposition.explain import explain
from retention.errors import RetentionError, SourceFailed
from retention.holds.scope import Keys
from retention.ledger import batches
from retention.ledger.control import Control
from retention.sources.keys import key_projection, key_text
from retention.sources.open import open_source
from retention.sources.source import Session, Source
from tests.integration.disposition.conftest import AS_OF, THINGS, THINGS_POLICY, Site
from tests.integration.disposition.generated import OLD, Case, Table, cases
from tests.integration.sources.exact import everything
from tests.integration.sources.types import OWN_TYPES

pytestmark = pytest.mark.every_server

#: how many each database tries with every change
COUNT = 3


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One case on its database."""

    case: Case
    folder: Path
    url: str
    run_sql: Callable[..., None]
    source: Source
    session: Session

    @property
    def site(self) -> Site:
        dialect = self.source.dialect.name
        return Site(folder=self.folder, url=self.url, dialect=dialect, comments=False, run_sql=self.run_sql)

    @property
    def tables(self) -> tuple[str, ...]:
        case = self.case
        return ("things", *(["parts"] if case.parts else []), *(["bits"] if case.bits else []))

    def quoted(self, *names: str) -> str:
        return ", ".join(self.source.dialect.identifier_preparer.quote_identifier(name) for name in names)

    def sql(self, statement: str) -> None:
        note(statement)
        self.session.execute(statement)

    def make(self, control: Path) -> None:
        """The tables with what the database takes of their rows, and a project for them."""
        case, parts = self.case, self.case.parts
        for name in ("bits", "parts", "things"):
            self.session.execute(f"DROP TABLE IF EXISTS {name}")
        key = f", PRIMARY KEY ({self.quoted(*case.key)})"
        self._table(case.things, "n integer, ", key, case.options, required=case.key)
        if parts is not None:
            action = "" if parts.action is None else f" ON DELETE {parts.action}"
            refers = (
                f", FOREIGN KEY ({self.quoted(*parts.refers)}) REFERENCES things ({self.quoted(*case.key)}){action}"
            )
            own = "n integer PRIMARY KEY, " if parts.keyed else "n integer, "
            self._table(parts.table, own, "" if parts.action is None else refers)
        if case.bits is not None:
            self._table(case.bits, "n integer PRIMARY KEY, ", ", FOREIGN KEY (part) REFERENCES parts (n)")
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "policies").mkdir(parents=True)
        (self.folder / "policies" / "things.yaml").write_text(THINGS_POLICY)
        shutil.copy(control, self.folder / "retention.db")
        key = json.dumps(case.declared_key, ensure_ascii=False)
        words = {"folder": self.folder, "url": self.url, "key": key, "clock": "clock"}
        self.site.config.write_text(THINGS.format(**words, dependents=self._dependents()))

    def _dependents(self) -> str:
        parts = self.case.parts
        if parts is None:
            return ""
        by_key = dict(zip(self.case.key, parts.refers, strict=True))
        below = {"dependents": {"bits": {"key": "part"}}} if self.case.bits else {}
        declared = {"parts": {"key": [by_key[name] for name in self.case.declared_key], **below}}
        return f", dependents: {json.dumps(declared, ensure_ascii=False)}"

    def _table(self, table: Table, own: str, more: str, options: str = "", required: tuple[str, ...] = ()) -> None:
        columns = ", ".join(
            f"{self.quoted(name)} {type_.declared}{' NOT NULL' if name in required else ''}"
            for name, type_ in table.columns
        )
        self.sql(f"CREATE TABLE {table.name} ({own}{columns}{more}) {options}")
        for number, row in enumerate(table.rows):
            with contextlib.suppress(SourceFailed):  # a key that is there already, a reference to nothing
                self.sql(f"INSERT INTO {table.name} VALUES ({number}, {', '.join(row)})")

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        found = {}
        for name in self.tables:
            table = self.source.table(name)
            assert table is not None
            found[name] = everything(self.session, self.source, table, by="n")
        return found

    def numbers(self, query: str) -> list[int]:
        return [row[0] for row in self.session.rows(query)]

    def due(self) -> dict[str, set[int]]:
        """What must go, by the database's own notion of what is equal."""
        case, parts = self.case, self.case.parts
        due = f"SELECT n FROM things WHERE clock = {OLD}"
        found = {"things": set(self.numbers(due))}
        if parts is not None:
            same = [
                f"t.{self.quoted(of)} = p.{self.quoted(one)}" for of, one in zip(case.key, parts.refers, strict=True)
            ]
            joined = f"FROM parts p JOIN things t ON {' AND '.join(same)}"
            old = f"WHERE t.clock = {OLD}"
            found["parts"] = set(self.numbers(f"SELECT p.n {joined} {old}"))
            if case.bits is not None:
                found["bits"] = set(self.numbers(f"SELECT b.n AS n {joined} JOIN bits b ON b.part = p.n {old}"))
        return found

    def odd(self) -> bool:
        """Whether some record has a key that the docs say is refused (docs/tables/keys.md)."""
        declared, dialect = dict(self.case.things.columns), self.source.dialect.name
        said = ["1 = 0"]
        for name in self.case.key:
            one, kind = self.quoted(name), declared[name].declared
            if dialect == "sqlite":
                said.append(f"typeof({one}) <> '{'integer' if 'INT' in kind else 'text'}'")
                said.append(f"instr(CAST({one} AS BLOB), x'00')")
            elif dialect == "mysql" and "char" in kind:
                said.append(f"instr(CONVERT({one} USING utf8mb4), char(0))")
            elif dialect == "mysql" and kind == "bigint unsigned":
                said.append(f"{one} > 9223372036854775807")
        return self.numbers(f"SELECT count(*) AS n FROM things WHERE {' OR '.join(said)}") != [0]

    def key_of(self, number: int) -> str:
        """The record's key, as a person writes it."""
        bound = self.site.engine().bound("crm.things")
        row = self.session.rows(
            sa.select(*key_projection(bound)).select_from(bound.rows).where(bound.rows.c.n == number)
        )[0]
        return key_text(row)

    def archived(self) -> dict[str, Counter[int]]:
        engine = self.site.engine()
        with engine.control.read() as connection:
            committed = batches.committed(connection)
        found: dict[str, Counter[int]] = {name: Counter() for name in self.tables}
        for batch in committed:
            store = engine.store("cold")
            for file in read_manifest(store, batch).files:
                found[file.table.rpartition(".")[2]].update(rows_of(store, file)["n"].to_pylist())
        return found


def check(trial: Trial, control: Path) -> None:
    """Archive, delete, look, restore, compare."""
    trial.make(control)
    site, before, due = trial.site, trial.everything(), trial.due()
    every = {name: set(trial.numbers(f"SELECT n FROM {name}")) for name in trial.tables}
    odd, held = trial.odd(), None
    try:
        plan = site.plan("things")
        assert plan.due == len(due["things"])
        if trial.case.held is not None and trial.case.held < len(due["things"]):
            held = sorted(due["things"])[trial.case.held]
            keys = [trial.key_of(held)]
            holding.place(site.engine(), matter="M", reason="law", scope=Keys(records="crm.things", count=1), keys=keys)
        keys_of = {number: trial.key_of(number) for number in due["things"]}
        result = site.run("things")
    except RetentionError as error:
        assert odd, f"{error}, {error.hint}"
        assert "things" in str(error) and trial.everything() == before
        return
    due = due if held is None else _without(trial, due, held)
    gone = {name: every[name] - set(trial.numbers(f"SELECT n FROM {name}")) for name in trial.tables}
    assert gone == due
    assert trial.archived() == {name: Counter(numbers) for name, numbers in due.items()}
    assert site.findings() == []
    engine = site.engine()
    if result.deleted:
        first = min(due["things"])
        told = explain(engine, "crm.things", keys_of[first], AS_OF)
        assert told.outcome.startswith("It was archived and deleted"), told.outcome
        for choice in ({"run": None, "keys": (keys_of[first],)}, {"run": result.run, "keys": ()}):
            restore.restore(engine, restore.choose(engine, **choice, where=(), address=None), reason="to compare")
    assert trial.everything() == before


def _without(trial: Trial, due: dict[str, set[int]], held: int) -> dict[str, set[int]]:
    """What is due, but for the held record and what refers to it; it is still there to be joined with."""
    case, parts = trial.case, trial.case.parts
    left = {**due, "things": due["things"] - {held}}
    if parts is not None:
        same = [f"t.{trial.quoted(of)} = p.{trial.quoted(one)}" for of, one in zip(case.key, parts.refers, strict=True)]
        joined = f"FROM parts p JOIN things t ON {' AND '.join(same)}"
        left["parts"] = due["parts"] - set(trial.numbers(f"SELECT p.n {joined} WHERE t.n = {held}"))
        if case.bits is not None:
            kept = trial.numbers(f"SELECT b.n AS n {joined} JOIN bits b ON b.part = p.n WHERE t.n = {held}")
            left["bits"] = due["bits"] - set(kept)
    return left


def _speaks_mysql(source: Source) -> str:
    """Which of the two servers of that dialect it is: each has types of its own."""
    session = source.session()
    try:
        [(version,)] = session.rows("SELECT version() AS v")
    finally:
        session.close()
    return "mariadb" if "MariaDB" in version else "mysql"


@pytest.fixture
def attempt(tmp_path: Path, crm_url: str, run_sql: Callable[..., None]) -> Callable[[int, int], None]:
    """``attempt(count, number)`` tries as many cases, beginning with that seed."""
    control = tmp_path / "control.db"
    Control.upgrade(f"sqlite:///{control}")
    source = open_source(SourceConfig(name="crm", url=crm_url, classes={}))
    server = source.dialect.name
    if server == "postgresql":
        run_sql(crm_url, *OWN_TYPES)
    elif server == "mysql":
        server = _speaks_mysql(source)

    def one(case: Case) -> None:
        session = source.session()
        try:
            check(
                Trial(
                    case=case, folder=tmp_path / "site", url=crm_url, run_sql=run_sql, source=source, session=session
                ),
                control,
            )
        finally:
            session.close()

    def attempt(count: int, number: int) -> None:
        # a case takes a second, and to make one smaller hundreds: the long form does
        phases = [Phase.generate, *([Phase.shrink] if count > COUNT else [])]
        chosen = settings(
            max_examples=count, deadline=None, database=None, print_blob=False, phases=phases,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(number)(chosen(given(cases(server))(one)))()

    return attempt


def test_a_few_generated_tables(attempt: Callable[[int, int], None]) -> None:
    attempt(COUNT, 1)


@pytest.mark.soak
def test_many_generated_tables(
    attempt: Callable[[int, int], None], crm_url: str, soak_seed: int, soak_count: int
) -> None:
    print(f"\nseed {soak_seed}: {soak_count} tables on {crm_url.partition(':')[0]}", flush=True)
    attempt(soak_count, soak_seed)
