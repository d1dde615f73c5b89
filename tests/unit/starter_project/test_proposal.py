"""What `retention init` proposes for a schema, and what it leaves to people."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from retention.policy.tags import TagColumn, TagTable
from retention.sources.source import Source
from retention.sources.table import Column, Kind, Reference, Table
from retention.starter_project import ProposedClass, StarterProject, propose, source_name
from retention.starter_project.render import class_block


class Schema:
    """As much of a source as `propose` may ask: names and tables, never a row."""

    name = "crm"

    def __init__(self, *tables: Table) -> None:
        self._tables = {table.name: table for table in tables}

    def tables(self) -> list[str]:
        return list(self._tables)

    def table(self, name: str) -> Table | None:
        return self._tables.get(name)


def references(
    child: str, column: str, parent: str, *, parent_column: str = "id", on_delete: str = "NO ACTION"
) -> Reference:
    return Reference(
        name=f"{child}_{column}",
        table=child,
        columns=(column,),
        parent=parent,
        parent_columns=(parent_column,),
        on_delete=on_delete,
    )


def table(
    name: str,
    columns: dict[str, Kind],
    *,
    key: tuple[str, ...] = ("id",),
    by: tuple[Reference, ...] = (),
    to: tuple[Reference, ...] = (),
    relation: str = "table",
    schema: str | None = None,
    triggers: tuple[str, ...] = (),
    nullable: tuple[str, ...] = (),
) -> Table:
    return Table(
        name=name if schema is None else f"{schema}.{name}",
        schema=schema,
        bare_name=name,
        columns=tuple(
            Column(name=column, type=kind.value, kind=kind, nullable=column in nullable)
            for column, kind in {"id": Kind.INTEGER, **columns}.items()
        ),
        primary_key=key,
        referenced_by=by,
        refers_to=to,
        relation=relation,
        delete_triggers=triggers,
    )


def proposal(*tables: Table) -> StarterProject:
    return propose(cast(Source, Schema(*tables)))


def only(project: StarterProject) -> ProposedClass:
    (proposed,) = project.classes
    return proposed


DATED = {"created_at": Kind.INSTANT}


def crm() -> StarterProject:
    account = references("activity_logs", "account_id", "accounts")
    comment = references("activity_comments", "activity_id", "activity_logs")
    return proposal(
        table("accounts", {"since": Kind.DATE}, by=(account,)),
        table("activity_comments", DATED, to=(comment,)),
        table(
            "activity_logs",
            {**DATED, "closed_at": Kind.INSTANT, "account_id": Kind.INTEGER, "tags": Kind.TEXT_ARRAY},
            by=(comment,),
            to=(account,),
        ),
    )


def test_the_log_table_comes_first_with_all_that_the_schema_says() -> None:
    logs = crm().classes[0]
    assert (logs.name, logs.table, logs.key, logs.created.name) == (
        "activity_logs",
        "activity_logs",
        ("id",),
        "created_at",
    )
    assert logs.tags == TagColumn(column="tags")
    assert logs.subjects == {"account": "account_id"}
    assert logs.other_clocks == ("closed_at",)
    assert [(part.table, part.key, part.question) for part in logs.dependents] == [
        ("activity_comments", ("activity_id",), None)
    ]
    assert logs.doubt is None
    assert not logs.needs_zone
    assert not logs.needs_unit


def test_what_records_are_about_is_never_proposed_for_deletion_unasked() -> None:
    accounts = crm().classes[1]
    assert accounts.table == "accounts"
    assert accounts.doubt is not None
    assert "activity_logs" in accounts.doubt
    assert all(dependent.question is not None for dependent in accounts.dependents)


def test_a_part_of_a_record_is_no_class_of_its_own() -> None:
    assert [(skipped.table, skipped.why) for skipped in crm().skipped] == [
        ("activity_comments", "its rows are a part of activity_logs")
    ]


def test_master_data_that_refers_to_a_log_is_not_its_part() -> None:
    last = references("accounts", "last_call_id", "calls")
    account = references("calls", "account_id", "accounts")
    project = proposal(
        table("accounts", DATED, by=(account,), to=(last,)),
        table("calls", DATED, by=(last,), to=(account,)),
    )
    calls = project.classes[0]
    assert calls.table == "calls"
    (accounts,) = calls.dependents
    assert accounts.question is not None


def test_parts_go_with_the_whole_also_where_they_name_an_author() -> None:
    item = references("order_items", "order_id", "orders")
    author = references("order_items", "user_id", "users")
    project = proposal(
        table("orders", DATED, by=(item,)),
        table("order_items", DATED, to=(item, author)),
        table("users", {}, by=(author,)),
    )
    assert [(proposed.table, proposed.doubt) for proposed in project.classes] == [("orders", None)]
    assert {skipped.table for skipped in project.skipped} == {"order_items", "users"}


def test_a_part_with_parts_of_its_own_needs_a_decision() -> None:
    comment = references("activity_comments", "activity_id", "activity_logs")
    file = references("files", "comment_id", "activity_comments")
    project = proposal(
        table("activity_logs", DATED, by=(comment,)),
        table("activity_comments", DATED, by=(file,), to=(comment,)),
        table("files", {}, to=(file,)),
    )
    logs = project.classes[0]
    assert logs.table == "activity_logs"
    (dependent,) = logs.dependents
    assert dependent.question == "files refer to its rows in turn"


def test_a_part_with_plain_parts_of_its_own_is_proposed_with_them() -> None:
    comment = references("activity_comments", "activity_id", "activity_logs")
    file = references("activity_comment_files", "comment_id", "activity_comments")
    project = proposal(
        table("activity_logs", DATED, by=(comment,)),
        table("activity_comments", DATED, by=(file,), to=(comment,)),
        table("activity_comment_files", {}, to=(file,)),
    )
    (dependent,) = only(project).dependents
    assert dependent.question is None
    assert [(one.table, one.key) for one in dependent.dependents] == [("activity_comment_files", ("comment_id",))]
    [line] = [line for line in class_block(only(project)) if "activity_comment_files" in line]
    assert line.strip() == (
        "activity_comments: {key: activity_id, dependents: {activity_comment_files: {key: comment_id}}}"
    )


def test_two_references_of_one_table_are_declared_once() -> None:
    sender, receiver = (references("mails", column, "users") for column in ("sender_id", "receiver_id"))
    users = proposal(table("users", DATED, by=(sender, receiver)), table("mails", DATED, to=(sender, receiver)))
    dependents = next(proposed for proposed in users.classes if proposed.table == "users").dependents
    assert [dependent.key for dependent in dependents] == [("sender_id",), ("receiver_id",)]
    assert dependents[1].question == (
        "mails refers to it a second time, by receiver_id: a list under its name says both, one of them with `then: block`"
    )


def test_a_record_that_refers_to_another_of_its_table_stays_until_it_is_gone() -> None:
    parent = references("notes", "parent_id", "notes")
    (dependent,) = only(proposal(table("notes", DATED, by=(parent,), to=(parent,)))).dependents
    assert (dependent.question, dependent.blocks) == (None, True)


def lines(proposed: ProposedClass) -> list[str]:
    """What stands under `dependents`, without comments behind it."""
    block = class_block(proposed)
    place = next(number for number, line in enumerate(block) if "dependents:" in line)
    return [line.strip().partition("    # ")[0] for line in block[place + 1 :]]


def test_what_the_database_does_by_itself_is_proposed_at_every_level() -> None:
    """CASCADE lets rows go with the record, SET NULL lets them stay without it; a table that does both goes at one place."""
    step = references("steps", "build_id", "events", on_delete="CASCADE")
    result = references("results", "step_id", "steps", on_delete="CASCADE")
    whole = references("results", "build_id", "events", on_delete="CASCADE")
    next_, cause = (references("sets", column, "events", on_delete="SET NULL") for column in ("next_id", "cause_id"))
    loose = references("loose", "event_id", "events", on_delete="SET NULL")
    events = proposal(
        table("events", DATED, by=(step, whole, next_, cause, loose)),
        table("steps", {}, by=(result,), to=(step,)),
        table("results", {}, to=(result, whole)),
        table("sets", {}, to=(next_, cause)),
        table("loose", {}, key=(), to=(loose,)),
    ).classes[0]
    assert events.doubt is None
    assert lines(events) == [
        "steps: {key: build_id, dependents: {results: {key: step_id, then: block}}}",
        "results: {key: build_id}",
        "sets: [{key: next_id, then: detach}, {key: cause_id, then: block}]",
        "# loose: {key: event_id}",  # without a key its rows could not be attached again
    ]


def test_what_refers_in_a_circle_and_what_has_very_much_below_it_need_a_decision() -> None:
    set_ = references("sets", "event_id", "events", on_delete="CASCADE")
    back = references("events", "set_id", "sets", on_delete="CASCADE")
    hub = references("hubs", "event_id", "events", on_delete="CASCADE")
    spokes = [references(f"spoke_{number}", "hub_id", "hubs", on_delete="CASCADE") for number in range(13)]
    events = proposal(
        table("events", DATED, by=(set_, hub), to=(back,)),
        table("sets", {}, by=(back,), to=(set_,)),
        table("hubs", {}, by=tuple(spokes), to=(hub,)),
        *(table(one.table, {}, to=(one,)) for one in spokes),
    ).classes[0]
    questions = [one.question or "" for one in events.dependents]
    assert (
        questions[0] == "rows of events belong to its rows in turn, in a circle: say `then: detach`, or `then: block`"
    )
    assert questions[1].startswith("spoke_0, spoke_1, spoke_10") and events.dependents[1].dependents == ()


def test_a_circle_that_a_reference_that_may_be_null_closes_is_proposed_with_it() -> None:
    """Of two tables that refer to one another, the rows that cannot be without the other belong to it."""
    contact = references("contacts", "event_id", "events")
    main = references("events", "main_contact_id", "contacts")

    def events(main: Reference, *, may: tuple[str, ...], must: tuple[str, ...] = ()) -> list[ProposedClass]:
        columns = {**DATED, "main_contact_id": Kind.INTEGER}
        contacts = table("contacts", {**DATED, "event_id": Kind.INTEGER}, by=(main,), to=(contact,), nullable=must)
        return list(proposal(table("events", columns, by=(contact,), to=(main,), nullable=may), contacts).classes)

    first, second = events(main, may=("main_contact_id",))
    assert first.name == "events"
    assert lines(first) == [
        "# contacts: {key: event_id, dependents: {events: {key: main_contact_id, then: block}}}",
    ]
    (of_event,) = first.dependents
    assert of_event.question == "its rows may be records of their own"
    circle = "rows of {} belong to its rows in turn, in a circle: say `then: detach`, or `then: block`"
    (of_contact,) = second.dependents
    assert (of_contact.dependents, of_contact.question) == ((), circle.format("contacts"))
    contact = references("contacts", "event_id", "events", on_delete="CASCADE")
    assert lines(events(main, may=("main_contact_id",))[0]) == [
        "contacts: {key: event_id, dependents: {events: {key: main_contact_id, then: block}}}",
    ]
    contact = references("contacts", "event_id", "events")
    # neither can be without the other: nothing could be put back
    (of_event,) = events(main, may=())[0].dependents
    assert (of_event.dependents, of_event.question) == ((), circle.format("events"))
    # either may be: the schema does not say which belongs to which
    (of_event,) = events(main, may=("main_contact_id",), must=("event_id",))[0].dependents
    assert (of_event.dependents, of_event.question) == ((), circle.format("events"))


def test_what_belongs_to_a_record_by_its_name_alone_needs_a_decision() -> None:
    (ticket, *_) = proposal(
        table("tickets", {**DATED, "keywords": Kind.TEXT}),
        table("ticket_change", {"ticket": Kind.INTEGER, "field": Kind.TEXT}, key=()),
        table("replies", {"ticket_id": Kind.TEXT}),
        table("prices", {"ticket": Kind.NUMBER}),
        table("attachment", {"type": Kind.TEXT, "id": Kind.TEXT}, key=()),
    ).classes
    assert lines(ticket) == ["# ticket_change: {key: ticket}", "# replies: {key: ticket_id}"]
    assert {one.question for one in ticket.dependents} == {
        "no foreign key says that its rows belong to a record, but the name of its column does"
    }
    assert ticket.notes[-1] == (
        "attachment may refer to records of several tables, told by type: where to these, add under `dependents`"
        "  attachment: {key: id, when: {type: ...}}"
    )
    assert ticket.tags == TagColumn(column="keywords")


def test_a_reference_to_something_else_than_the_key_needs_a_decision() -> None:
    reference = references("event_details", "number", "events", parent_column="number")
    (dependent,) = only(
        proposal(table("events", DATED, by=(reference,)), table("event_details", {}, to=(reference,)))
    ).dependents
    assert (dependent.question, dependent.of) == ("its rows may be records of their own", ("number",))


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (table("events", DATED, key=()), "it has no primary key, so no record can be named, held or restored"),
        (table("events", {"name": Kind.TEXT}), "it has no column with a date, so nothing says how old a record is"),
        (table("events", DATED, relation="view"), "it is no ordinary table (view)"),
    ],
)
def test_tables_that_can_be_no_class_are_named_with_the_reason(odd: Table, why: str) -> None:
    project = proposal(odd)
    assert project.classes == ()
    assert [(skipped.table, skipped.why) for skipped in project.skipped] == [("events", why)]


def test_a_time_without_a_zone_and_a_number_ask_for_what_they_lack() -> None:
    assert only(proposal(table("events", {"created_at": Kind.WALL}))).needs_zone
    numbers = only(proposal(table("events", {"created_at": Kind.INTEGER})))
    assert numbers.needs_unit
    assert numbers.doubt is not None


def test_tags_in_a_join_table() -> None:
    reference = references("event_tags", "event_id", "events")
    project = proposal(
        table("events", DATED, by=(reference,)),
        table("event_tags", {"event_id": Kind.INTEGER, "tag": Kind.TEXT}, to=(reference,)),
    )
    proposed = only(project)
    assert proposed.tags == TagTable(table="event_tags", record=("event_id",), tag="tag")
    assert [dependent.table for dependent in proposed.dependents] == ["event_tags"]


def test_tags_in_a_join_table_of_a_key_of_two_columns_are_named_in_the_keys_order() -> None:
    reference = replace(
        references("event_tags", "event_id", "events"), columns=("event_id", "firm"), parent_columns=("id", "tenant")
    )
    other = references("event_labels", "code", "events", parent_column="code")
    key = ("tenant", "id")
    proposed = only(
        proposal(
            table("events", {**DATED, "tenant": Kind.INTEGER, "code": Kind.TEXT}, key=key, by=(other, reference)),
            table("event_labels", {"code": Kind.TEXT, "label": Kind.TEXT}, to=(other,)),
            table("event_tags", {"event_id": Kind.INTEGER, "firm": Kind.INTEGER, "tag": Kind.TEXT}, to=(reference,)),
        )
    )
    assert proposed.tags == TagTable(table="event_tags", record=("firm", "event_id"), tag="tag")
    assert "        tags: {table: event_tags, record: [firm, event_id], tag: tag}" in class_block(proposed)


def test_tags_that_are_numbers_elsewhere_are_not_guessed() -> None:
    reference = references("event_tags", "event_id", "events")
    proposed = only(
        proposal(
            table("events", DATED, by=(reference,)),
            table("event_tags", {"event_id": Kind.INTEGER, "tag_id": Kind.INTEGER}, to=(reference,)),
        )
    )
    assert proposed.tags is None
    assert any("holds numbers" in note for note in proposed.notes)


def test_notes_say_what_people_should_know() -> None:
    notes = only(proposal(table("events", DATED, triggers=("on_delete",), nullable=("created_at",)))).notes
    assert any("created_at may be null" in note for note in notes)
    assert any("on_delete" in note for note in notes)
    assert any("no foreign key refers" in note for note in notes)
    assert any("no column or table holds tags" in note for note in notes)


def test_equal_names_in_two_schemas_stay_apart() -> None:
    project = proposal(table("events", DATED, schema="sales"), table("events", DATED, schema="support"))
    assert [(proposed.name, proposed.table) for proposed in project.classes] == [
        ("events", "sales.events"),
        ("support_events", "support.events"),
    ]


def test_a_name_that_policies_cannot_write_becomes_one_that_they_can() -> None:
    assert only(proposal(table("2024 Événements", DATED))).name == "table_2024_v_nements"


def test_long_names_and_names_alike_become_names_that_policies_take() -> None:
    tables = [table(name, DATED) for name in ("Event Log", "event-log", "event_log", "x" * 70, "x" * 80)]
    found = [proposed.name for proposed in proposal(*tables).classes]
    assert found == ["event_log", "event_log_2", "event_log_3", "x" * 60, "x" * 55 + "_2"]


def test_a_table_that_vanished_meanwhile_is_left_out() -> None:
    class Vanished(Schema):
        def tables(self) -> list[str]:
            return ["gone"]

    assert propose(cast(Source, Vanished())).classes == ()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///crm.db", "crm"),
        ("sqlite:////srv/data/Sales-2024.sqlite3", "sales_2024"),
        ("postgresql://reader@db.example:5432/CRM?sslmode=require", "crm"),
        ("postgresql://db.example", "db_example"),
        ("sqlite://", "source"),
        ("sqlite:///2024.db", "source"),
    ],
)
def test_the_source_is_named_after_its_database(url: str, name: str) -> None:
    assert source_name(url) == name
