"""What belongs to a record goes, stays, is held and comes back with it, whatever the database's references would do."""

from __future__ import annotations

import threading

import pytest

from retention.disposition import holding, windows
from retention.disposition.coverage import covered
from retention.disposition.explain import explain
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import PolicyFilesError, SchemaUnsafe
from retention.holds.scope import Keys
from tests.integration.disposition.desk import AS_OF, OLD, POLICY, YOUNG, Desk, everything, tickets

LEVELS = (
    tickets(),
    "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id) ON DELETE {action}, body TEXT)",
    "CREATE TABLE files (id INTEGER PRIMARY KEY, comment_id INTEGER REFERENCES comments (id) ON DELETE {action}, name TEXT)",
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, file_id INTEGER REFERENCES files (id) ON DELETE {action}, body TEXT)",
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG}), (4, {OLD})",
    "INSERT INTO comments VALUES (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c'), (30, 3, 'd'), (90, NULL, 'e')",
    "INSERT INTO files VALUES (100, 10, 'x'), (101, 11, 'y'), (300, 30, 'z'), (900, 90, 'w'), (901, NULL, 'v')",
    "INSERT INTO pages VALUES (1000, 100, 'p'), (1001, 100, 'q'), (3000, 300, 'r'), (9000, 900, 's')",
)
DEEP = "comments: {key: ticket_id, dependents: {files: {key: comment_id, dependents: {pages: {key: file_id}}}}}"
ACTIONS = ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION DEFERRABLE INITIALLY DEFERRED"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.every_server
def test_every_level_goes_and_comes_back(desk: Desk, action: str) -> None:
    desk.sql(*(statement.format(action=action) for statement in LEVELS))
    desk.declare(DEEP)
    tables = ("tickets", "comments", "files", "pages")
    before = everything(desk, *tables)
    planned = desk.plan()
    assert (planned.due, planned.dependents) == (3, {"comments": 3, "files": 2, "pages": 2})
    done = desk.run()
    assert (done.deleted, done.dependent_rows) == (3, 7)
    assert [desk.ids(table) for table in tables] == [[3], [30, 90], [300, 900, 901], [3000, 9000]]
    assert desk.archived() == {"tickets": 3, "comments": 3, "files": 2, "pages": 2}
    assert desk.findings() == []
    assert desk.restore() == 7
    assert everything(desk, *tables) == before


ADD = {
    "other: {key: ticket_id}": ("comments (ticket_id) refers to it", "of the class:  comments: {key: ticket_id}"),
    "comments: {key: ticket_id}": (
        "files (comment_id) refers to its dependent comments",
        "of comments:  files: {key: comment_id}",
    ),
    "comments: {key: ticket_id, dependents: {files: {key: comment_id}}}": (
        "pages (file_id) refers to its dependent files",
        "of files:  pages: {key: file_id}",
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_one_undeclared_level_stops_everything(desk: Desk, action: str) -> None:
    """On whichever level: it is named, with the declaration to add, before anything goes."""
    desk.sql(*(statement.format(action=action) for statement in LEVELS))
    desk.sql("CREATE TABLE other (id INTEGER PRIMARY KEY, ticket_id INTEGER)")
    for dependents, (reference, add) in ADD.items():
        desk.declare(dependents)
        before = everything(desk, "tickets", "comments", "files", "pages")
        with pytest.raises(SchemaUnsafe) as caught:
            desk.run()
        told = f"{reference}, ON DELETE {desk.told(action)}, and is not declared"
        assert told in caught.value.message
        assert f"add under `dependents:` {add}" in caught.value.hint
        assert everything(desk, "tickets", "comments", "files", "pages") == before


FILES = "      files: {table: files, key: id, dependents: {pages: {key: file_id}}}\n"


@pytest.mark.every_server
def test_a_hold_reaches_over_every_level_both_ways(desk: Desk) -> None:
    desk.sql(*(statement.format(action="CASCADE") for statement in LEVELS))
    desk.declare(DEEP, more=FILES)
    desk.hold("crm.files", "101")
    planned = desk.plan()
    assert (planned.due, planned.held, planned.dependents) == (2, 1, {"comments": 1, "files": 0, "pages": 0})
    desk.run()
    assert desk.ids() == [1, 3]
    engine = desk.engine()
    held_files = Keys(records="crm.tickets", count=1)
    placed = holding.place(engine, matter="another", reason="law", scope=held_files, keys=["3"])
    assert covered(engine, placed.hold) == {"crm.tickets": 1, "crm.files": 1}


COMPOSITE = (
    "CREATE TABLE tickets (tenant INTEGER, id INTEGER, created_at TIMESTAMP, code VARCHAR(20) UNIQUE, PRIMARY KEY (tenant, id))",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, ticket INTEGER, tenant INTEGER, amount INTEGER,"
    " FOREIGN KEY (ticket, tenant) REFERENCES tickets (id, tenant) ON DELETE CASCADE)",
    "CREATE TABLE notes (tenant INTEGER, id INTEGER, ticket_code VARCHAR(20) REFERENCES tickets (code),"
    " PRIMARY KEY (tenant, id))",
    "CREATE TABLE marks (id INTEGER PRIMARY KEY, tenant INTEGER, note INTEGER,"
    " FOREIGN KEY (tenant, note) REFERENCES notes (tenant, id))",
    f"INSERT INTO tickets VALUES (1, 1, {OLD}, 'a'), (1, 2, {YOUNG}, 'b'), (2, 1, {YOUNG}, 'c'), (2, 2, {OLD}, 'd'),"
    f" (3, 1, {OLD}, NULL)",
    "INSERT INTO items VALUES (1, 1, 1, 5), (2, 2, 1, 6), (3, 1, 2, 7), (4, 2, 2, 8), (5, NULL, 2, 9), (6, 1, NULL, 9)",
    "INSERT INTO notes VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'd'), (2, 2, NULL)",
    "INSERT INTO marks VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2), (5, 2, NULL)",
)
BY_COLUMNS = (
    "items: {key: [tenant, ticket]}, notes: {key: ticket_code, of: code, dependents: {marks: {key: [tenant, note]}}}"
)


def test_composite_keys_and_references_to_another_unique_column(desk: Desk) -> None:
    """The foreign key names its columns in another order than the key; where a part of it is null it refers to nothing."""
    desk.sql(*COMPOSITE)
    desk.declare(BY_COLUMNS, key="[tenant, id]")
    before = everything(desk, "items", "notes", "marks", "tickets")
    assert desk.plan().dependents == {"items": 2, "notes": 2, "marks": 2}
    done = desk.run()
    assert (done.deleted, done.dependent_rows) == (3, 6)
    assert (desk.ids("items"), desk.ids("marks")) == ([2, 3, 5, 6], [2, 4, 5])
    assert desk.rows("SELECT tenant, id FROM notes ORDER BY tenant, id") == [(1, 2), (2, 2)]
    assert desk.rows("SELECT tenant, id FROM tickets ORDER BY tenant, id") == [(1, 2), (2, 1)]
    assert desk.findings() == []
    assert desk.restore() == 6
    assert everything(desk, "items", "notes", "marks", "tickets") == before


@pytest.mark.parametrize(
    ("dependents", "message", "hint"),
    [
        ("items: {key: [ticket, tenant]}, notes: {key: ticket_code, of: code}", "declared with the key ticket, tenant",
         "items: {key: [tenant, ticket]}"),
        ("items: {key: [tenant, ticket]}", "notes (ticket_code) refers to it",
         "notes: {key: ticket_code, of: code}"),
        ("notes: {key: ticket_code, of: code}", "(ticket, tenant) refers to it",
         "items: {key: [tenant, ticket]}"),
    ],
)  # fmt: skip
def test_what_to_add_for_composite_keys_and_unique_columns(
    desk: Desk, dependents: str, message: str, hint: str
) -> None:
    desk.sql(*COMPOSITE)
    desk.declare(dependents, key="[tenant, id]")
    with pytest.raises(SchemaUnsafe) as caught:
        desk.run()
    assert (
        message.replace("(ticket, tenant)", "(tenant, ticket)") if desk.mariadb else message
    ) in caught.value.message
    assert hint in caught.value.hint
    assert len(desk.rows("SELECT id FROM tickets")) == 5


@pytest.mark.parametrize(
    ("dependents", "message"),
    [
        ("items: {key: ticket}", '"items" refers by one column to 2 columns of tickets: tenant, id, write under `key`'),
        ("notes: {key: ticket_code, of: cod}", 'table tickets has no column "cod", did you mean "code"'),
        ("notes: {key: ticket_code, of: created_at}", '"created_at" is not unique in tickets'),
        ("notes: {key: ticket_code, of: code, dependents: {mark: {key: [tenant, note]}}}",
         'source "crm" has no table "mark", did you mean "marks"'),
        ("items: {key: [tenant, ticket]}, notes: {key: ticket_code, of: code, dependents: {items: {key: [tenant, id]}}}",
         'the rows of "items" cannot go here: they go with what they refer to elsewhere, say `then: block` here'),
        ("tickets: {key: [tenant, id]}", 'the rows of "tickets" cannot go here: it is the class\'s own table'),
    ],
)  # fmt: skip
def test_declarations_that_do_not_fit_are_told_with_their_place(desk: Desk, dependents: str, message: str) -> None:
    desk.sql(*COMPOSITE)
    desk.declare(dependents, key="[tenant, id]")
    with pytest.raises(PolicyFilesError) as caught:
        desk.run()
    assert message in caught.value.message
    assert "retention.yaml:7:" in caught.value.message


def test_siblings_are_put_back_in_the_order_of_their_references(desk: Desk) -> None:
    """Files belong to a ticket, and may stand on one of its comments; declared before the comments all the same."""
    desk.sql(
        tickets(),
        "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id))",
        "CREATE TABLE files (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
        " comment_id INTEGER REFERENCES comments (id))",
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {YOUNG})",
        "INSERT INTO comments VALUES (10, 1), (20, 2)",
        "INSERT INTO files VALUES (100, 1, 10), (200, 2, 20)",
    )
    desk.declare(
        "files: {key: ticket_id}, comments: {key: ticket_id, dependents: {files: {key: comment_id, then: block}}}"
    )
    before = everything(desk, "tickets", "comments", "files")
    assert desk.run().dependent_rows == 2
    assert desk.restore() == 2
    assert everything(desk, "tickets", "comments", "files") == before


INVOICES = (
    tickets(),
    "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id))",
    "CREATE TABLE invoices (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id) ON DELETE CASCADE)",
    "CREATE TABLE disputes (id INTEGER PRIMARY KEY, comment_id INTEGER)",
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {OLD}), (4, {YOUNG}), (5, {OLD})",
    "INSERT INTO comments VALUES (10, 1), (20, 2), (30, 3), (50, 5)",
    "INSERT INTO invoices VALUES (100, 1), (101, 1), (400, 4), (900, NULL)",
    "INSERT INTO disputes VALUES (1, 20), (2, NULL)",
)
INVOICED = "invoices: {key: ticket_id, then: block}"
BLOCKING = "comments: {key: ticket_id, dependents: {disputes: {key: comment_id, then: block}}}, " + INVOICED


def test_rows_that_block_keep_their_record(desk: Desk) -> None:
    """Of any level, with and without a foreign key; they keep it, and nothing else."""
    desk.sql(*INVOICES)
    desk.declare(BLOCKING)
    planned = desk.plan()
    assert (planned.due, planned.blocked, planned.matched) == (2, 2, 5)
    assert planned.blocked_by == {"invoices": 1, "disputes": 1}
    assert planned.dependents == {"comments": 2}
    assert desk.run().deleted == 2
    assert (desk.ids(), desk.ids("comments")) == ([1, 2, 4], [10, 20])
    assert (desk.ids("invoices"), desk.ids("disputes")) == ([100, 101, 400, 900], [1, 2])
    told = explain(desk.engine(), "crm.tickets", "1", AS_OF)
    assert (
        told.outcome
        == "It is blocked by 2 rows of invoices: the first run of old-tickets after they are gone takes it."
    )
    assert told.blocked_by == {"invoices": 2}
    assert "1 row of disputes" in explain(desk.engine(), "crm.tickets", "2", AS_OF).outcome
    desk.sql("DELETE FROM invoices WHERE ticket_id = 1")
    assert desk.run().deleted == 1
    assert desk.ids() == [2, 4]


def test_a_hold_is_told_before_what_blocks(desk: Desk) -> None:
    desk.sql(*INVOICES)
    desk.declare(BLOCKING)
    desk.hold("crm.tickets", "1", "3")
    planned = desk.plan()
    assert (planned.due, planned.held, planned.blocked, planned.matched) == (1, 2, 1, 5)


def test_a_row_that_comes_between_plan_and_batch_blocks_too(desk: Desk) -> None:
    desk.sql(*INVOICES)
    desk.declare(BLOCKING)
    engine = desk.engine()
    policy = engine.project.policies.get("old-tickets")
    run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
    desk.sql("INSERT INTO invoices VALUES (300, 3)")
    done = perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert (done.deleted, desk.ids()) == (1, [1, 2, 3, 4])


def test_a_child_with_a_longer_policy_of_its_own_keeps_its_record(desk: Desk) -> None:
    """Rows that go with a record can have no rule of their own; rows that block it can."""
    desk.sql(*INVOICES, "ALTER TABLE invoices ADD COLUMN issued TIMESTAMP", f"UPDATE invoices SET issued = {OLD}")
    invoices = "      invoices: {table: invoices, key: id, created: issued, timezone: UTC}\n"
    policy = (
        POLICY.replace("old-tickets", "old-invoices")
        .replace("crm.tickets", "crm.invoices")
        .replace("90 days", "10 years")
    )
    (desk.folder / "policies" / "old-invoices.yaml").write_text(policy)
    desk.declare(BLOCKING.replace(INVOICED, "invoices: {key: ticket_id}"), more=invoices)
    with pytest.raises(PolicyFilesError, match=r"so a rule of their own cannot keep them, .*`then: block`"):
        desk.run()
    desk.declare(BLOCKING, more=invoices)
    assert desk.run().deleted == 2
    assert (desk.ids(), desk.ids("invoices")) == ([1, 2, 4], [100, 101, 400, 900])


def test_trees_go_from_their_leaves(desk: Desk) -> None:
    """A record stays while others refer to it. What refers to itself does not keep itself."""
    desk.sql(
        tickets("above INTEGER REFERENCES tickets (id)"),
        f"INSERT INTO tickets VALUES (1, {OLD}, NULL)",
        f"INSERT INTO tickets VALUES (2, {OLD}, 1), (3, {OLD}, 2), (4, {YOUNG}, NULL), (6, {OLD}, 6)",
        f"INSERT INTO tickets VALUES (5, {YOUNG}, 4), (7, {OLD}, 4)",
    )
    desk.declare("other: {key: above}")
    desk.sql("CREATE TABLE other (id INTEGER PRIMARY KEY, above INTEGER)")
    with pytest.raises(SchemaUnsafe) as caught:
        desk.run()
    told = f"tickets (above) refers to it, ON DELETE {desk.told(None)}: records refer to one another"
    assert told in caught.value.message
    assert "add under `dependents:` of the class:  tickets: {key: above, then: block}" in caught.value.hint
    desk.declare("tickets: {key: above, then: block}")
    before = everything(desk, "tickets")
    assert (desk.plan().due, desk.plan().blocked_by) == (3, {"tickets": 2})
    for left in ([1, 2, 4, 5], [1, 4, 5], [4, 5], [4, 5]):
        desk.run()
        assert desk.ids() == left
    desk.restore()
    assert everything(desk, "tickets") == before


def test_a_tree_that_went_in_several_batches_comes_back_from_its_root(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "FIRST_ROWS", 1)
    desk.sql(
        tickets("above INTEGER REFERENCES tickets (id)"),
        f"INSERT INTO tickets VALUES (9, {OLD}, NULL), (2, {OLD}, NULL)",
        f"INSERT INTO tickets VALUES (1, {OLD}, 9)",
    )
    desk.declare("tickets: {key: above, then: block}")
    before = everything(desk, "tickets")
    while desk.ids():
        assert desk.run().deleted
    desk.restore()
    assert everything(desk, "tickets") == before


def test_a_table_that_refers_twice_to_records_says_so_in_a_list(desk: Desk) -> None:
    """Ticket 4 depends on 1; both expired. 2 depends on 3, which is young; 5 depends on 2, and is young itself."""
    desk.sql(
        tickets(),
        "CREATE TABLE links (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
        " other_id INTEGER REFERENCES tickets (id))",
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG}), (4, {OLD}), (5, {YOUNG})",
        "INSERT INTO links VALUES (10, 4, 1), (20, 2, 3), (30, 5, 2)",
    )
    desk.declare("links: {key: ticket_id}")
    with pytest.raises(SchemaUnsafe, match=r"links \(other_id\) refers to it, .* as it does by ticket_id") as caught:
        desk.plan()
    assert "links: [{key: ticket_id}, {key: other_id, then: block}]" in caught.value.hint
    desk.declare("links: [{key: ticket_id}, {key: other_id}]")
    with pytest.raises(PolicyFilesError, match="they go with what they refer to elsewhere"):
        desk.plan()
    desk.declare("links: [{key: ticket_id}, {key: other_id, then: block}]")
    before = everything(desk, "tickets", "links")
    plan = desk.plan()
    assert (plan.due, plan.blocked, plan.blocked_by) == (1, 2, {"links": 2})
    desk.run()
    assert (desk.ids(), desk.ids("links")) == ([1, 2, 3, 5], [20, 30])
    desk.run()  # nothing depends on 1 any more
    assert (desk.ids(), desk.ids("links")) == ([2, 3, 5], [20, 30])
    desk.restore()
    assert everything(desk, "tickets", "links") == before
    assert desk.findings() == []


def test_answers_within_a_record_go_with_it_and_those_of_others_block(desk: Desk) -> None:
    desk.sql(
        tickets(),
        "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id),"
        " answers INTEGER REFERENCES comments (id) ON DELETE CASCADE)",
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {OLD}), (4, {YOUNG})",
        "INSERT INTO comments VALUES (10, 1, NULL), (11, 1, 10), (12, 1, 12), (20, 2, NULL), (30, 3, NULL)",
        "INSERT INTO comments VALUES (40, 4, 20), (90, NULL, 30)",
    )
    desk.declare("comments: {key: ticket_id}")
    with pytest.raises(SchemaUnsafe, match=r"comments \(answers\) refers to its dependent comments"):
        desk.run()
    desk.declare("comments: {key: ticket_id, dependents: {comments: {key: answers, then: block}}}")
    before = everything(desk, "tickets", "comments")
    assert (desk.plan().due, desk.plan().blocked) == (1, 2)
    assert desk.run().dependent_rows == 3
    assert (desk.ids(), desk.ids("comments")) == ([2, 3, 4], [20, 30, 40, 90])
    desk.restore()
    assert everything(desk, "tickets", "comments") == before


AUDITED = (
    tickets(),
    "CREATE TABLE audit_rows (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id) ON DELETE {action}, body TEXT)",
    "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id))",
    "CREATE TABLE mails (id INTEGER, box VARCHAR(9), comment_id INTEGER REFERENCES comments (id), PRIMARY KEY (box, id))",
    f"INSERT INTO tickets VALUES (1, {OLD}), (2, {OLD}), (3, {YOUNG})",
    "INSERT INTO audit_rows VALUES (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c'), (30, 3, 'd'), (90, NULL, 'e')",
    "INSERT INTO comments VALUES (100, 1), (300, 3)",
    "INSERT INTO mails VALUES (1, 'in', 100), (1, 'out', 100), (2, 'in', 300), (3, 'in', NULL)",
)
MAILS = "mails: {key: comment_id, then: detach}"
DETACHED = f"audit_rows: {{key: ticket_id, then: detach}}, comments: {{key: ticket_id, dependents: {{{MAILS}}}}}"


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL"])
@pytest.mark.every_server
def test_detached_rows_stay_and_are_attached_again(desk: Desk, action: str) -> None:
    """What they referred to is archived; what refers elsewhere by now, or is gone, is left as it is."""
    desk.sql(*(statement.format(action=action) for statement in AUDITED))
    desk.declare(DETACHED)
    before = everything(desk, "tickets", "audit_rows", "comments", "mails")
    planned = desk.plan()
    assert (planned.due, planned.dependents) == (2, {"comments": 1})
    assert planned.detached == {"audit_rows": 3, "mails": 2}
    done = desk.run()
    assert (done.deleted, done.dependent_rows) == (2, 1)
    assert desk.rows("SELECT id, ticket_id, body FROM audit_rows ORDER BY id") == [
        (10, None, "a"), (11, None, "b"), (20, None, "c"), (30, 3, "d"), (90, None, "e")
    ]  # fmt: skip
    assert desk.rows("SELECT box, id, comment_id FROM mails ORDER BY box, id") == [
        ("in", 1, None), ("in", 2, 300), ("in", 3, None), ("out", 1, None)
    ]  # fmt: skip
    assert desk.archived() == {"tickets": 2, "comments": 1, "audit_rows": 3, "mails": 2}
    assert desk.findings() == []
    desk.sql("UPDATE audit_rows SET ticket_id = 3 WHERE id = 11", "DELETE FROM audit_rows WHERE id = 20")
    assert desk.restore() == 1
    before[1] = [(10, 1, "a"), (11, 3, "b"), (30, 3, "d"), (90, None, "e")]
    assert everything(desk, "tickets", "audit_rows", "comments", "mails") == before
    assert desk.findings() == []


@pytest.mark.parametrize("action", ["NO ACTION", "SET NULL", "CASCADE"])
@pytest.mark.every_server
def test_rows_are_detached_where_nothing_goes_with_the_record(desk: Desk, action: str) -> None:
    desk.sql(
        tickets(),
        f"CREATE TABLE audit_rows (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id) ON DELETE {action})",
        f"INSERT INTO tickets VALUES (1, {OLD}), (2, {YOUNG})",
        "INSERT INTO audit_rows VALUES (10, 1), (20, 2)",
    )
    desk.declare("audit_rows: {key: ticket_id, then: detach}")
    before = everything(desk, "tickets", "audit_rows")
    assert desk.run().deleted == 1
    assert desk.rows("SELECT id, ticket_id FROM audit_rows ORDER BY id") == [(10, None), (20, 2)]
    assert desk.archived() == {"tickets": 1, "audit_rows": 1}
    desk.restore()
    assert everything(desk, "tickets", "audit_rows") == before


def test_a_hold_on_a_row_that_would_be_detached_keeps_the_record(desk: Desk) -> None:
    """Detaching changes the row: what is held stays as it is."""
    desk.sql(*(statement.format(action="SET NULL") for statement in AUDITED))
    desk.declare(DETACHED, more="      audit: {table: audit_rows, key: id}\n")
    desk.hold("crm.audit", "20")
    assert (desk.plan().due, desk.plan().held) == (1, 1)
    desk.run()
    assert (desk.ids(), desk.rows("SELECT ticket_id FROM audit_rows WHERE id = 20")) == ([2, 3], [(2,)])


def test_rows_that_must_refer_to_something_cannot_be_detached(desk: Desk) -> None:
    desk.sql(
        tickets(),
        "CREATE TABLE audit_rows (id INTEGER PRIMARY KEY, ticket_id INTEGER NOT NULL)",
        "CREATE TABLE unnamed (ticket_id INTEGER)",
    )
    desk.declare("audit_rows: {key: ticket_id, then: detach}, unnamed: {key: ticket_id, then: detach}")
    with pytest.raises(PolicyFilesError) as caught:
        desk.run()
    assert 'the rows of "audit_rows" cannot be detached: ticket_id may not be null' in caught.value.message
    assert 'the rows of "unnamed" cannot be detached: it has no primary key to know them by' in caught.value.message


POLYMORPHIC = (
    tickets("name TEXT"),
    "CREATE TABLE taggings (id INTEGER PRIMARY KEY, object_type TEXT, object_id TEXT, word TEXT)",
    "CREATE TABLE votes (id INTEGER PRIMARY KEY, object_type TEXT, object_id INTEGER, tagging_id INTEGER)",
    f"INSERT INTO tickets VALUES (1, {OLD}, 'a'), (2, {OLD}, 'b'), (3, {YOUNG}, 'c')",
    "INSERT INTO taggings VALUES (10, 'Ticket', '1', 'x'), (11, 'Person', '1', 'y'), (12, NULL, '1', 'z')",
    "INSERT INTO taggings VALUES (30, 'Ticket', '3', 'w')",
    "INSERT INTO taggings VALUES (13, 'ticket', '1', 'v'), (14, 'Ticket', NULL, 'u'), (15, 'Ticket', '1x', 't')",
    "INSERT INTO votes VALUES (100, 'Ticket', 1, NULL), (101, 'Tagging', 2, 10), (102, 'Deal', 1, NULL), (103, 'Deal', 9, 10)",
)


def test_polymorphic_children(desk: Desk) -> None:
    """They have no foreign key, one column says to what the other refers, and often as text; letter case counts."""
    desk.sql(*POLYMORPHIC)
    tagging = "dependents: {votes: {key: tagging_id, when: {object_type: [Tagging, Label]}}}"
    desk.declare(f"taggings: {{key: object_id, when: {{object_type: Ticket}}, {tagging}}}")
    before = everything(desk, "tickets", "taggings", "votes")
    assert desk.plan().dependents == {"taggings": 1, "votes": 1}
    assert desk.run().deleted == 2
    assert (desk.ids("taggings"), desk.ids("votes")) == ([11, 12, 13, 14, 15, 30], [100, 102, 103])
    assert desk.restore() == 2
    assert everything(desk, "tickets", "taggings", "votes") == before


def test_polymorphic_children_that_block(desk: Desk) -> None:
    desk.sql(*POLYMORPHIC)
    desk.declare("votes: {key: object_id, when: {object_type: {not: Deal}}, then: block}")
    assert desk.plan().blocked_by == {"votes": 2}
    desk.declare("votes: {key: object_id, when: {object_type: Ticket}, then: block}, taggings: {key: object_id}")
    assert (desk.plan().due, desk.plan().blocked_by) == (1, {"votes": 1})


def test_conditions_and_types_that_do_not_fit(desk: Desk) -> None:
    desk.sql(
        *POLYMORPHIC,
        "CREATE TABLE flags (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id), kind TEXT)",
    )
    desk.declare("flags: {key: ticket_id, when: {knd: x}}")
    with pytest.raises(PolicyFilesError, match='table flags has no column "knd", did you mean "kind"'):
        desk.plan()
    desk.declare("flags: {key: ticket_id, when: {kind: x}}")
    with pytest.raises(
        SchemaUnsafe, match="by a foreign key, so that each of its rows does, and not only those"
    ) as caught:
        desk.plan()
    assert "flags: {key: ticket_id}" in caught.value.hint
    if not desk.url.startswith("sqlite"):
        desk.sql("ALTER TABLE flags ADD COLUMN day date")
        desk.declare("flags: {key: ticket_id, dependents: {votes: {key: object_id, of: id}}}")
        desk.plan()
        desk.sql("CREATE TABLE days (id INTEGER PRIMARY KEY, ticket DATE)")
        desk.declare("flags: {key: ticket_id}, days: {key: ticket}")
        with pytest.raises(
            PolicyFilesError, match=r'"ticket" of days is date, and "id" of tickets, to which it refers, int'
        ):
            desk.plan()


def test_references_that_no_index_serves_are_named_with_the_index(desk: Desk) -> None:
    """On every level, whatever becomes of the rows; an index may begin with the columns in another order."""
    desk.sql(
        tickets(),
        "CREATE TABLE comments (id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES tickets (id))",
        "CREATE TABLE files (id INTEGER PRIMARY KEY, comment_id INTEGER REFERENCES comments (id))",
        "CREATE TABLE invoices (id INTEGER PRIMARY KEY, ticket_id INTEGER, year INTEGER)",
        "CREATE TABLE taggings (id INTEGER PRIMARY KEY, object_type VARCHAR(20), object_id VARCHAR(20))",
        "CREATE TABLE votes (ticket_id INTEGER, person INTEGER, PRIMARY KEY (ticket_id, person))",
        "CREATE INDEX comments_ticket ON comments (ticket_id, id)",
        "CREATE INDEX invoices_year ON invoices (year, ticket_id)",
        "CREATE INDEX taggings_object ON taggings (object_type, object_id)",
    )
    comments = "comments: {key: ticket_id, dependents: {files: {key: comment_id}}}"
    others = "taggings: {key: object_id, when: {object_type: Ticket}}, votes: {key: ticket_id}"
    desk.declare(f"{comments}, invoices: {{key: ticket_id, then: block}}, {others}")
    made = desk.plan().missing_indexes
    # MariaDB makes one for each foreign key by itself
    wanted = ["invoices (ticket_id);"] if desk.mariadb else ["files (comment_id);", "invoices (ticket_id);"]
    assert sorted(statement.partition(" ON ")[2].removeprefix("public.") for statement in made) == wanted
    assert [told.partition(":")[0] for told in desk.engine().advice()] == ["crm.tickets"] * len(wanted)
    desk.sql(*made)
    assert desk.plan().missing_indexes == ()
