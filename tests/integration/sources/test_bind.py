"""Reflection and binding: what the database says of its tables, and every reason for which a class cannot be bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from retention.errors import PolicyFilesError, SchemaUnsafe
from retention.policy.condition import Compare, Operator
from retention.policy.dependent import Dependent, Then
from retention.policy.mark import Mark
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn, TagRules, TagTable
from retention.sources import statements
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.check import check_condition, unset_problems
from retention.sources.source import Session, Source
from tests.integration.sources.conftest import keep_keys

Sessions = Callable[[Source], Session]
UTC = ZoneInfo("UTC")


def _mark(line: int) -> Mark:
    return Mark(file="retention.yaml", line=line, column=5)


def _class(**changes: Any) -> RecordClass:
    declared: dict[str, Any] = {
        "source": "crm", "name": "logs", "table": "logs", "key": ("id",), "created": "created_at", "timezone": UTC,
        "mark": _mark(1),
        "marks": {
            "table": _mark(2), "key": _mark(3), "created": _mark(4), "tags.column": _mark(5), "subjects.customer": _mark(6),
            "columns": _mark(7), "dependents.notes": _mark(8), "dependents.notes.key": _mark(9), "tags.table": _mark(10),
            "tags.tag": _mark(11),
        },
    }  # fmt: skip
    return RecordClass(**{**declared, **changes})


NOTES = (Dependent(table="notes", key=("log_id",), mark=_mark(8)),)


def _bind(source: Source, declared: RecordClass, *others: RecordClass) -> BoundClass:
    return bind(source, declared, {one.address: one for one in (declared, *others)})


@pytest.fixture
def session(source: Source, sessions: Sessions) -> Session:
    session = sessions(source)
    wall = _wall(source)
    session.execute(f"CREATE TABLE logs (id integer PRIMARY KEY, created_at {wall}, status text, amount integer)")
    return session


def _wall(source: Source) -> str:
    """What the dialect calls date and time without a zone."""
    return "datetime" if source.dialect.name == "mysql" else "timestamp"


def test_hostile_names(source: Source, sessions: Sessions) -> None:
    session = sessions(source)
    # MySQL knows no names beyond the first 65,536 characters of Unicode
    face = "" if source.dialect.name == "mysql" else "😀"
    table, key, clock = f'we"ird; DROP `TABLE` x -- %s :y é{face}', "SELECT", "Cre%Ated ' \\"
    quote = source.dialect.identifier_preparer.quote_identifier
    session.execute(f"CREATE TABLE {quote(table)} ({quote(key)} integer PRIMARY KEY, {quote(clock)} {_wall(source)})")
    session.execute(f"INSERT INTO {quote(table)} VALUES (1, '2020-01-01 00:00:00')")
    assert source.tables() == [table]
    where = TagRules(rules=(("old", Compare(column=clock, operator=Operator.NOT, value=None, mark=_mark(1))),))
    bound = _bind(source, _class(table=table, key=(key,), created=clock, tags=where))
    assert session.rows(statements.window_end(bound, after=(0,), rows=1)) == [(1,)]
    if bound.dialect == "mysql":
        keep_keys(session, bound, sa.true(), 1)
    assert session.execute(statements.delete_due(bound, sa.true(), after=(0,), until=(1,))) == 1


def test_a_schema_beside_the_default_one(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute('CREATE SCHEMA "C.rm"')
    session.execute('CREATE TABLE "C.rm".logs (id uuid PRIMARY KEY, created_at timestamptz)')
    session.execute('CREATE TABLE "C.rm".notes (id integer PRIMARY KEY, log_id uuid REFERENCES "C.rm".logs)')
    assert postgres.tables() == ["C.rm.logs", "C.rm.notes"]
    dependents = (Dependent(table="C.rm.notes", key=("log_id",), mark=_mark(8)),)
    bound = _bind(postgres, _class(table="C.rm.logs", dependents=dependents))
    key = "00000000-0000-0000-0000-0000000000ff"
    session.execute(f"INSERT INTO \"C.rm\".logs VALUES ('{key}', now())")
    assert session.rows(statements.window_end(bound, after=None, rows=1)) == [(key,)]
    assert session.rows(statements.covers(bound, sa.true(), (key,))) == [(1,)]
    with pytest.raises(SchemaUnsafe, match=r"C\.rm\.notes \(log_id\) refers to it, ON DELETE NO ACTION"):
        _bind(postgres, _class(table="C.rm.logs"))


def test_every_problem_is_told_at_once(source: Source, session: Session) -> None:
    declared = _class(
        key=("ID",),
        created="create_at",
        tags=TagColumn(column="amount"),
        subjects={"customer": "customer"},
        columns=("statu",),
        dependents=NOTES,
    )
    with pytest.raises(PolicyFilesError) as caught:
        _bind(source, declared)
    table = source.table("logs")
    assert table is not None
    [integer] = [column.type for column in table.columns if column.name == "amount"]
    assert integer in ("INTEGER", "integer", "int(11)", "int")
    assert [str(problem) for problem in caught.value.problems] == [
        'retention.yaml:3:5: table logs has no column "ID", did you mean "id"?',
        'retention.yaml:4:5: table logs has no column "create_at", did you mean "created_at"?',
        f'retention.yaml:5:5: column "amount" is {integer}, which holds no tags,'
        " name a column of text, JSON or an array of text",
        'retention.yaml:6:5: table logs has no column "customer", write one of: amount, created_at, id, status',
        'retention.yaml:7:5: table logs has no column "statu", did you mean "status"?',
        'retention.yaml:8:5: source "crm" has no table "notes", write one of: logs',
    ]


def test_a_table_that_is_not_there(source: Source, session: Session) -> None:
    with pytest.raises(
        PolicyFilesError, match=r'retention.yaml:2:5: source "crm" has no table "log", did you mean "logs"'
    ):
        _bind(source, _class(table="log"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timezone": None}, "without a zone, say `timezone:`"),
        ({"created": "amount"}, "a number, say `unit: s`"),
        ({"key": ("status",)}, "neither the primary key of logs nor unique, write key: \\[id\\]"),
        ({"key": ("id", "status")}, "neither the primary key of logs nor unique"),
    ],
)
def test_declarations_that_do_not_fit(source: Source, session: Session, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyFilesError, match=message):
        _bind(source, _class(**changes))


def test_what_is_no_clock_is_told_with_those_that_are(source: Source, sessions: Sessions) -> None:
    kind = "time" if source.dialect.name == "mysql" else "boolean"  # its booleans are numbers
    sessions(source).execute(f"CREATE TABLE logs (id integer PRIMARY KEY, created_at {kind}, day date, note text)")
    with pytest.raises(PolicyFilesError, match=rf'"created_at" is (?i:{kind}), which tells no time, name one of: day'):
        _bind(source, _class())


@pytest.mark.parametrize("kind", ["text", "varchar(30)", "bytea"])
def test_text_is_a_clock_where_its_zone_is_known(source: Source, sessions: Sessions, kind: str) -> None:
    kind = "blob" if source.dialect.name != "postgresql" and kind == "bytea" else kind
    sessions(source).execute(f"CREATE TABLE logs (id integer PRIMARY KEY, created_at {kind})")
    assert _bind(source, _class()).described("created_at").name == "created_at"
    with pytest.raises(PolicyFilesError, match="without a zone, say `timezone:`"):
        _bind(source, _class(timezone=None))
    assert _bind(source, _class(timezone=None, format="YYYYMMDD")).record_class.format == "YYYYMMDD"


def test_numbers_of_digits_are_a_clock(source: Source, session: Session) -> None:
    assert _bind(source, _class(created="amount", format="YYYYMMDD")).record_class.created == "amount"
    with pytest.raises(PolicyFilesError, match="without a zone, say `timezone:`"):
        _bind(source, _class(created="amount", format="YYYYMMDDHHMMSS", timezone=None))


def test_a_real_of_postgresql_has_not_the_digits_of_a_time(postgres: Source, sessions: Sessions) -> None:
    sessions(postgres).execute("CREATE TABLE logs (id integer PRIMARY KEY, created_at real)")
    with pytest.raises(PolicyFilesError, match="is real, which has not the digits of a time"):
        _bind(postgres, _class(format="YYYYMMDD"))


def test_unset_values_that_can_stand_in_no_clock_are_named(source: Source, sessions: Sessions) -> None:
    kind = "text" if source.dialect.name == "sqlite" else "date"
    sessions(source).execute(f"CREATE TABLE logs (id integer PRIMARY KEY, created_at {kind}, stamp integer)")
    declared = _class(unit="s", unset=(0, date(1970, 1, 1), "0000-00-00"), marks={"unset": _mark(12)})
    problems = [str(problem) for problem in unset_problems(_bind(source, declared), ())]
    wrong = ["0", "'0000-00-00'"] if source.dialect.name == "postgresql" else ["0"]
    assert problems == [
        f'retention.yaml:12:5: the unset value {value} can stand in no clock of "crm.logs": created_at'
        f" ({kind.upper() if source.dialect.name == 'sqlite' else kind}), take it away, or write it as it stands there"
        for value in wrong
    ]
    assert unset_problems(_bind(source, replace(declared, created="stamp", unset=(0, "19700101"))), ()) != []
    assert unset_problems(_bind(source, replace(declared, created="stamp", unset=(0, date(1970, 1, 1)))), ()) == []


def test_keys_that_may_be_null(postgres: Source, sessions: Sessions) -> None:
    sessions(postgres).execute(
        "CREATE TABLE logs (id integer UNIQUE, code integer UNIQUE NOT NULL, created_at timestamp)"
    )
    with pytest.raises(PolicyFilesError, match='"id" may be null in logs'):
        _bind(postgres, _class())
    assert _bind(postgres, _class(key=("code",))).record_class.key == ("code",)


def test_keys_of_sqlite_that_name_nothing(sqlite: Source, sessions: Sessions) -> None:
    session = sessions(sqlite)
    session.execute("CREATE TABLE logs (id TEXT PRIMARY KEY, created_at DATETIME)")
    session.execute("INSERT INTO logs VALUES ('a', NULL), ('b', NULL)")
    _bind(sqlite, _class())
    session.execute("INSERT INTO logs VALUES (NULL, NULL)")
    with pytest.raises(SchemaUnsafe, match="id is null, or of another type"):
        _bind(sqlite, _class())
    session.execute("UPDATE logs SET id = x'61' WHERE id IS NULL")
    with pytest.raises(SchemaUnsafe, match="id is null, or of another type"):
        _bind(sqlite, _class())


def test_keys_of_sqlite_have_a_plain_type(sqlite: Source, sessions: Sessions) -> None:
    sessions(sqlite).execute("CREATE TABLE logs (id BLOB PRIMARY KEY NOT NULL, created_at DATETIME)")
    with pytest.raises(PolicyFilesError, match="a key must be declared INTEGER or TEXT"):
        _bind(sqlite, _class())


def test_two_classes_of_one_table_would_not_see_each_others_policies(source: Source, session: Session) -> None:
    with pytest.raises(PolicyFilesError, match='the classes "logs" and "calls" are the same table, logs'):
        _bind(source, _class(), _class(name="calls"))


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL", "RESTRICT"])
def test_an_undeclared_reference_is_refused_by_name(source: Source, session: Session, action: str) -> None:
    session.execute(
        f"CREATE TABLE notes (id integer PRIMARY KEY, log_id integer REFERENCES logs (id) ON DELETE {action})"
    )
    with pytest.raises(SchemaUnsafe) as caught:
        _bind(source, _class())
    assert f"notes (log_id) refers to it, ON DELETE {action}, and is not declared" in caught.value.message
    assert "notes: {key: log_id}" in caught.value.hint
    assert [one.table.name for one in _bind(source, _class(dependents=NOTES)).dependents] == ["notes"]


def test_a_reference_by_another_column_than_declared(source: Source, session: Session) -> None:
    session.execute("CREATE TABLE notes (id integer PRIMARY KEY, log_id integer, old_id integer REFERENCES logs (id))")
    with pytest.raises(SchemaUnsafe, match="declared with the key log_id"):
        _bind(source, _class(dependents=NOTES))


def test_dependents_of_dependents(source: Source, session: Session) -> None:
    session.execute("CREATE TABLE notes (id integer PRIMARY KEY, log_id integer REFERENCES logs (id))")
    session.execute(
        "CREATE TABLE files (id integer PRIMARY KEY, note_id integer REFERENCES notes (id) ON DELETE CASCADE)"
    )
    with pytest.raises(SchemaUnsafe, match=r"files \(note_id\) refers to its dependent notes, ON DELETE CASCADE"):
        _bind(source, _class(dependents=NOTES))


MAIN = Dependent(table="logs", key=("main",), then=Then.BLOCK, mark=_mark(8))


@pytest.mark.parametrize(
    ("main", "reference", "told"),
    [
        ("integer", "(main) REFERENCES notes (id)", None),
        ("integer NOT NULL", "(main) REFERENCES notes (id)", "which it may not"),
        ("there", "(main) REFERENCES notes (id)", "which it may not"),
        ("integer GENERATED ALWAYS AS (id) STORED", "(main) REFERENCES notes (id)", "which it may not"),
        (
            "integer UNIQUE",
            "(main) REFERENCES notes (id)",
            "which a key of which it is a part, or MATCH FULL, does not",
        ),
        ("integer", "(tenant, main) REFERENCES notes (tenant, id)", None),
        ("integer", "(tenant, main) REFERENCES notes (tenant, id) MATCH FULL", "or MATCH FULL, does not allow"),
    ],
)
def test_what_closes_a_circle_may_be_empty_for_a_while(
    postgres: Source, sessions: Sessions, main: str, reference: str, told: str | None
) -> None:
    session = sessions(postgres)
    for statement in (
        "CREATE DOMAIN there AS integer NOT NULL",
        f"CREATE TABLE logs (id integer PRIMARY KEY, created_at timestamp, tenant integer NOT NULL, main {main})",
        "CREATE TABLE notes (id integer PRIMARY KEY, tenant integer, log_id integer REFERENCES logs (id), UNIQUE (tenant, id))",
        f"ALTER TABLE logs ADD FOREIGN KEY {reference}",
    ):
        session.execute(statement)
    if "UNIQUE" in main:
        session.execute("CREATE TABLE marks (main integer REFERENCES logs (main))")
    of = {"key": ("tenant", "main"), "of": ("tenant", "id")} if "tenant" in reference else {}
    notes = replace(NOTES[0], dependents=(replace(MAIN, **of),))
    if told is None:
        assert [one.table.name for one in _bind(postgres, _class(dependents=(notes,))).dependents] == ["notes"]
        return
    with pytest.raises(SchemaUnsafe) as caught:
        _bind(postgres, _class(dependents=(notes,)))
    assert "refers to notes, whose rows refer to it in turn" in caught.value.message
    assert told in caught.value.message


def test_rows_without_a_key_close_no_circle(source: Source, session: Session) -> None:
    """They could not be found again when all others are there."""
    sqlite = source.dialect.name == "sqlite"
    inline = " REFERENCES files (id)" if sqlite else ""
    session.execute(
        f"CREATE TABLE notes (code integer NOT NULL UNIQUE, log_id integer REFERENCES logs (id), file_id integer{inline})"
    )
    session.execute("CREATE TABLE files (id integer PRIMARY KEY, note integer REFERENCES notes (code))")
    if not sqlite:
        session.execute("ALTER TABLE notes ADD FOREIGN KEY (file_id) REFERENCES files (id)")
    back = Dependent(table="notes", key=("file_id",), then=Then.BLOCK, mark=_mark(8))
    files = Dependent(table="files", key=("note",), of=("code",), dependents=(back,), mark=_mark(8))
    with pytest.raises(SchemaUnsafe, match="is no use without a primary key of notes to find the row again"):
        _bind(source, _class(dependents=(replace(NOTES[0], dependents=(files,)),)))


def test_records_that_refer_to_one_another(source: Source, sessions: Sessions) -> None:
    sessions(source).execute(
        f"CREATE TABLE logs (id integer PRIMARY KEY, created_at {_wall(source)}, above integer REFERENCES logs (id))"
    )
    with pytest.raises(SchemaUnsafe, match="records refer to one another"):
        _bind(source, _class())


def test_views(source: Source, session: Session) -> None:
    session.execute("CREATE VIEW recent AS SELECT * FROM logs")
    with pytest.raises(PolicyFilesError, match='"recent" is a view, name the table that holds the records'):
        _bind(source, _class(table="recent"))


def test_delete_triggers_of_sqlite(sqlite: Source, sessions: Sessions) -> None:
    session = sessions(sqlite)
    session.execute("CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at DATETIME)")
    session.execute("CREATE TRIGGER harmless AFTER INSERT ON logs BEGIN DELETE FROM logs WHERE id < 0; END")
    _bind(sqlite, _class())
    session.execute("CREATE TRIGGER cleaner AFTER DELETE ON LOGS BEGIN DELETE FROM logs WHERE id < 0; END")
    with pytest.raises(SchemaUnsafe, match="a trigger that fires on deletion, cleaner"):
        _bind(sqlite, _class())


def test_delete_triggers_and_rules_of_postgresql(postgres: Source, sessions: Sessions) -> None:
    session = sessions(postgres)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY, created_at timestamptz)")
    session.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'")
    session.execute("CREATE TRIGGER harmless AFTER UPDATE ON logs FOR EACH ROW EXECUTE FUNCTION f()")
    _bind(postgres, _class())
    session.execute("CREATE TRIGGER cleaner BEFORE INSERT OR DELETE ON logs FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(SchemaUnsafe, match="cleaner"):
        _bind(postgres, _class())
    session.execute("ALTER TABLE logs DISABLE TRIGGER cleaner")
    _bind(postgres, _class())
    session.execute("CREATE RULE instead AS ON DELETE TO logs DO INSTEAD NOTHING")
    with pytest.raises(SchemaUnsafe, match="instead"):
        _bind(postgres, _class())


@pytest.mark.parametrize(
    ("ddl", "relation"),
    [
        (
            "CREATE TABLE whole (id integer PRIMARY KEY, created_at timestamptz) PARTITION BY RANGE (id);"
            "CREATE TABLE logs PARTITION OF whole DEFAULT",
            "is a partition",
        ),
        (
            "CREATE TABLE logs (id integer PRIMARY KEY, created_at timestamptz); CREATE TABLE more () INHERITS (logs)",
            "inheriting",
        ),
    ],
)
def test_partitions(postgres: Source, sessions: Sessions, ddl: str, relation: str) -> None:
    session = sessions(postgres)
    for statement in ddl.split(";"):
        session.execute(statement)
    with pytest.raises(SchemaUnsafe, match=relation):
        _bind(postgres, _class())


def test_the_tag_table_is_a_dependent_without_saying_so(source: Source, session: Session) -> None:
    session.execute("CREATE TABLE log_tags (log_id integer REFERENCES logs (id), tag text)")
    bound = _bind(source, _class(tags=TagTable(table="log_tags", record=("log_id",), tag="tag")))
    assert [(one.table.name, one.key) for one in bound.dependents] == [("log_tags", ("log_id",))]
    with pytest.raises(PolicyFilesError, match="which holds no tags, name a column of text"):
        _bind(source, _class(tags=TagTable(table="log_tags", record=("log_id",), tag="log_id")))


@pytest.mark.parametrize(
    ("column", "operator", "value", "message"),
    [
        ("statu", Operator.IS, "x", 'table logs has no column "statu", did you mean "status"?'),
        ("amount", Operator.IS, "x", "never \"is\" 'x', write a number without quotes"),
        ("amount", Operator.ABOVE, 2**70, "write a number of at most 18 digits"),
        ("status", Operator.ABOVE, 5, "write text, in quotes"),
        ("created_at", Operator.IS, "2024-01-01", "write a date without quotes"),
    ],
)
def test_conditions_that_can_never_be_true(
    source: Source, session: Session, column: str, operator: Operator, value: object, message: str
) -> None:
    bound = _bind(source, _class())
    compare = Compare(column=column, operator=operator, value=value, mark=_mark(20))  # type: ignore[arg-type]
    [problem] = check_condition(bound, compare, UTC)
    assert message in str(problem)
    assert problem.mark.line == 20
