"""Two-valued logic: conditions and tags."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from retention.policy.evaluate import holds_true, tags_match, tags_of
from retention.policy.load import parse_where
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn, TagMatch, TagRules

SHANGHAI = ZoneInfo("Asia/Shanghai")
EVENING = datetime(2024, 5, 1, 16, tzinfo=UTC)  # 2 May, 00:00 in Shanghai


@pytest.mark.parametrize(
    ("where", "value", "holds"),
    [
        ("{c: x}", "x", True),
        ("{c: x}", "X", False),
        ("{c: x}", None, False),
        ("{c: x}", 5, False),
        # NaN is no number, whatever order a database gives it
        ("{c: {above: 5}}", Decimal("NaN"), False),
        ("{c: {above: 5}}", float("nan"), False),
        ("{c: {below: 5}}", Decimal("NaN"), False),
        ("{c: {at most: 5.5}}", float("nan"), False),
        ("{c: {not: 5}}", float("nan"), True),
        ("{c: 5}", Decimal("NaN"), False),
        ("{c: [5, 6]}", Decimal("NaN"), False),
        ("{c: null}", None, True),
        ("{c: null}", "x", False),
        ("{c: {is: x}}", "x", True),
        ("{c: {not: x}}", "y", True),
        ("{c: {not: x}}", "x", False),
        ("{c: {not: x}}", None, False),
        ("{c: {not: null}}", "x", True),
        ("{c: {not: null}}", None, False),
        ("{c: [x, y]}", "y", True),
        ("{c: [x, y]}", "z", False),
        ("{c: [x, y]}", None, False),
        ("{c: [x, null]}", None, True),
        ("{c: {in: [x, null]}}", "x", True),
        ("{c: {not in: [x, y]}}", "z", True),
        ("{c: {not in: [x, y]}}", "x", False),
        ("{c: {not in: [x, y]}}", None, False),
        ("{c: {not in: [x, null]}}", None, False),
        ("{c: {not in: [x, null]}}", "y", True),
        ("{c: {below: 5}}", 4, True),
        ("{c: {below: 5}}", 5, False),
        ("{c: {below: 5}}", None, False),
        ("{c: {below: 5}}", "4", False),
        ("{c: {below: 5}}", True, False),
        ("{c: {above: 0.1}}", Decimal("0.1"), False),
        ("{c: {above: 0.1}}", Decimal("0.11"), True),
        ("{c: {at least: 5}}", 5, True),
        ("{c: {at least: 5}}", 4.9, False),
        ("{c: {at most: 5}}", 5, True),
        ("{c: {at most: 5}}", 6, False),
        ("{c: 0.1}", 0.1, True),
        ("{c: 0.1}", Decimal("0.1"), True),
        ("{c: 1}", True, False),
        ("{c: 1}", 1.0, True),
        ("{c: true}", True, True),
        ("{c: true}", 1, True),
        ("{c: true}", False, False),
        ("{c: false}", 0, True),
        ("{c: true}", "true", False),
        ("{c: true}", 2, False),
        ("{c: {contains: ell}}", "hello", True),
        ("{c: {contains: ELL}}", "hello", False),
        ("{c: {contains: a}}", None, False),
        ("{c: {contains: a}}", 5, False),
        ("{c: {starts with: he}}", "hello", True),
        ("{c: {starts with: lo}}", "hello", False),
        ("{c: {before: 2024-05-02}}", EVENING, False),
        ("{c: {before: 2024-05-03}}", EVENING, True),
        ("{c: {after: 2024-05-01}}", EVENING, True),
        ("{c: {after: 2024-05-02}}", EVENING, False),
        ("{c: {after: 9999-12-31}}", EVENING, False),
        ("{c: {before: 2024-05-02}}", date(2024, 5, 1), True),
        ("{c: {before: 2024-05-02}}", date(2024, 5, 2), False),
        ("{c: {after: 2024-05-02}}", date(2024, 5, 3), True),
        ("{c: {after: 2024-05-02}}", date(2024, 5, 2), False),
        ("{c: {before: 2024-05-02T00:00}}", EVENING, False),
        ("{c: {before: 2024-05-02T00:01}}", EVENING, True),
        ("{c: {after: 2024-05-01T23:59}}", EVENING, True),
        ("{c: {after: 2024-05-01T16:00Z}}", EVENING, False),
        ("{c: {before: 2024-05-02T09:00}}", date(2024, 5, 1), True),
        ("{c: {after: 2024-05-02T09:00}}", date(2024, 5, 2), False),
        ("{c: {before: 2024-05-02}}", None, False),
        ("{c: {before: 2024-05-02}}", "soon", False),
        ("{c: 2024-05-02}", EVENING, True),
        ("{c: 2024-05-01}", EVENING, False),
        ("{c: 2024-05-02}", date(2024, 5, 2), True),
        ("{c: 2024-05-02}", "soon", False),
        ("{c: 2024-05-02T00:00}", EVENING, True),
        ("{c: 2024-05-02T00:00}", date(2024, 5, 2), False),
        ("{any: [{c: x}, {c: y}]}", "y", True),
        ("{any: [{c: x}, {c: y}]}", None, False),
        ("{none: [{c: x}, {c: y}]}", None, True),
        ("{none: [{c: x}]}", "x", False),
        ("{none: [{c: {not: x}}]}", None, True),
        ("{c: {at least: 1, below: 3}}", 2, True),
        ("{c: {at least: 1, below: 3}}", 3, False),
    ],
)
def test_condition(where: str, value: object, holds: bool, make_class: Callable[..., RecordClass]) -> None:
    assert holds_true(parse_where(where), {"c": value}, make_class(), SHANGHAI) is holds


def test_text_is_ordered_by_code_point(make_class: Callable[..., RecordClass]) -> None:
    from retention.policy.condition import Compare, Operator
    from retention.policy.mark import Mark

    below = Compare(column="c", operator=Operator.BELOW, value="a", mark=Mark(file="x"))
    assert holds_true(below, {"c": "Z"}, make_class(), SHANGHAI)
    assert not holds_true(below, {"c": "é"}, make_class(), SHANGHAI)


def test_a_column_that_was_not_read_is_not_null(make_class: Callable[..., RecordClass]) -> None:
    with pytest.raises(KeyError):
        holds_true(parse_where("c=null"), {}, make_class(), SHANGHAI)


@pytest.mark.parametrize(
    ("match", "tags", "matches"),
    [
        (TagMatch(all=("a", "b")), {"a", "b", "c"}, True),
        (TagMatch(all=("a", "b")), {"a"}, False),
        (TagMatch(all=("a",)), set(), False),
        (TagMatch(all=("a",)), {"A"}, False),
        (TagMatch(any=("a", "b")), {"b"}, True),
        (TagMatch(any=("a", "b")), {"c"}, False),
        (TagMatch(none=("a",)), set(), True),
        (TagMatch(none=("a",)), {"a"}, False),
        (TagMatch(all=("a",), any=("b", "c"), none=("d",)), {"a", "c"}, True),
        (TagMatch(all=("a",), any=("b", "c"), none=("d",)), {"a", "c", "d"}, False),
        (TagMatch(none=("a",)), None, False),
        (TagMatch(all=("a",)), None, False),
    ],
)
def test_tags_match(match: TagMatch, tags: set[str] | None, matches: bool) -> None:
    assert tags_match(match, None if tags is None else frozenset(tags)) is matches


@pytest.mark.parametrize(
    ("raw", "is_json", "tags"),
    [
        (None, False, set()),
        (None, True, set()),
        ("", False, set()),
        (" , ,", False, set()),
        ("a, b ,,c d", False, {"a", "b", "c d"}),
        ("\ta\n", False, {"a"}),
        ('["a", " b "]', False, {"a", " b "}),
        (' ["a", null]', False, {"a"}),
        ("[]", False, set()),
        ("[", False, None),
        ('["a"', False, None),
        ('{"a": 1}', False, None),
        ("{a,b}", False, None),
        ('"a"', False, None),
        ("[1]", False, None),
        ("[[]]", False, None),
        ("[" * 100_000, False, None),
        ("[" + "9" * 5000 + "]", False, None),
        ("null", True, set()),
        ("null", False, {"null"}),
        ("5", True, None),
        ("5", False, {"5"}),
        ('["a"]', True, {"a"}),
        (["a", None, "b"], False, {"a", "b"}),
        (("a",), False, {"a"}),
        ({"a"}, False, {"a"}),
        ([1], False, None),
        (5, False, None),
        ({"a": 1}, False, None),
        (b"a", False, None),
    ],
)
def test_tags_of_a_column(
    raw: object, is_json: bool, tags: set[str] | None, make_class: Callable[..., RecordClass]
) -> None:
    read = tags_of({}, make_class(tags=TagColumn(column="tags")), raw, SHANGHAI, is_json=is_json)
    assert read == (None if tags is None else frozenset(tags))


def test_tags_by_rules(make_class: Callable[..., RecordClass]) -> None:
    rules = TagRules(rules=(("sales", parse_where("{stage: [won, lost]}")), ("note", parse_where("action=note"))))
    record_class = make_class(tags=rules)
    assert tags_of({"stage": "won", "action": "note"}, record_class, None, SHANGHAI) == {"sales", "note"}
    assert tags_of({"stage": None, "action": "call"}, record_class, None, SHANGHAI) == frozenset()
