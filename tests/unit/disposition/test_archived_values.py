"""Archived forms as values that conditions compare; what cannot be compared says so instead of being taken for null."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.archive.manifest import FileEntry
from retention.disposition.archived_values import ArchivedValues, Unreadable, key_texts, rows_as_values
from retention.sources.column_entry import ColumnEntry, Travels


def value(kind: str, travels: Travels, text: object) -> object:
    return ArchivedValues({"c": ColumnEntry(name="c", type=kind, travels=travels)}, {"c": text})["c"]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("numeric", "12345678901234567890.10", Decimal("12345678901234567890.10")),
        ("numeric(12,2)", "-0.10", Decimal("-0.10")),
        ("numeric", "Infinity", Decimal("Infinity")),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", '{"a": 1}', '{"a": 1}'),
        ("character(6)", "ab    ", "ab    "),
        ("character varying(20)", "x", "x"),
        ("text[]", "{}", []),
        ("text[]", '{a,NULL,"NULL","b,c","d\\"e\\\\f",""," g"}', ["a", None, "NULL", "b,c", 'd"e\\f', "", " g"]),
        ("character varying(20)[]", "{x,y}", ["x", "y"]),
        ("character varying[]", "{x}", ["x"]),
    ],
)
def test_postgresql_text_becomes_the_value(kind: str, text: str, expected: object) -> None:
    assert value(kind, "text", text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("interval", "1 year"), ("timestamp with time zone", "infinity"), ("date", "4713-01-01 BC"), ("money", "-$12.34"),
        ("integer[]", "{1,2}"), ("text[]", "[0:1]={a,b}"), ("text[]", "{{a,b},{c,d}}"), ("numeric", "not a number"),
    ],
)  # fmt: skip
def test_what_no_condition_can_compare_is_not_taken_for_null(kind: str, text: str) -> None:
    with pytest.raises(Unreadable):
        value(kind, "text", text)


@pytest.mark.parametrize(
    ("kind", "travels", "stored"), [("double precision", "native", float("nan")), ("numeric", "text", "NaN")]
)
def test_what_is_no_number_may_be_any(kind: str, travels: Travels, stored: object) -> None:
    columns = {
        "c": ColumnEntry(name="c", type=kind, travels=travels),
        "d": ColumnEntry(name="d", type="text", travels="native"),
    }
    row = ArchivedValues(columns, {"c": stored, "d": "x"})
    assert row["c"] != row["c"]
    assert dict(row.with_nan_as(-1.0)) == {"c": -1.0, "d": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        ("-1.5", -1.5),
        ("'it''s'", "it's"),
        ("X'00FF'", b"\x00\xff"),
        ("NULL", None),
        ("CAST(X'C3BC' AS TEXT)", "ü"),
    ],
)
def test_literals_of_sqlite(text: str, expected: object) -> None:
    assert value("", "literal", text) == expected


def test_native_values_and_null_are_themselves() -> None:
    assert value("integer", "native", 7) == 7
    assert value("interval", "text", None) is None


def test_a_column_that_is_not_there_is_an_error() -> None:
    row = ArchivedValues({}, {})
    with pytest.raises(KeyError):
        row["c"]
    assert (list(row), len(row)) == ([], 0)


def quoted(item: str | None) -> str:
    """As PostgreSQL writes an item: quoted wherever it might be (array_out quotes no more than this)."""
    if item is None:
        return "NULL"
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.none() | st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_every_list_of_texts(items: list[str | None]) -> None:
    assert value("text[]", "text", "{" + ",".join(map(quoted, items)) + "}") == items


def test_rows_and_keys_of_a_file() -> None:
    columns = (
        ColumnEntry(name="a", type="", travels="literal"),
        ColumnEntry(name="b", type="INTEGER", travels="native"),
    )
    file = FileEntry(path="p", table="t", rows=2, bytes=1, sha256="0", merkle_root="0", key=("a", "b"), columns=columns)
    rows = pa.table({"a": ["'x'", "5"], "b": [1, 2]})
    assert [dict(row) for row in rows_as_values(rows, file)] == [{"a": "x", "b": 1}, {"a": 5, "b": 2}]
    assert key_texts(rows, file) == ['["x",1]', "[5,2]"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.date32(), date(2026, 1, 15), "2026-01-15"),
        (pa.timestamp("us", "UTC"), datetime(2026, 1, 15, 10, 0, 0, 120000, tzinfo=UTC), "2026-01-15 10:00:00.12+00"),
        (pa.timestamp("us", "UTC"), datetime(2026, 1, 15, 10, 0, 10, tzinfo=UTC), "2026-01-15 10:00:10+00"),
        (pa.timestamp("us"), datetime(2026, 1, 15, 10, 0, 10), "2026-01-15 10:00:10"),
        (pa.bool_(), True, "true"),
        (pa.bool_(), False, "false"),
        (pa.binary(), b"\x00\xff", "\\x00ff"),
        (pa.float64(), 2.0, "2"),
        (pa.float64(), 2.5, "2.5"),
    ],
)
def test_keys_of_other_types_are_written_as_postgresql_casts_them(kind: pa.DataType, value: object, text: str) -> None:
    columns = (ColumnEntry(name="a", type="", travels="native"),)
    file = FileEntry(path="p", table="t", rows=1, bytes=1, sha256="0", merkle_root="0", key=("a",), columns=columns)
    assert key_texts(pa.table({"a": pa.array([value], kind)}), file) == [text]
