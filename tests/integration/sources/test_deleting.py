"""Records and their dependents go together, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlalchemy as sa

from retention.errors import SourceFailed
from retention.holds.scope import Key
from retention.policy.dependent import Dependent
from retention.policy.mark import Mark
from retention.policy.policy_set import PolicySet
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagTable
from retention.sources import statements
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.presence import present
from retention.sources.source import Session, Source
from retention.sources.sql import Bool
from tests.integration.sources.conftest import keep_keys

Sessions = Callable[[Source], Session]
MARK = Mark(file="retention.yaml")


def _bound(source: Source) -> BoundClass:
    declared = RecordClass(
        source="crm",
        name="logs",
        table="logs",
        key=("id",),
        tags=TagTable(table="log_tags", record=("log_id",), tag="tag"),
        dependents=(Dependent(table="notes", key=("log_id",), mark=MARK),),
        mark=MARK,
    )
    return bind(source, declared, {"crm.logs": declared})


def _fill(session: Session, action: str) -> None:
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY, amount integer)")
    for table, more in (("notes", "body text"), ("log_tags", "tag text")):
        session.execute(f"CREATE TABLE {table} (log_id integer REFERENCES logs (id) ON DELETE {action}, {more})")
    session.execute("INSERT INTO logs VALUES (1, 10), (2, 20), (3, 30), (4, 40)")
    session.execute("INSERT INTO notes VALUES (1, 'a'), (1, 'b'), (2, 'c'), (4, 'd'), (NULL, 'e')")
    session.execute("INSERT INTO log_tags VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'y')")


def _tagged(bound: BoundClass, tag: str) -> Bool:
    """A condition that the deletion of the tags itself would change."""
    join = bound.tag_table
    assert join is not None
    tagged = sa.exists(sa.literal_column("1")).select_from(join.rows).where(join.refers[0] == bound.key[0])
    return tagged.where(join.rows.c["tag"] == tag).correlate_except(join.rows)


def _delete(session: Session, bound: BoundClass, condition: Bool, until: Key) -> list[int]:
    if bound.dialect == "postgresql":
        statement = statements.delete_with_dependents(bound, condition, after=None, until=until)
        return [int(count) for count in session.rows(statement)[0]]
    keep_keys(session, bound, sa.and_(condition, bound.key[0] <= until[0]), 100)
    root = session.execute(statements.delete_due(bound, condition, after=None, until=until))
    return [root, *(session.execute(statements.delete_dependents(bound, one)) for one in bound.dependents)]


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL"])
@pytest.mark.every_server
def test_a_window_goes_with_its_dependents(source: Source, sessions: Sessions, action: str) -> None:
    session = sessions(source)
    _fill(session, action)
    bound = _bound(source)
    session.begin(write=True)
    session.keep_definitions(bound.tables)
    assert _delete(session, bound, _tagged(bound, "x"), (2,)) == [2, 3, 2]
    session.commit()
    assert session.rows("SELECT id FROM logs ORDER BY id") == [(3,), (4,)]
    assert session.rows("SELECT body FROM notes ORDER BY body") == [("d",), ("e",)]
    assert session.rows("SELECT log_id FROM log_tags ORDER BY log_id") == [(3,), (4,)]


@pytest.mark.every_server
def test_what_is_read_is_what_goes(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    _fill(session, "NO ACTION")
    bound = _bound(source)
    condition = _tagged(bound, "x")
    session.begin(write=True)
    notes = bound.dependents[0]
    read = statements.select_dependents(bound, notes, condition, after=None, until=(2,))
    assert session.rows(read([notes.rows.c["body"]])) == [("a",), ("b",), ("c",)]
    assert session.rows(statements.count_dependents(bound, notes, condition)) == [(3,)]
    assert session.rows(statements.select_due(bound, condition, after=(1,), until=None)([bound.key[0]])) == [(2,), (3,)]
    session.rollback()
    by_tag = statements.due_by_tag(
        bound, sa.true(), PolicySet(policies=(), bounds=(), timezone=ZoneInfo("UTC"), digest="")
    )
    assert by_tag is not None
    assert session.rows(by_tag) == [("x", 3), ("y", 1)]


def test_a_child_that_comes_meanwhile_stops_the_batch(postgres: Source, sessions: Sessions) -> None:
    """It is not in the archive, so it may neither go unseen nor be left an orphan."""
    session, application = sessions(postgres), sessions(postgres)
    _fill(session, "CASCADE")
    bound = _bound(postgres)
    session.begin(write=True)
    assert session.rows("SELECT count(*) FROM notes") == [(5,)]
    application.execute("INSERT INTO notes VALUES (1, 'late')")
    with pytest.raises(SourceFailed):
        _delete(session, bound, _tagged(bound, "x"), (2,))
        session.commit()
    session.rollback()
    assert session.rows("SELECT count(*) FROM logs") == [(4,)]
    assert session.rows("SELECT count(*) FROM notes WHERE body = 'late'") == [(1,)]


@pytest.mark.every_server
def test_which_of_some_keys_are_there(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    _fill(session, "NO ACTION")
    bound = _bound(source)
    assert present(session, bound, []) == []
    assert sorted(present(session, bound, [(1,), (9,), (3,)])) == [(1,), (3,)]
    session.load_temporary(statements.KEYS, pa.table({"id": [4, 5]}))
    assert session.rows(statements.present_keys(bound)) == [(4,)]
    assert session.rows(statements.select_by_keys(bound)([bound.column("amount")])) == [(40,)]
    notes = bound.dependents[0]
    assert session.rows(statements.select_dependents_by_keys(bound, notes)([notes.rows.c["body"]])) == [("d",)]
