"""References that go round in a circle: what refers to rows that belong to it, and dependents that refer to one another."""

from __future__ import annotations

import pytest

from retention.disposition import restore
from retention.errors import Failed, SchemaUnsafe, SourceFailed
from retention.ledger import batches
from tests.integration.disposition.desk import OLD, YOUNG, Desk, everything, tickets

COMMENTS = (
    "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id), body VARCHAR(20){more})"
)
#: ticket 1 refers to a comment of its own, 2 to none, 3 is young; 5 is kept by 6, which refers to a comment of 5
ROWS = (
    f"INSERT INTO tickets VALUES (1, {OLD}, NULL), (2, {OLD}, NULL), (3, {YOUNG}, NULL), (5, {OLD}, NULL), (6, {YOUNG}, NULL)",
    "INSERT INTO comments (id, ticket_id, body) VALUES (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c'), (30, 3, 'd'), (50, 5, 'e')",
    "UPDATE tickets SET main_comment = CASE id WHEN 1 THEN 11 WHEN 3 THEN 30 WHEN 6 THEN 50 END",
)
MAIN = "comments: {key: ticket_id, dependents: {tickets: {key: main_comment, then: block}}}"


def refer(desk: Desk, table: str, column: str, target: str, rest: str = "", then: str = "") -> tuple[str, str]:
    """The column in CREATE TABLE, and what makes it refer to a table that is made after it: SQLite adds no foreign key
    later, and takes one to a table that is not there yet."""
    declared, _, bare = f"{column} INTEGER{rest}", *column.rpartition(" ")[1:]
    if desk.url.startswith("sqlite"):
        return f"{declared} REFERENCES {target} (id){then}", "SELECT 1"
    return declared, f"ALTER TABLE {table} ADD FOREIGN KEY ({bare}) REFERENCES {target} (id){then}"


@pytest.mark.parametrize(
    "action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "NO ACTION DEFERRABLE INITIALLY DEFERRED"]
)
@pytest.mark.every_server
def test_a_record_refers_to_a_dependent_of_its_own(desk: Desk, action: str) -> None:
    """As accounts do to their main contact. What the error proposes is what works."""
    main, later = refer(desk, "tickets", "main_comment", "comments", then=f" ON DELETE {action}")
    desk.sql(tickets(main), COMMENTS.format(more=""), later, *ROWS)
    desk.declare("comments: {key: ticket_id}")
    with pytest.raises(SchemaUnsafe, match=r"tickets \(main_comment\) refers to its dependent comments") as caught:
        desk.run()
    told = "add under `dependents:` of comments:  tickets: {key: main_comment, then: block}"
    assert told in caught.value.hint
    desk.declare(MAIN)
    before = everything(desk, "tickets", "comments")
    planned = desk.plan()
    assert (planned.due, planned.blocked_by, planned.dependents) == (2, {"tickets": 1}, {"comments": 3})
    done = desk.run()
    assert (done.deleted, done.dependent_rows) == (2, 3)
    assert (desk.ids(), desk.ids("comments")) == ([3, 5, 6], [30, 50])
    assert desk.archived() == {"tickets": 2, "comments": 3}
    assert desk.findings() == []
    assert desk.restore() == 3
    assert everything(desk, "tickets", "comments") == before


def test_a_circle_over_three_tables(desk: Desk) -> None:
    main, later = refer(desk, "tickets", "main_file", "files")
    desk.sql(
        tickets(main),
        COMMENTS.format(more=""),
        "CREATE TABLE files (id INTEGER PRIMARY KEY, comment_id INTEGER NOT NULL REFERENCES comments (id))",
        later,
        f"INSERT INTO tickets VALUES (1, {OLD}, NULL), (2, {OLD}, NULL), (3, {YOUNG}, NULL)",
        "INSERT INTO comments VALUES (10, 1, 'a'), (20, 2, 'b'), (30, 3, 'c')",
        "INSERT INTO files VALUES (100, 10), (200, 20), (300, 30)",
        "UPDATE tickets SET main_file = id * 100",
    )
    files = "files: {key: comment_id, dependents: {tickets: {key: main_file, then: block}}}"
    desk.declare(f"comments: {{key: ticket_id, dependents: {{{files}}}}}")
    before = everything(desk, "tickets", "comments", "files")
    assert desk.run().deleted == 2
    assert (desk.ids(), desk.ids("files")) == ([3], [300])
    assert desk.restore() == 4
    assert everything(desk, "tickets", "comments", "files") == before


@pytest.mark.parametrize("required", ["comments", "files", ""])
def test_dependents_refer_to_one_another(desk: Desk, required: str) -> None:
    """Files stand on comments, comments begin with a file; whichever of them may not be null is put back last."""
    begins, later = refer(desk, "comments", "file_id", "files", rest=" NOT NULL" if required == "comments" else "")
    stands = "comment_id INTEGER" + (" NOT NULL" if required == "files" else "")
    desk.sql(
        tickets(),
        COMMENTS.format(more=f", {begins}"),
        "CREATE TABLE files (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
        f" {stands} REFERENCES comments (id))",
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {YOUNG})",
    )
    if required == "comments":
        desk.sql(
            "INSERT INTO files VALUES (100, 1, NULL), (101, 1, NULL), (200, 2, NULL)",
            "INSERT INTO comments VALUES (10, 1, 'a', 101), (11, 1, 'b', 100), (20, 2, 'c', 200)",
            "UPDATE files SET comment_id = CASE id WHEN 100 THEN 10 WHEN 101 THEN 11 END",
        )
    else:
        desk.sql(
            "INSERT INTO comments VALUES (10, 1, 'a', NULL), (11, 1, 'b', NULL), (20, 2, 'c', NULL)",
            "INSERT INTO files VALUES (100, 1, 10), (101, 1, 11), (200, 2, 20)",
            "UPDATE comments SET file_id = CASE id WHEN 10 THEN 101 WHEN 11 THEN 100 END",
        )
    desk.sql(later)
    comments = "comments: {key: ticket_id, dependents: {files: {key: comment_id, then: block}}}"
    files = "files: {key: ticket_id, dependents: {comments: {key: file_id, then: block}}}"
    desk.declare(f"{comments}, {files}")
    before = everything(desk, "tickets", "comments", "files")
    assert desk.run().dependent_rows == 4
    assert (desk.ids("comments"), desk.ids("files")) == ([20], [200])
    assert desk.restore() == 4
    assert everything(desk, "tickets", "comments", "files") == before
    assert desk.findings() == []


def test_a_reference_of_several_columns_some_of_which_are_of_the_key(desk: Desk) -> None:
    """One column that may be null is enough; text comes back character by character."""
    main = "FOREIGN KEY (tenant, main_comment) REFERENCES comments (tenant, code)"
    sqlite = desk.url.startswith("sqlite")
    desk.sql(
        "CREATE TABLE tickets (tenant INTEGER, id INTEGER, created_at TIMESTAMP, main_comment VARCHAR(20),"
        f" PRIMARY KEY (tenant, id){f', {main}' if sqlite else ''})",
        "CREATE TABLE comments (tenant INTEGER, code VARCHAR(20), ticket_id INTEGER, PRIMARY KEY (tenant, code),"
        " FOREIGN KEY (tenant, ticket_id) REFERENCES tickets (tenant, id))",
        *(() if sqlite else (f"ALTER TABLE tickets ADD {main}",)),
        f"INSERT INTO tickets VALUES (1, 1, {OLD}, NULL), (1, 2, {OLD}, NULL), (2, 1, {YOUNG}, NULL)",
        "INSERT INTO comments VALUES (1, 'it''s é', 1), (1, '1e5', 2), (2, 'it''s é', 1)",
        "UPDATE tickets SET main_comment = CASE WHEN id = 1 THEN 'it''s é' ELSE '1e5' END",
    )
    tickets_ = "tickets: {key: [tenant, main_comment], then: block}"
    desk.declare(f"comments: {{key: [tenant, ticket_id], dependents: {{{tickets_}}}}}", key="[tenant, id]")
    before = everything(desk, "tickets", "comments")
    assert desk.run().dependent_rows == 2
    assert desk.rows("SELECT tenant, id FROM tickets") == [(2, 1)]
    assert desk.restore() == 2
    assert everything(desk, "tickets", "comments") == before


def test_a_circle_in_which_no_reference_may_be_null_is_refused(desk: Desk) -> None:
    """Nothing could be put back; a reference whose column is a part of the key, or computed, cannot be empty either."""
    main, later = refer(desk, "tickets", "main_comment", "comments", rest=" NOT NULL")
    desk.sql(tickets(main), COMMENTS.format(more=""), later)
    for dependents in ("comments: {key: ticket_id}", MAIN):
        desk.declare(dependents)
        with pytest.raises(SchemaUnsafe, match="refers to comments, whose rows refer to it in turn") as caught:
            desk.run()
        assert "unless main_comment may be null for a while, which it may not" in caught.value.message
        assert "let main_comment of tickets be null, or drop the foreign key" in caught.value.hint


def test_a_row_that_is_not_there_when_the_circle_is_closed(desk: Desk) -> None:
    """Ticket 1 refers to a comment of ticket 2, which can only go after it: the one comes back with, or after, the other."""
    main, later = refer(desk, "tickets", "main_comment", "comments")
    desk.sql(
        tickets(main),
        COMMENTS.format(more=""),
        later,
        f"INSERT INTO tickets VALUES (1, {OLD}, NULL), (2, {OLD}, NULL)",
        "INSERT INTO comments VALUES (10, 1, 'a'), (20, 2, 'b')",
        "UPDATE tickets SET main_comment = 20",
    )
    desk.declare(MAIN)
    before = everything(desk, "tickets", "comments")
    for left in ([2], []):
        desk.run()
        assert desk.ids() == left
    engine = desk.engine()
    first = restore.choose(engine, run=None, keys=["1"], where=(), address="crm.tickets")
    with pytest.raises(
        Failed,
        match="1 of the restored rows refer to rows of comments that are not there: rolled back",
    ) as caught:
        restore.restore(engine, first, reason="to see")
    assert (
        "restore the records with which those rows of comments went first, or together with these" in caught.value.hint
    )
    assert (desk.ids(), desk.ids("comments")) == ([], [])
    with engine.control.read() as connection:
        assert len(batches.committed(connection)) == 2
    desk.restore()
    assert everything(desk, "tickets", "comments") == before


def test_what_a_trigger_does_when_the_circle_is_closed_is_seen(desk: Desk) -> None:
    main, later = refer(desk, "tickets", "main_comment", "comments")
    desk.sql(tickets(main), COMMENTS.format(more=""), later, *ROWS)
    desk.declare(MAIN)
    desk.run()
    if desk.url.startswith("postgresql"):
        desk.sql(
            "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.created_at = '2001-01-01'; RETURN NEW; END $$",
            "CREATE TRIGGER moves BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION later()",
        )
    elif desk.mariadb:
        desk.sql("CREATE TRIGGER moves BEFORE UPDATE ON tickets FOR EACH ROW SET NEW.created_at = '2001-01-01'")
    else:
        desk.sql(
            "CREATE TRIGGER moves AFTER UPDATE OF main_comment ON tickets BEGIN"
            " UPDATE tickets SET created_at = '2001-01-01' WHERE id = NEW.id; END"
        )
    with pytest.raises(Failed, match="what was restored to tickets reads back differently: rolled back"):
        desk.restore()
    assert (desk.ids(), desk.ids("comments")) == ([3, 5, 6], [30, 50])


def test_rows_of_one_table_refer_to_one_another_in_any_order(desk: Desk) -> None:
    """The first comment of a thread names its last; MariaDB would not take it before that is there."""
    desk.sql(
        tickets(),
        COMMENTS.format(more=", answers INTEGER REFERENCES comments (id)"),
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD})",
        "INSERT INTO comments VALUES (10, 1, 'a', NULL), (11, 1, 'b', NULL), (12, 1, 'c', 10), (20, 2, 'd', 20)",
        "UPDATE comments SET answers = 12 WHERE id = 11",
        "UPDATE comments SET answers = 11 WHERE id = 10",
    )
    desk.declare("comments: {key: ticket_id, dependents: {comments: {key: answers, then: block}}}")
    before = everything(desk, "tickets", "comments")
    assert desk.run().dependent_rows == 4
    assert desk.restore() == 4
    assert everything(desk, "tickets", "comments") == before


def test_a_check_that_does_not_allow_an_empty_reference_is_told(desk: Desk) -> None:
    check = ", CHECK (id > 1 OR main_comment IS NOT NULL)"
    main, later = refer(desk, "tickets", "main_comment", "comments")
    desk.sql(tickets(main + (check if desk.url.startswith("sqlite") else "")), COMMENTS.format(more=""))
    desk.sql(f"INSERT INTO tickets VALUES (1, {OLD}, 10), (2, {YOUNG}, NULL)")
    desk.sql("INSERT INTO comments VALUES (10, 1, 'a')", later)
    if not desk.url.startswith("sqlite"):
        desk.sql(f"ALTER TABLE tickets ADD {check[2:]}")
    desk.declare(MAIN)
    assert desk.run().deleted == 1
    with pytest.raises(
        SourceFailed, match="the rows of tickets came with main_comment empty, to be set once"
    ) as caught:
        desk.restore()
    assert "where a CHECK or a unique index of tickets does not allow an empty main_comment" in caught.value.hint
    assert (desk.ids(), desk.ids("comments")) == ([2], [])
