"""What SQLite's free-form declarations mean."""

from __future__ import annotations

import pytest

from retention.sources.sqlite_schema import affinity, fires_on_delete, kind_of
from retention.sources.table import Kind


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("INTEGER", Kind.INTEGER),
        ("bigint unsigned", Kind.INTEGER),
        ("VARCHAR(20)", Kind.TEXT),
        ("DateTime", Kind.WALL),
        ("timestamp", Kind.WALL),
        ("date", Kind.DATE),
        ("boolean", Kind.BOOLEAN),
        ("JSON", Kind.JSON),
        ("DECIMAL(10,2)", Kind.NUMBER),
        ("double precision", Kind.NUMBER),
        ("BLOB", Kind.BINARY),
        ("", Kind.OTHER),
        ("uuid", Kind.OTHER),
    ],
)
def test_kinds(declared: str, kind: Kind) -> None:
    assert kind_of(declared) is kind


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("INT", "integer"),
        ("CLOB", "text"),
        ("", "blob"),
        ("FLOAT", "real"),
        ("DATETIME", "numeric"),
        ("STRING", "numeric"),
    ],
)
def test_affinities_are_those_of_the_manual(declared: str, expected: str) -> None:
    assert affinity(declared) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER a DELETE ON t BEGIN SELECT 1; END",
        "create trigger if not exists main.a after delete on t begin select 1; end",
        'CREATE TRIGGER "insert" BEFORE DELETE ON t BEGIN SELECT 1; END',
        "CREATE TEMP TRIGGER [update on] /* INSERT */ INSTEAD OF DELETE ON v BEGIN SELECT 1; END",
        "CREATE TRIGGER a -- AFTER INSERT\n DELETE ON t BEGIN SELECT 1; END",
        "something else",
    ],
)
def test_triggers_that_fire_on_delete_or_cannot_be_read(sql: str) -> None:
    assert fires_on_delete(sql)


@pytest.mark.parametrize(
    "sql",
    [
        'CREATE TRIGGER "delete" AFTER INSERT ON t BEGIN DELETE FROM u; END',
        "CREATE TRIGGER a UPDATE OF delete_me ON t BEGIN SELECT 1; END",
        "CREATE TRIGGER if not exists a.b BEFORE update ON t BEGIN SELECT 1; END",
    ],
)
def test_triggers_of_other_events(sql: str) -> None:
    assert not fires_on_delete(sql)
