"""The shortcut for what most records' tag columns hold says the same as reading each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from retention.policy.mark import Mark
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.source import Source
from retention.sources.tags import carries, readable

UTC = ZoneInfo("UTC")
USUAL = ['["note", "temporary"]', '["sales"]', "[]", '["NOTE"]', '[" note"]', '["note", null]', '["note, sales"]']
ODD = ["note, temporary", "note", '["note"', '["note", 5]', '[["note"]]', '{"note": 1}', '"note"', '["no\\u0074e"]', ""]


def _bound(source: Source) -> BoundClass:
    declared = RecordClass(
        source="crm", name="logs", table="logs", key=("id",), created=None, tags=TagColumn(column="tags"),
        mark=Mark(file="retention.yaml"),
    )  # fmt: skip
    return bind(source, declared, {declared.address: declared})


def _filled(source: Source, kind: str, rows: list[str]) -> BoundClass:
    values = ", ".join(f"({number}, '{row}')" for number, row in enumerate(rows))
    _run(source, f"CREATE TABLE logs (id bigint PRIMARY KEY, tags {kind})", f"INSERT INTO logs VALUES {values}")
    return _bound(source)


def _run(source: Source, *statements: str) -> None:
    session = source.session()
    try:
        for statement in statements:
            session.execute(statement)
    finally:
        session.close()


def _ids(bound: BoundClass, condition: sa.ColumnElement[bool]) -> list[int]:
    session = bound.source.session()
    try:
        rows = session.rows(sa.select(bound.key[0]).select_from(bound.rows).where(condition).order_by(bound.key[0]))
        return [key for (key,) in rows]
    finally:
        session.close()


@pytest.fixture
def bound(source: Source) -> Iterator[BoundClass]:
    return _filled(source, "text", [*USUAL, *ODD])


def test_arrays_of_texts_are_known(bound: BoundClass) -> None:
    assert bound.usual_tags["[]"] == frozenset()
    assert bound.usual_tags['["note", "temporary"]'] == {"note", "temporary"}
    assert set(bound.usual_tags) >= set(USUAL)
    assert not set(bound.usual_tags) & {'["note"', '["note", 5]', '[["note"]]', '{"note": 1}', "note"}


@pytest.mark.parametrize("tag", ["note", "NOTE", " note", "temporary", "sales", "note, sales", "5", ""])
def test_the_shortcut_changes_no_answer(bound: BoundClass, tag: str) -> None:
    exact = replace(bound, usual_tags={})
    assert _ids(bound, carries(bound, tag, UTC)) == _ids(exact, carries(exact, tag, UTC))
    assert _ids(bound, sa.not_(carries(bound, tag, UTC))) == _ids(exact, sa.not_(carries(exact, tag, UTC)))
    assert _ids(bound, readable(bound)) == _ids(exact, readable(exact))


def test_what_came_later_is_read_as_ever(bound: BoundClass) -> None:
    _run(bound.source, """INSERT INTO logs VALUES (100, '["note", "later"]'), (101, '["later", 1]')""")
    assert _ids(bound, carries(bound, "later", UTC)) == [100]
    assert 101 not in _ids(bound, readable(bound))


def test_a_column_that_ignores_case_mixes_nothing_up(sqlite: Source) -> None:
    bound = _filled(sqlite, "text COLLATE NOCASE", ['["note"]', '["NOTE"]'])
    assert _ids(bound, carries(bound, "note", UTC)) == [0]
    _run(bound.source, """INSERT INTO logs VALUES (2, '["Note"]')""")
    assert _ids(bound, carries(bound, "note", UTC)) == [0]


def test_text_that_is_not_utf8_keeps_no_class_from_being_bound(sqlite: Source) -> None:
    _run(
        sqlite,
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, tags TEXT)",
        "INSERT INTO logs VALUES (1, CAST(x'5B22FF225D' AS TEXT)), (2, '[\"note\"]'), (3, x'5B5D'), (4, 7), (5, NULL)",
    )
    bound = _bound(sqlite)
    assert dict(bound.usual_tags) == {'["note"]': {"note"}}
    assert _ids(bound, carries(bound, "note", UTC)) == [2]


def test_arrays_of_the_database_need_no_shortcut(postgres: Source) -> None:
    bound = _filled(postgres, "text[]", ["{note}"])
    assert not bound.usual_tags
    assert _ids(bound, carries(bound, "note", UTC)) == [0]
