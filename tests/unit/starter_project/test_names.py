"""What names mean to `retention init`."""

from __future__ import annotations

import pytest

from retention.sources.table import Column, Kind
from retention.starter_project import names


def column(name: str, kind: Kind) -> Column:
    return Column(name=name, type=kind.value, kind=kind, nullable=False)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("activity_logs", True),
        ("ActivityLog", True),
        ("login-history", True),
        ("events", True),
        ("audit_trail", True),
        ("activity_comments", False),
        ("customers", False),
        ("log_settings", False),
        ("", False),
    ],
)
def test_log_tables_are_known_by_their_last_word(table: str, expected: bool) -> None:
    assert names.is_log(table) is expected


@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        ("order_items", "orders", True),
        ("activity_comments", "activity_logs", True),
        ("category_labels", "categories", True),
        ("OrderItems", "Orders", True),
        ("orders", "customers", False),
        ("ordering_rules", "orders", False),
        ("x", "s", False),
    ],
)
def test_parts_bear_the_name_of_the_whole(child: str, parent: str, expected: bool) -> None:
    assert names.is_part(child, parent) is expected


def test_the_likeliest_clock_comes_first_and_birthdays_last() -> None:
    columns = [
        column("birth_date", Kind.DATE),
        column("updated_at", Kind.INSTANT),
        column("closed_at", Kind.INSTANT),
        column("logged_on", Kind.DATE),
        column("created_epoch", Kind.INTEGER),
        column("created_at", Kind.WALL),
        column("name", Kind.TEXT),
        column("amount", Kind.INTEGER),
    ]
    assert [clock.name for clock in names.clocks(columns)] == [
        "created_at",
        "created_epoch",
        "closed_at",
        "logged_on",
        "updated_at",
        "birth_date",
    ]


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.INTEGER])
def test_a_column_of_no_date_type_needs_the_name_of_one(kind: Kind) -> None:
    assert names.clocks([column("status", kind)]) == []
    assert [clock.name for clock in names.clocks([column("created_at", kind)])] == ["created_at"]


def test_a_blob_is_no_clock_whatever_its_name() -> None:
    assert names.clocks([column("created_at", Kind.OTHER)]) == []


def test_several_tags_win_over_one() -> None:
    found = names.tags([column("label", Kind.TEXT), column("tags", Kind.JSON), column("notes", Kind.TEXT_ARRAY)])
    assert found is not None
    assert found.name == "tags"


def test_numbers_are_no_tags() -> None:
    assert names.tags([column("tags", Kind.INTEGER)]) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("customer_id", "customer"),
        ("customerId", "customer"),
        ("billing_account_no", "account"),
        ("contact", None),
        ("id", None),
        ("order_id", None),
        ("", None),
    ],
)
def test_subjects_are_references_to_people_and_firms(name: str, expected: str | None) -> None:
    assert names.subject(name) == expected
