"""Tags in a table of their own, for keys of several columns and for references of another type than the key's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.config import load_project
from retention.disposition import holding, restore
from retention.disposition.destroy import plan_destruction
from retention.disposition.explain import explain
from retention.disposition.run import RunResult
from retention.errors import Failed, PolicyFilesError
from retention.holds.scope import Tagged
from retention.ledger.control import Control
from retention.sources.record import read_records
from retention.sources.tags import carries
from tests.integration.disposition.conftest import AS_OF, THINGS, THINGS_POLICY, Site

#: what refers to the key -> the type of its number there
REFERS = {"same": "INTEGER", "text": "VARCHAR(20)"}
#: things by key, all of them expired; two of them have the number 1, two the letter b
THINGS_KEYS = ((1, "a"), (1, "b"), (2, "b"), (3, "c"))
#: (1, b) has no tag "note", and both of those that share a part of its key do
TAGS = ((1, "a", "note"), (1, "a", "odd"), (1, "b", "other"), (2, "b", "note"), (3, "c", "NOTE"))


@pytest.fixture(params=REFERS)
def refers(request: pytest.FixtureRequest) -> str:
    """Of which type the number of the key is in the tag table."""
    return REFERS[str(request.param)]


@pytest.fixture
def things(refers: str, crm_url: str, tmp_path: Path, run_sql: Callable[..., None]) -> Site:
    """Things whose key is a letter and a number, in this order, and their tags, in the other."""
    dialect = crm_url.split(":")[0]
    time = {"sqlite": "DATETIME", "postgresql": "TIMESTAMPTZ"}.get(dialect, "DATETIME")
    run_sql(
        crm_url,
        f"CREATE TABLE things (id INTEGER NOT NULL, code VARCHAR(5) NOT NULL, created_at {time}, PRIMARY KEY (code, id))",
        f"CREATE TABLE thing_tags (id {refers}, code VARCHAR(5), tag VARCHAR(20))",
        *(f"INSERT INTO things VALUES ({number}, '{code}', '2020-01-01 00:00:00')" for number, code in THINGS_KEYS),
        *(f"INSERT INTO thing_tags VALUES ('{number}', '{code}', '{tag}')" for number, code, tag in TAGS),
        "INSERT INTO thing_tags VALUES (NULL, 'b', 'note'), ('1', NULL, 'note'), ('9', 'a', 'note')",
    )
    folder = tmp_path / "site"
    (folder / "policies").mkdir(parents=True)
    tags = ", tags: {{table: thing_tags, record: {}, tag: tag}}".format("[code, id]")
    words = {"folder": folder, "url": crm_url, "key": "[code, id]", "clock": "created_at", "dependents": tags}
    (folder / "retention.yaml").write_text(THINGS.format(**words))
    (folder / "policies" / "things.yaml").write_text(THINGS_POLICY.replace("all: true", "tags: [note]"))
    Control.upgrade(f"sqlite:///{folder}/retention.db")
    return Site(folder=folder, url=crm_url, dialect=dialect, comments=False, run_sql=run_sql)


def contents(site: Site) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    things = site.rows("SELECT id, code FROM things ORDER BY id, code")
    return things, sorted(site.rows("SELECT id, code, tag FROM thing_tags"), key=repr)


def run_long_ago(site: Site) -> RunResult:
    """Run so that the archive's copies are past their time by now."""
    site.policy("things", archive="{to: cold, keep: 1 day}")
    with site.at(AS_OF + timedelta(hours=1)):
        return site.run("things")


def test_a_record_of_several_columns_has_the_tags_of_all_of_them(things: Site) -> None:
    before = contents(things)
    plan = things.plan("things")
    assert (plan.matched, plan.due) == (2, 2)
    assert plan.by_tag == {"note": 2, "odd": 1}
    told = explain(things.engine(), "crm.things", '["b",1]', AS_OF)
    assert told.decision is not None and {one.fate for one in told.decision.judgements} == {None}
    result = things.run("things")
    assert (result.deleted, result.dependent_rows) == (2, 3)
    left = [(1, "b"), (3, "c")]
    assert contents(things) == (
        left,
        [row for row in before[1] if (str(row[0]), row[1]) not in {("1", "a"), ("2", "b")}],
    )
    [restored] = restore.restore(
        things.engine(),
        restore.choose(things.engine(), run=result.run, keys=(), where=(), address=None),
        reason="asked",
    )
    assert (restored.restored, restored.dependent_rows) == (2, 3)
    assert contents(things) == before
    assert things.findings() == []


def test_a_hold_on_a_tag_covers_the_record_and_its_copy(things: Site) -> None:
    scope = Tagged(tag="odd", records=("crm.things",))
    hold = holding.place(things.engine(), matter="M-1", reason="court", scope=scope)
    plan = things.plan("things")
    assert (plan.due, plan.held) == (1, 1)
    assert things.run("things").deleted == 1
    assert contents(things)[0] == [(1, "a"), (1, "b"), (3, "c")]
    things.release_long_ago(hold.hold.id)
    assert run_long_ago(things).deleted == 1
    other = holding.place(
        things.engine(), matter="M-2", reason="court", scope=Tagged(tag="other", records=("crm.things",))
    )
    [plan_without] = plan_destruction(things.engine(), ("cold",))
    assert (len(plan_without.due), plan_without.held) == (1, ()), "a copy that has no such tag is kept"
    things.release_long_ago(other.hold.id)
    holding.place(things.engine(), matter="M-3", reason="court", scope=scope)
    [plan_with] = plan_destruction(things.engine(), ("cold",))
    assert (plan_with.due, len(plan_with.held)) == ((), 1)


@pytest.mark.parametrize("refers", ["VARCHAR(20)"])
def test_a_copy_whose_tags_only_the_database_could_place_is_kept(things: Site) -> None:
    """SQLite and MariaDB take a text in several forms for one number: none of them may let a held copy go."""
    if things.dialect == "postgresql":
        pytest.skip("PostgreSQL compares the text that it would write")
    other = "1.00" if things.dialect == "sqlite" else "1"
    code = "a" if things.dialect == "sqlite" else "A"
    things.run_sql(things.url, f"UPDATE thing_tags SET id = '{other}', code = '{code}' WHERE id = '1' AND code = 'a'")
    assert run_long_ago(things).deleted == 2
    assert contents(things)[0] == [(1, "b"), (3, "c")]
    holding.place(things.engine(), matter="M-1", reason="court", scope=Tagged(tag="odd", records=("crm.things",)))
    [plan] = plan_destruction(things.engine(), ("cold",))
    assert (plan.due, len(plan.held)) == ((), 1)


@pytest.mark.parametrize("refers", ["VARCHAR(20)"])
def test_a_row_that_refers_in_another_spelling_comes_back_with_its_record(things: Site) -> None:
    """As a collation allows it, and SQLite for numbers: alone, and with all of its batch."""
    if things.dialect == "postgresql":
        pytest.skip("PostgreSQL compares the text that it would write")
    number, code = ("1.0", "a") if things.dialect == "sqlite" else ("1", "A")
    things.run_sql(things.url, f"UPDATE thing_tags SET id = '{number}', code = '{code}' WHERE id = '1' AND code = 'a'")
    before = contents(things)
    result = things.run("things")
    assert (result.deleted, result.dependent_rows) == (2, 3)
    for keys, came in ((('["a",1]',), (1, 2)), ((), (1, 1))):
        run = None if keys else result.run
        choice = restore.choose(things.engine(), run=run, keys=keys, where=(), address="crm.things" if keys else None)
        [restored] = restore.restore(things.engine(), choice, reason="asked for")
        assert (restored.restored, restored.dependent_rows) == came
    assert contents(things) == before


@pytest.mark.parametrize("refers", ["VARCHAR(20)"])
def test_a_row_that_only_the_database_could_place_is_not_lost_in_silence(things: Site) -> None:
    if things.dialect != "sqlite":
        pytest.skip("elsewhere a text writes a number in one way")
    things.run_sql(things.url, "UPDATE thing_tags SET id = '01' WHERE id = '1' AND tag = 'odd'")
    before = contents(things)
    result = things.run("things")
    assert (result.deleted, result.dependent_rows) == (2, 3)
    for keys in (('["a",1]',), ('["b",2]',)):
        choice = restore.choose(things.engine(), run=None, keys=keys, where=(), address="crm.things")
        with pytest.raises(Failed, match="thing_tags is no dependent of"):
            restore.restore(things.engine(), choice, reason="asked for")
    assert contents(things)[0] == [(1, "b"), (3, "c")] != before[0]


@pytest.mark.parametrize("refers", ["INTEGER"])
def test_a_copy_with_a_tag_of_nobody_is_kept(things: Site) -> None:
    """Every tag in a copy is there for one of its records."""
    assert run_long_ago(things).deleted == 2
    holding.place(things.engine(), matter="M-1", reason="court", scope=Tagged(tag="other", records=("crm.things",)))
    assert len(plan_destruction(things.engine(), ("cold",))[0].due) == 1
    # the class's declaration has the columns of the reference in another order by now
    text = things.config.read_text()
    things.config.write_text(text.replace("record: [code, id]", "record: [id, code]"))
    assert len(plan_destruction(things.engine(), ("cold",))[0].held) == 1


@pytest.mark.parametrize("refers", ["INTEGER"])
def test_a_tag_that_cannot_be_read_keeps_its_record_alone(things: Site) -> None:
    if things.dialect != "sqlite":
        pytest.skip("a column of text holds text there")
    things.run_sql(things.url, "INSERT INTO thing_tags VALUES (2, 'b', x'6f6464')")
    plan = things.plan("things")
    assert (plan.matched, plan.due, plan.unreadable_tags) == (1, 1, 1)
    assert things.run("things").deleted == 1
    assert contents(things)[0] == [(1, "b"), (2, "b"), (3, "c")]


MISFITS = {
    "one column": ("code", '"thing_tags" refers by one column to 2 columns of things: code, id'),
    "three columns": ("[code, id, tag]", '"thing_tags" refers by 3 columns to 2 columns of things: code, id'),
    "a column that is not there": ("[code, ident]", 'table thing_tags has no column "ident"'),
}  # fmt: skip


@pytest.mark.parametrize("refers", ["INTEGER"])
@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_the_key_is_refused_with_its_place(things: Site, misfit: str) -> None:
    record, message = MISFITS[misfit]
    text = things.config.read_text().replace("record: [code, id]", f"record: {record}")
    things.config.write_text(text)
    [line] = [number for number, one in enumerate(text.splitlines(), 1) if "record:" in one]
    column = text.splitlines()[line - 1].index("record:") + len("record: ") + 1
    with pytest.raises(PolicyFilesError) as caught:
        things.engine().bound("crm.things")
    told = [problem for problem in caught.value.problems if message in problem.message]
    assert [(one.mark.file, one.mark.line, one.mark.column) for one in told] == [("retention.yaml", line, column)]
    if "refers by" in message:
        assert told[0].remedy == "write under `record` as many columns, in this order"


@pytest.mark.parametrize("refers", ["INTEGER"])
@pytest.mark.parametrize("declared", ["", ", dependents: {thing_tags: {key: [code, id]}}"])
def test_what_can_never_be_equal_is_refused(things: Site, declared: str) -> None:
    if things.dialect == "sqlite":
        pytest.skip("SQLite compares values of any types")
    text = things.config.read_text().replace("record: [code, id]", "record: [id, code]")
    things.config.write_text(text.replace(", tags:", f"{declared}, tags:"))
    with pytest.raises(PolicyFilesError, match=r'"id" of thing_tags is .*, and "code" of things, to which it refers'):
        things.engine().bound("crm.things")


_NUMBER, _CODE = st.sampled_from([1, 2, 3]), st.sampled_from(["a", "b"])
_REFERENCE = st.tuples(st.none() | _NUMBER, st.none() | _CODE, st.sampled_from(["x", "y", "X", None]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(st.tuples(_NUMBER, _CODE), min_size=1), tags=st.lists(_REFERENCE, max_size=6))
def test_sql_and_python_find_the_same_tags(
    things: Site, keys: set[tuple[int, str]], tags: list[tuple[int | None, str | None, str | None]]
) -> None:
    def literal(value: object) -> str:
        return "NULL" if value is None else f"'{value}'"

    rows = [f"INSERT INTO things VALUES ({number}, '{code}', '2020-01-01 00:00:00')" for number, code in sorted(keys)]
    rows += [f"INSERT INTO thing_tags VALUES ({', '.join(map(literal, one))})" for one in tags]
    things.run_sql(things.url, "DELETE FROM thing_tags", "DELETE FROM things", *rows)
    bound = things.engine().bound("crm.things")
    zone = load_project(things.config).config.timezone
    session = bound.source.session()
    try:
        records = read_records(session, bound, sa.true(), zone)
        assert {(record.values["id"], record.values["code"]) for record in records} == keys
        for record in records:
            key = (record.values["id"], record.values["code"])
            assert record.tags == {tag for *refers, tag in tags if tuple(refers) == key and tag is not None}
        for tag in ("x", "y", "X"):
            asked = sa.select(*bound.key).select_from(bound.rows).where(carries(bound, tag, zone))
            found = {(number, code) for code, number in session.rows(asked)}
            assert found == {key for key in keys if (*key, tag) in tags}
    finally:
        session.close()
