"""A class of tickets in a project of its own, with whatever tables and dependents a test gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retention.archive.find import rows_of
from retention.config import load_project
from retention.disposition import holding, restore
from retention.disposition.archived import read_manifest
from retention.disposition.catalogue import verify_archives
from retention.disposition.engine import Engine
from retention.disposition.evidence import verify_ledger
from retention.disposition.plan import PolicyPlan, make_plan
from retention.disposition.run import RunResult, begin, perform
from retention.holds.scope import Keys
from retention.ledger import batches
from retention.sources.open import open_source

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
OLD, YOUNG = "'2020-01-01 00:00:00'", "'2026-09-30 00:00:00'"

CONFIG = """\
timezone: UTC
control: {control}
sources:
  crm:
    url: {url}
    classes:
{classes}
archives:
  cold: {{url: "file:./archive"}}
"""

POLICY = """\
policy: old-tickets
title: Tickets, ninety days
records: crm.tickets
all: true
retain: {for: 90 days}
archive: {to: cold, keep: 1 year}
then: delete
schedule: quarterly
"""

TICKETS = (
    "      tickets: {{table: tickets, key: {key}, created: created_at, timezone: UTC, dependents: {{{dependents}}}}}\n"
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A class of tickets, with whatever tables and dependents a test gives it."""

    folder: Path
    url: str
    run_sql: Callable[..., None]

    def declare(self, dependents: str, *, key: str = "id", more: str = "") -> None:
        """``dependents`` as they stand in flow style; ``more`` classes as lines."""
        classes = TICKETS.format(key=key, dependents=dependents) + more
        text = CONFIG.format(control=f"sqlite:///{self.folder / 'retention.db'}", url=self.url, classes=classes)
        (self.folder / "retention.yaml").write_text(text)

    @property
    def mariadb(self) -> bool:
        return self.url.startswith("mysql")

    def sql(self, *statements: str) -> None:
        """MariaDB has no deferred constraints, and wants the columns of a foreign key in the order of the key."""
        if self.mariadb:
            statements = tuple(
                one.replace(" DEFERRABLE INITIALLY DEFERRED", "").replace(
                    "(ticket, tenant) REFERENCES tickets (id, tenant)",
                    "(tenant, ticket) REFERENCES tickets (tenant, id)",
                )
                for one in statements
            )
        self.run_sql(self.url, *statements)

    def told(self, action: str | None) -> str:
        """How the database itself calls it; None: where the statement says nothing."""
        plain = "NO ACTION" if action is None else action.partition(" DEFERRABLE")[0]
        restricts = (
            action in (None, "SET DEFAULT") and self.mariadb and "MariaDB" in str(self.rows("SELECT version() AS v"))
        )
        return "RESTRICT" if restricts else plain

    def engine(self) -> Engine:
        return Engine(load_project(self.folder / "retention.yaml"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        session = open_source(load_project(self.folder / "retention.yaml").config.sources["crm"]).session()
        try:
            return session.rows(statement)
        finally:
            session.close()

    def ids(self, table: str = "tickets") -> list[int]:
        return [row[0] for row in self.rows(f"SELECT id FROM {table} ORDER BY id")]

    def plan(self) -> PolicyPlan:
        engine = self.engine()
        return make_plan(engine, engine.policies(["old-tickets"]), AS_OF).policies[0]

    def run(self) -> RunResult:
        engine = self.engine()
        policy = engine.project.policies.get("old-tickets")
        run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
        return perform(engine, run, progress=lambda batch: None, stop=threading.Event())

    def restore(self) -> int:
        """Everything that was archived comes back; how many rows of dependents."""
        engine = self.engine()
        total = 0
        with engine.control.read() as connection:
            runs = list(dict.fromkeys(batch.run_id for batch in batches.committed(connection)))
        for run in reversed(runs):
            choice = restore.choose(engine, run=run, keys=(), where=(), address=None)
            total += sum(one.dependent_rows for one in restore.restore(engine, choice, reason="to compare"))
        return total

    def archived(self) -> dict[str, int]:
        """Table -> rows in the archive, read back."""
        engine = self.engine()
        store, found = engine.store("cold"), dict[str, int]()
        with engine.control.read() as connection:
            committed = batches.committed(connection)
        for batch in committed:
            for file in read_manifest(store, batch).files:
                found[file.table] = found.get(file.table, 0) + rows_of(store, file).num_rows
        return found

    def hold(self, address: str, *keys: str) -> None:
        scope = Keys(records=address, count=len(keys))
        holding.place(self.engine(), matter="a claim", reason="law", scope=scope, keys=keys)

    def findings(self) -> list[str]:
        engine = self.engine()
        return [*verify_archives(engine, ("cold",)).findings, *verify_ledger(engine).findings]


def tickets(*more: str) -> str:
    return f"CREATE TABLE tickets (id INTEGER PRIMARY KEY, created_at TIMESTAMP{''.join(f', {one}' for one in more)})"


def everything(desk: Desk, *tables: str) -> list[list[tuple[Any, ...]]]:
    return [sorted(desk.rows(f"SELECT * FROM {table}"), key=repr) for table in tables]
