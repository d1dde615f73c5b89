"""Rows that several records share: they go with the last of them, and come back with any."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from retention.disposition import batch, restore, windows
from retention.disposition.clock import refuse_early
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import PolicyFilesError, SchemaUnsafe
from retention.sources.adbc import AdbcSession
from retention.sources.mariadb_session import MariadbSession
from tests.integration.disposition.conftest import desk_on
from tests.integration.disposition.desk import AS_OF, OLD, POLICY, YOUNG, Desk, everything, tickets

DOCUMENTS = "CREATE TABLE documents (id INTEGER PRIMARY KEY, name VARCHAR(20))"
LINKS = (
    "CREATE TABLE links (ticket_id INTEGER REFERENCES tickets (id), document_id INTEGER REFERENCES documents (id){then},"
    " PRIMARY KEY (ticket_id, document_id))"
)
#: tickets 1 and 2 are old, 3 is young; 100 is ticket 1's alone, 101 shared by both old ones, 102 by an old one and the young
#: one, 103 the young one's, 104 nobody's
ROWS = (
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG})",
    "INSERT INTO documents VALUES (100, 'own'), (101, 'both'), (102, 'kept'), (103, 'young'), (104, 'loose')",
    "INSERT INTO links VALUES (1, 100), (1, 101), (2, 101), (2, 102), (3, 102), (3, 103)",
)
LAST = "then: archive and delete with the last"
#: below a class of the shared rows themselves
REFERRED = "links: {key: document_id, then: block}"
TABLES = ("tickets", "links", "documents")


def declared(more: str = "") -> str:
    """``more`` is what is declared below the shared rows."""
    below = f", dependents: {{{more}}}" if more else ""
    return f"links: {{key: ticket_id, dependents: {{documents: {{key: id, of: document_id, {LAST}{below}}}}}}}"


@pytest.fixture
def shared(desk: Desk) -> Desk:
    desk.sql(tickets(), DOCUMENTS, LINKS.format(then=""), *ROWS)
    desk.declare(declared())
    return desk


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch for every record."""
    monkeypatch.setattr(windows, "FIRST_ROWS", 1)
    monkeypatch.setattr(windows, "MOST_ROWS", 1)
    monkeypatch.setattr(windows, "ALONE", 1)
    monkeypatch.setattr(windows, "MOST_KEYS", 1)


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE"])
@pytest.mark.every_server
def test_shared_rows_go_with_the_last_that_refers_to_them(desk: Desk, action: str) -> None:
    desk.sql(tickets(), DOCUMENTS, LINKS.format(then=f" ON DELETE {action}"), *ROWS)
    desk.declare(declared())
    before = everything(desk, *TABLES)
    planned = desk.plan()
    assert (planned.due, planned.dependents) == (2, {"links": 4, "documents": 2})
    done = desk.run()
    assert (done.deleted, done.dependent_rows) == (2, 6)
    assert (desk.ids(), desk.ids("documents")) == ([3], [102, 103, 104])
    assert desk.rows("SELECT ticket_id, document_id FROM links ORDER BY document_id") == [(3, 102), (3, 103)]
    assert desk.archived() == {"tickets": 2, "links": 4, "documents": 3}  # that of ticket 2 alone, too
    assert desk.findings() == []
    assert desk.restore() == 6
    assert everything(desk, *TABLES) == before


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.every_server
def test_shared_rows_go_with_the_last_batch_that_refers_to_them(shared: Desk) -> None:
    """And lie in the copy of every record that had them: each can be restored, held and destroyed for itself."""
    before = everything(shared, *TABLES)
    done = shared.run()
    assert (done.batches, done.dependent_rows) == (2, 6)
    assert shared.archived() == {"tickets": 2, "links": 4, "documents": 4}
    assert shared.ids("documents") == [102, 103, 104]
    engine = shared.engine()
    for key, rows in (("1", 4), ("2", 2)):
        choice = restore.choose(engine, run=None, keys=(key,), where=(), address="crm.tickets")
        assert [one.dependent_rows for one in restore.restore(engine, choice, reason="a test")] == [rows]
        assert _dangling(shared) == []
    assert everything(shared, *TABLES) == before


@pytest.mark.every_server
def test_a_shared_row_that_came_back_with_another_record_is_left_as_it_is(shared: Desk) -> None:
    shared.run()
    engine = shared.engine()
    for key, rows in (("1", 4), ("2", 2)):
        choice = restore.choose(engine, run=None, keys=(key,), where=(), address="crm.tickets")
        assert [one.dependent_rows for one in restore.restore(engine, choice, reason="a test")] == [rows]
        shared.sql("UPDATE documents SET name = 'changed' WHERE id = 101")
    assert shared.ids() == [1, 2, 3]
    assert shared.rows("SELECT name FROM documents WHERE id = 101") == [("changed",)]
    assert shared.rows("SELECT count(*) AS n FROM links") == [(6,)]


@pytest.mark.every_server
def test_a_row_that_records_refer_to_themselves(desk: Desk) -> None:
    """By a composite key; and what the record refers to twice, by a column that is not declared, is kept by that."""
    desk.sql(
        "CREATE TABLE covers (a INTEGER, b VARCHAR(9), PRIMARY KEY (a, b))",
        tickets("cover_a INTEGER", "cover_b VARCHAR(9)", "FOREIGN KEY (cover_a, cover_b) REFERENCES covers (a, b)"),
        "INSERT INTO covers VALUES (1, 'x'), (1, 'y'), (2, 'x'), (3, 'z')",
        f"INSERT INTO tickets VALUES (1, {OLD}, 1, 'x'), (2, {OLD}, 1, 'x'), (3, {OLD}, 1, 'y'), (4, {YOUNG}, 1, 'y'),"
        f" (5, {OLD}, NULL, NULL), (6, {OLD}, 2, 'x')",
    )
    desk.declare(f"covers: {{key: [a, b], of: [cover_a, cover_b], {LAST}}}")
    before = everything(desk, "tickets", "covers")
    assert desk.plan().dependents == {"covers": 2}
    assert desk.run().dependent_rows == 2
    assert desk.rows("SELECT a, b FROM covers ORDER BY a") == [(1, "y"), (3, "z")]
    assert desk.restore() == 2
    assert everything(desk, "tickets", "covers") == before
    assert desk.findings() == []


FURTHER = (
    "CREATE TABLE versions (id INTEGER PRIMARY KEY, document_id INTEGER REFERENCES documents (id), body VARCHAR(9))",
    "CREATE TABLE reviews (id INTEGER PRIMARY KEY, version_id INTEGER REFERENCES versions (id))",
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, document_id INTEGER REFERENCES documents (id) ON DELETE CASCADE)",
    "CREATE TABLE readings (id INTEGER PRIMARY KEY, document_id INTEGER REFERENCES documents (id))",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
    " document_id INTEGER REFERENCES documents (id))",
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {YOUNG})",
    "INSERT INTO documents VALUES (100, 'goes'), (101, 'a page'), (102, 'a review'), (103, 'noted'), (104, 'noted by 2')",
    "INSERT INTO links VALUES (1, 100), (1, 101), (1, 102), (1, 103), (1, 104)",
    "INSERT INTO versions VALUES (1, 100, 'a'), (2, 100, 'b'), (3, 101, 'c'), (4, 102, 'd')",
    "INSERT INTO pages VALUES (1, 101), (2, NULL)",
    "INSERT INTO reviews VALUES (1, 4)",
    "INSERT INTO readings VALUES (1, 100), (2, 101), (3, NULL)",
    "INSERT INTO notes VALUES (1, 1, 103), (2, 2, 104), (3, 1, NULL)",
)
BELOW = (
    "versions: {key: document_id, dependents: {reviews: {key: version_id, then: block}}},"
    " pages: {key: document_id, then: block}, readings: {key: document_id, then: detach},"
    " notes: {key: document_id, then: block}"
)


@pytest.mark.every_server
def test_what_refers_to_shared_rows_goes_keeps_them_or_is_detached(desk: Desk) -> None:
    """`block` below shared rows keeps these, and not the record; what goes with the record keeps nothing."""
    desk.sql(tickets(), DOCUMENTS, LINKS.format(then=""), *FURTHER)
    desk.declare(f"{declared(BELOW)}, notes: {{key: ticket_id}}")
    tables = (*TABLES, "versions", "reviews", "pages", "readings", "notes")
    before = everything(desk, *tables)
    planned = desk.plan()
    assert (planned.due, planned.blocked) == (1, 0)
    assert planned.dependents == {"links": 5, "documents": 2, "versions": 2, "notes": 2}
    assert planned.detached == {"readings": 1}
    assert desk.run().deleted == 1
    assert desk.ids("documents") == [101, 102, 104]
    assert (desk.ids("versions"), desk.ids("notes"), desk.ids("pages")) == ([3, 4], [2], [1, 2])
    assert desk.rows("SELECT id, document_id FROM readings ORDER BY id") == [(1, None), (2, 101), (3, None)]
    assert desk.archived() == {"tickets": 1, "links": 5, "documents": 5, "versions": 4, "notes": 2, "readings": 1}
    desk.restore()
    assert everything(desk, *tables) == before
    assert desk.findings() == []


def test_a_shared_row_that_refers_to_a_record(desk: Desk) -> None:
    """The first ticket is where the document came from: it goes when no other record has it, and is put back before it."""
    desk.sql(
        tickets(),
        "CREATE TABLE documents (id INTEGER PRIMARY KEY, name VARCHAR(20), origin INTEGER REFERENCES tickets (id))",
        LINKS.format(then=""),
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG})",
        "INSERT INTO documents VALUES (100, 'a', 1), (101, 'b', 3), (102, 'c', NULL)",
        "INSERT INTO links VALUES (1, 100), (2, 101), (2, 102)",
    )
    block = "documents: {key: origin, then: block}"
    desk.declare(f"links: {{key: ticket_id, dependents: {{documents: {{key: id, of: document_id, {LAST}}}}}}}")
    with pytest.raises(SchemaUnsafe, match=r"documents \(origin\) refers to it"):
        desk.plan()
    desk.declare(
        "links: {key: ticket_id, dependents: {documents: [{key: id, of: document_id, " + LAST + "}]}}, " + block
    )
    # what others may have as well goes with no record for sure: it keeps the one that it came from
    assert desk.plan().blocked_by == {"documents": 1}
    before = everything(desk, *TABLES)
    assert desk.run().deleted == 1
    assert (desk.ids(), desk.ids("documents")) == ([1, 3], [100])
    desk.restore()
    assert everything(desk, *TABLES) == before


def test_a_hold_reaches_what_is_shared_and_whom_it_is_shared_by(shared: Desk) -> None:
    more = f"      documents: {{table: documents, key: id, dependents: {{{REFERRED}}}}}\n"
    shared.declare(declared(), more=more)
    shared.hold("crm.documents", "100")
    assert shared.plan().held == 1
    assert shared.run().deleted == 1
    assert (shared.ids(), shared.ids("documents")) == ([1, 3], [100, 101, 102, 103, 104])


def test_a_held_record_keeps_what_it_shares(shared: Desk) -> None:
    shared.hold("crm.tickets", "1")
    assert shared.plan().dependents == {"links": 2, "documents": 0}
    assert shared.run().deleted == 1
    assert (shared.ids(), shared.ids("documents")) == ([1, 3], [100, 101, 102, 103, 104])


def test_a_rule_over_shared_rows_is_refused(shared: Desk) -> None:
    """It could not keep them."""
    more = (
        f"      documents: {{table: documents, key: id, created: made_at, timezone: UTC, dependents: {{{REFERRED}}}}}\n"
    )
    shared.sql("ALTER TABLE documents ADD made_at TIMESTAMP")
    shared.declare(declared(), more=more)
    rule = POLICY.replace("old-tickets", "documents").replace("crm.tickets", "crm.documents")
    (shared.folder / "policies" / "documents.yaml").write_text(rule)
    with pytest.raises(PolicyFilesError, match=r'the rows of "crm.documents" go with the records of "crm.tickets"'):
        shared.run()


@pytest.mark.every_server
def test_what_else_refers_to_shared_rows_is_declared(shared: Desk) -> None:
    """The line that the error proposes keeps them."""
    shared.sql(
        "CREATE TABLE pages (id INTEGER PRIMARY KEY, document_id INTEGER REFERENCES documents (id) ON DELETE CASCADE)",
        "INSERT INTO pages VALUES (1, 100)",
    )
    with pytest.raises(SchemaUnsafe, match=r"pages \(document_id\) refers to its dependent documents") as caught:
        shared.run()
    line = "pages: {key: document_id, then: block}"
    assert f"add under `dependents:` of documents:  {line}" in caught.value.hint
    shared.declare(declared(line))
    assert shared.run().deleted == 2
    assert (shared.ids("documents"), shared.ids("pages")) == ([100, 102, 103, 104], [1])


@pytest.mark.parametrize(
    ("documents", "links", "declaration", "told"),
    [
        pytest.param(
            DOCUMENTS, LINKS.format(then="").replace(" REFERENCES documents (id)", ""), declared(),
            r"links \(document_id\) shares rows of documents by no foreign key", id="no foreign key",
        ),
        pytest.param(
            DOCUMENTS.replace("name", "previous INTEGER REFERENCES documents (id), name"), LINKS.format(then=""),
            declared("documents: {key: previous, then: block}"), "rows of documents are shared, and refer to one another",
            id="refer to one another",
        ),
        pytest.param(
            DOCUMENTS, LINKS.format(then=""), declared().replace("key: id", "key: name"), '"name" is not unique in documents',
            id="not unique",
        ),
        pytest.param(
            DOCUMENTS, LINKS.format(then=""), declared().replace("key: id", "key: idd"), 'no column "idd"', id="no column",
        ),
        pytest.param(
            f"{DOCUMENTS}; CREATE TABLE labels (id INTEGER PRIMARY KEY);"
            " CREATE TABLE notes (id INTEGER PRIMARY KEY, document_id INTEGER REFERENCES documents (id),"
            " label_id INTEGER REFERENCES labels (id))",
            LINKS.format(then=", label_id INTEGER REFERENCES labels (id)"),
            declared("notes: {key: document_id}")[:-2]
            + f", labels: {{key: id, of: label_id, {LAST}, dependents: {{notes: {{key: label_id, then: block}}}}}}}}}}",
            "rows of notes keep shared rows of labels, and go with other shared rows themselves", id="what keeps goes",
        ),
        pytest.param(
            DOCUMENTS, LINKS.format(then=""), declared(f"tickets: {{key: id, of: id, {LAST}}}"),
            '"tickets" is shared by rows of documents that are themselves shared', id="shared by shared rows",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_surely_is_refused(
    desk: Desk, documents: str, links: str, declaration: str, told: str
) -> None:
    desk.sql(tickets(), *documents.split(";"), links)
    desk.declare(declaration)
    with pytest.raises((SchemaUnsafe, PolicyFilesError), match=told):
        desk.run()


SPELLED = (
    "CREATE TABLE documents (id {parent} PRIMARY KEY)",
    "CREATE TABLE links (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
    " document_id {child} REFERENCES documents (id))",
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG})",
    "INSERT INTO documents VALUES ('Abc'), ('Def')",
    "INSERT INTO links VALUES (1, 1, 'ABC'), (2, 2, 'abc'), (3, 1, 'def'), (4, 3, 'DEF')",
)


def _another_spelling(desk: Desk, parent: str, child: str) -> None:
    desk.sql(tickets(), *(one.format(parent=parent, child=child) for one in SPELLED))
    desk.declare(declared())
    before = everything(desk, *TABLES)
    assert desk.plan().dependents == {"links": 3, "documents": 1}
    assert desk.run().dependent_rows == 4
    assert desk.rows("SELECT id FROM documents") == [("Def",)]
    assert desk.restore() == 4
    assert everything(desk, *TABLES) == before
    assert desk.findings() == []


def _dependents_in_another_spelling(desk: Desk, parent: str) -> None:
    desk.sql(
        tickets(f"code {parent} UNIQUE"),
        "CREATE TABLE links (id INTEGER PRIMARY KEY, code VARCHAR(9) REFERENCES tickets (code))",
        f"INSERT INTO tickets VALUES (1, {OLD}, 'Abc'), (2, {YOUNG}, 'Def')",
        "INSERT INTO links VALUES (1, 'ABC'), (2, 'Abc'), (3, 'DEF')",
    )
    desk.declare("links: {key: code, of: code}")
    before = everything(desk, "tickets", "links")
    assert desk.run().dependent_rows == 2
    assert desk.ids("links") == [3]
    assert desk.restore() == 2
    assert everything(desk, "tickets", "links") == before


@pytest.mark.parametrize("child", ["VARCHAR(9)", "VARCHAR(9) COLLATE NOCASE"])
def test_sqlite_compares_references_as_its_foreign_keys_do(
    sqlite_url: str, tmp_path: Path, run_sql: Callable[..., None], child: str
) -> None:
    """By the collation of what is referred to; its `=` takes that of the left side."""
    _another_spelling(desk_on(sqlite_url, tmp_path, run_sql), "VARCHAR(9) COLLATE NOCASE", child)


def test_sqlite_compares_dependents_as_its_foreign_keys_do(
    sqlite_url: str, tmp_path: Path, run_sql: Callable[..., None]
) -> None:
    """The same of rows that are not shared."""
    _dependents_in_another_spelling(desk_on(sqlite_url, tmp_path, run_sql), "VARCHAR(9) COLLATE NOCASE")


@pytest.mark.every_server
def test_a_reference_in_another_spelling(mariadb_url: str, tmp_path: Path, run_sql: Callable[..., None]) -> None:
    """As the usual collations of MariaDB and MySQL allow."""
    _another_spelling(desk_on(mariadb_url, tmp_path, run_sql), "VARCHAR(9)", "VARCHAR(9)")


def test_indexes_that_the_question_for_other_references_lacks_are_named(desk: Desk) -> None:
    plain = LINKS.format(then="").replace(", PRIMARY KEY (ticket_id, document_id)", ", id INTEGER PRIMARY KEY")
    desk.sql(tickets(), DOCUMENTS, plain)
    desk.declare(declared())
    wanted = [one for one in desk.plan().missing_indexes if "document_id" in one]
    assert len(wanted) == (0 if desk.mariadb else 1)  # which makes one for every foreign key


# what happens at the same time


#: the run that is watched, wherever its threads are; and those of them that have begun with a batch
_WATCHED: contextvars.ContextVar[bool] = contextvars.ContextVar("watched", default=False)
_IN_BATCH: contextvars.ContextVar[bool] = contextvars.ContextVar("in batch", default=False)


class _AtStatement:
    """Calls ``act`` once, in a thread of its own, before the n-th statement from the first batch of the watched run on, and
    goes on when it has ended or waits for a lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = 0
        self._act: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        monkeypatch.setattr(batch, "refuse_early", self._begins)
        for session in (AdbcSession, MariadbSession):
            for method in ("arrow", "execute"):
                monkeypatch.setattr(session, method, self._counting(getattr(session, method)))

    def _begins(self, *moments: Any) -> None:
        _IN_BATCH.set(_WATCHED.get())
        refuse_early(*moments)

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def counting(session: Any, statement: Any) -> Any:
            if _IN_BATCH.get():
                self._left -= 1
                if self._left == 0:
                    self._thread = threading.Thread(target=self._act)
                    self._thread.start()
                    self._thread.join(0.1)
            return original(session, statement)

        return counting

    @contextlib.contextmanager
    def at(self, turn: int, act: Callable[[], None]) -> Iterator[Callable[[], bool]]:
        """What it yields tells afterwards whether there were so many statements."""
        self._left, self._act, self._thread = turn, act, None
        token = _WATCHED.set(True)
        try:
            yield lambda: self._thread is not None
        finally:
            _WATCHED.reset(token)
            if self._thread is not None:
                self._thread.join()


def _refresh(desk: Desk) -> None:
    desk.sql("DELETE FROM links", "DELETE FROM documents", "DELETE FROM tickets", *ROWS)


def _dangling(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.rows("SELECT document_id FROM links WHERE document_id NOT IN (SELECT id FROM documents)")


def test_a_reference_that_comes_at_any_moment_keeps_the_row_or_is_refused(
    shared: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_statement, came, refused = _AtStatement(monkeypatch), 0, 0
    enforced = ("PRAGMA foreign_keys = ON",) if shared.url.startswith("sqlite") else ()

    def refer() -> None:
        nonlocal came, refused
        try:
            shared.run_sql(shared.url, *enforced, "INSERT INTO links VALUES (3, 100)")
            came += 1
        except Exception:
            refused += 1

    turn, more = 1, True
    while more:
        _refresh(shared)
        before = came
        with at_statement.at(turn, refer) as happened:
            assert shared.run().deleted == 2
        assert _dangling(shared) == []
        assert (100 in shared.ids("documents")) == (came > before)
        assert 101 not in shared.ids("documents")
        more, turn = happened(), turn + 1
    # SQLite has one writer: whoever comes later waits until the row is gone
    assert came > (0 if enforced else 3) and refused > 0


@pytest.mark.every_server
def test_two_batches_that_each_take_one_of_two_references_take_the_row(
    shared: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would see the other's reference, and nobody would ever take what both had shared."""
    for number in (1, 2):
        text = POLICY.replace("old-tickets", f"ticket-{number}").replace("all: true", f"where: {{id: {number}}}")
        (shared.folder / "policies" / f"ticket-{number}.yaml").write_text(text)
    (shared.folder / "policies" / "old-tickets.yaml").unlink()

    def begun(number: int) -> Callable[[], object]:
        engine = shared.engine()
        policy = engine.project.policies.get(f"ticket-{number}")
        run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
        return lambda: perform(engine, run, progress=lambda batch: None, stop=threading.Event())

    first, second = begun(1), begun(2)
    with ThreadPoolExecutor(max_workers=1) as pool:
        others: list[Future[object]] = []

        def second_goes_as_far_as_it_can(name: str, *_: object) -> None:
            if name == "batch.before-commit" and not others:
                others.append(pool.submit(second))
                with contextlib.suppress(TimeoutError):
                    others[0].result(5)

        monkeypatch.setattr(batch, "failpoint", second_goes_as_far_as_it_can)
        first()
        others[0].result()
    assert (shared.ids(), shared.ids("documents")) == ([3], [102, 103, 104])
