"""A class bound by hand, for statements that are looked at and never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retention.policy.dependent import Dependent
from retention.policy.mark import Mark
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagTable
from retention.sources.bound_class import BoundClass, bound_rows
from retention.sources.mariadb import MariadbSource
from retention.sources.postgresql import PostgresqlSource
from retention.sources.source import Source
from retention.sources.sqlite import SqliteSource
from retention.sources.table import Column, Kind, Table

MARK = Mark(file="retention.yaml")


def _table(name: str, schema: str | None, *columns: Column) -> Table:
    return Table(
        name=name,
        schema=schema,
        bare_name=name,
        columns=columns,
        primary_key=(columns[0].name,),
        referenced_by=(),
        refers_to=(),
        relation="table",
    )


def _column(name: str, declared: str, kind: Kind) -> Column:
    return Column(name=name, type=declared, kind=kind, nullable=name != "id")


@pytest.fixture
def bound_by_hand() -> Callable[[str], BoundClass]:
    """``bound_by_hand("sqlite")``: class crm.logs with a join table of tags and one dependent; the clock counts seconds."""

    def make(dialect: str) -> BoundClass:
        sources: dict[str, Source] = {
            "sqlite": SqliteSource("crm", Path("crm.db")),
            "postgresql": PostgresqlSource("crm", "postgresql://user:secret@db.example/crm"),
            "mysql": MariadbSource("crm", "mysql://user:secret@db.example/crm"),
        }
        source = sources[dialect]
        schema = {"sqlite": None, "postgresql": "public", "mysql": "crm"}[dialect]
        logs = _table(
            "logs",
            schema,
            _column("id", "bigint", Kind.INTEGER),
            _column("stamp", "bigint", Kind.INTEGER),
            _column("status", "text", Kind.TEXT),
        )
        reference = _column("log_id", "bigint", Kind.INTEGER)
        key = _column("id", "bigint", Kind.INTEGER)
        notes = _table("notes", schema, key, reference)
        tags = _table("log_tags", schema, reference, _column("tag", "text", Kind.TEXT))
        declared = RecordClass(
            source="crm",
            name="logs",
            table="logs",
            key=("id",),
            created="stamp",
            unit="s",
            tags=TagTable(table="log_tags", record=("log_id",), tag="tag"),
            dependents=(Dependent(table="notes", key=("log_id",), mark=MARK),),
            mark=MARK,
        )
        return bound_rows(source, declared, logs, {"notes": notes, "log_tags": tags})

    return make
