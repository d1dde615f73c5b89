"""Scopes, conditions and selections in words."""

from __future__ import annotations

import pytest

from retention.holds.describe import condition_words, describe, selection_words
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.policy.condition import AllOf, AnyOf, Condition, NoneOf
from retention.policy.read_where import parse_where
from retention.policy.tags import TagMatch

CLOSED = parse_where("status=closed")
CALL = parse_where("action=call")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Keys(records="crm.a", count=1), "1 record of crm.a"),
        (Keys(records="crm.a", count=2000), "2,000 records of crm.a"),
        (Tagged(tag="vip", records=("crm.a", "crm.b")), "every record tagged vip in crm.a, crm.b"),
        (Matching(where=CLOSED, records=("crm.a",)), "every record where status = closed in crm.a"),
        (Subject(subject="customer", value="42"), "every record of customer 42"),
        (WholeClass(records="crm.a"), "every record of crm.a"),
        (Everything(), "every record of every class"),
    ],
)
def test_scopes(scope: Scope, words: str) -> None:
    assert describe(scope) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (CLOSED, "status = closed"),
        (parse_where("status=null"), "status = null"),
        (parse_where("{status: [open, closed]}"), "status in [open, closed]"),
        (AllOf(parts=(CLOSED, CALL)), "status = closed and action = call"),
        (AnyOf(parts=(CLOSED, CALL)), "status = closed or action = call"),
        (AllOf(parts=(CLOSED, AnyOf(parts=(CLOSED, CALL)))), "status = closed and (status = closed or action = call)"),
        (NoneOf(parts=(CLOSED, CALL)), "none of (status = closed; action = call)"),
    ],
)
def test_conditions(condition: Condition, words: str) -> None:
    assert condition_words(condition) == words


@pytest.mark.parametrize(
    ("tags", "where", "words"),
    [
        (None, None, "every record"),
        (TagMatch(all=("sales",)), CLOSED, "tagged sales, and status = closed"),
        (
            TagMatch(all=("a", "b"), any=("c", "d"), none=("e", "f")),
            None,
            "tagged a and b, and tagged c or d, and not tagged e or f",
        ),
        (None, CLOSED, "status = closed"),
    ],
)
def test_selections(tags: TagMatch | None, where: Condition | None, words: str) -> None:
    assert selection_words(tags, where) == words
