from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from retention.archive import merkle
from retention.archive.file_store import FileStore
from retention.archive.find import find_key, proof_for, rows_of, select
from retention.archive.manifest import BatchFacts, Manifest
from retention.archive.write import Part, write_batch
from retention.errors import ArchiveFailed, InputError, NotFound
from retention.sources.column_entry import ColumnEntry

MOMENT = datetime(2019, 2, 28, 8, tzinfo=UTC)


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([3, -1, 40, 2**60], pa.int64()),
            "part": pa.array(["a", "a", "b", "O'Neil"]),
            "amount": pa.array([1.5, -0.0, float("nan"), None]),
            "ratio": pa.array([0.5, 0.1, None, 1.0], pa.float32()),
            "done": pa.array([True, False, None, True]),
            "day": pa.array([date(2019, 2, 28), None, None, None]),
            "wall": pa.array([MOMENT.replace(tzinfo=None), None, None, None], pa.timestamp("us")),
            "at": pa.array([MOMENT, None, None, None], pa.timestamp("us", "UTC")),
            "blob": pa.array([b"\xc0\xff", b"", None, None]),
            "odd": pa.array(["12", "'12'", "NULL", "'it''s'"]),
            "price": pa.array(["12.50", "12.5", None, "7"]),
        }
    )


@pytest.fixture
def manifest(store: FileStore, rows: pa.Table, facts: BatchFacts, part_of: Callable[..., Part]) -> Manifest:
    travels = {"odd": "literal", "price": "text"}
    columns = tuple(
        ColumnEntry(name=name, type="", travels=travels.get(name, "native"))  # type: ignore[arg-type]
        for name in rows.column_names
    )
    part = dataclasses.replace(part_of(rows, key=("id", "part")), columns=columns)
    return write_batch(store, [part], facts).manifest


def test_rows_of(store: FileStore, manifest: Manifest, rows: pa.Table) -> None:
    assert rows_of(store, manifest.files[0]).schema == rows.schema
    path = store.local_path(manifest.files[0].path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"2")
    with pytest.raises(ArchiveFailed, match="has been changed since it was written"):
        rows_of(store, manifest.files[0])


@pytest.mark.parametrize("key", [("40", "b"), (40, "b"), ("+40", "b")])
def test_find_key(store: FileStore, manifest: Manifest, rows: pa.Table, key: tuple[object, ...]) -> None:
    found = find_key(store, manifest, key)
    assert found is not None
    assert found[0] == 2
    assert str(found[1]) == str(rows.slice(2, 1).to_pylist()[0])


@pytest.mark.parametrize(
    "key", [("40", "a"), ("4", "b"), ("abc", "b"), ("4_0", "b"), ("40.0", "b"), (None, "b"), ("9" * 40, "b")]
)
def test_a_key_that_is_not_there(store: FileStore, manifest: Manifest, key: tuple[object, ...]) -> None:
    assert find_key(store, manifest, key) is None
    assert proof_for(store, manifest, key) is None


def test_a_key_of_another_length(store: FileStore, manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"a key of activity_logs has 2 values \(id, part\), not 1"):
        find_key(store, manifest, ["40"])


def test_a_record_is_proven(store: FileStore, manifest: Manifest) -> None:
    for index, key in enumerate([(3, "a"), (-1, "a"), (40, "b"), (2**60, "O'Neil")]):
        proven = proof_for(store, manifest, key)
        assert proven is not None
        assert (proven.row, proven.path) == (index, manifest.files[0].path)
        assert proven.merkle_root.hex() == manifest.files[0].merkle_root
        assert merkle.check(proven.leaf, proven.proof, proven.merkle_root)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [0, 1, 2, 3]),
        ({"id": "3"}, [0]),
        ({"part": "a"}, [0, 1]),
        ({"part": "a", "id": "-1"}, [1]),
        ({"part": "O'Neil"}, [3]),
        ({"part": None}, []),
        ({"amount": "1.5"}, [0]),
        ({"amount": "0"}, [1]),
        ({"amount": 1.5}, [0]),
        ({"amount": None}, [3]),
        ({"amount": "nan"}, []),
        ({"ratio": "0.1"}, [1]),
        ({"done": "true"}, [0, 3]),
        ({"done": False}, [1]),
        ({"done": None}, [2]),
        ({"day": "2019-02-28"}, [0]),
        ({"day": date(2019, 2, 28)}, [0]),
        ({"wall": "2019-02-28T08:00:00"}, [0]),
        ({"wall": "2019-02-28 08:00"}, [0]),
        ({"at": "2019-02-28T08:00:00Z"}, [0]),
        ({"at": "2019-02-28T16:00:00+08:00"}, [0]),
        ({"at": MOMENT}, [0]),
        ({"blob": "\\xc0ff"}, [0]),
        ({"blob": ""}, [1]),
        ({"odd": "12"}, [0, 1]),
        ({"odd": 12}, [0, 1]),
        ({"odd": "it's"}, [3]),
        ({"odd": "NULL"}, []),
        ({"odd": None}, [2]),
        ({"price": "12.5"}, [1]),
        ({"price": None}, [2]),
    ],
)
def test_select(
    store: FileStore, manifest: Manifest, rows: pa.Table, where: dict[str, object], found: list[int]
) -> None:
    assert select(store, manifest, where)["id"].to_pylist() == [rows["id"][index].as_py() for index in found]


@pytest.mark.parametrize(
    ("where", "example"),
    [
        ({"id": "abc"}, "id=42"),
        ({"id": "1.0"}, "id=42"),
        ({"id": 1.5}, "id=42"),
        ({"amount": "much"}, "amount=12.5"),
        ({"done": "yes please"}, "done=true"),
        ({"day": "28.02.2019"}, "day=2026-10-31"),
        ({"wall": "2019-02-28T08:00:00Z"}, "wall=2026-10-31T09:30:00"),
        ({"at": "2019-02-28T08:00:00"}, "at=2026-10-31T09:30:00Z"),
        ({"blob": "xyz"}, "blob=\\xc0ffee"),
        ({"part": 7}, "part=text"),
        ({"at": MOMENT.replace(tzinfo=None)}, "at=2026-10-31T09:30:00Z"),
        ({"id": 2**64}, "id=42"),
    ],
)
def test_a_value_that_the_column_cannot_have(
    store: FileStore, manifest: Manifest, where: dict[str, object], example: str
) -> None:
    (name,) = where
    with pytest.raises(InputError, match=f"is no value of column {name}") as caught:
        select(store, manifest, where)
    assert caught.value.hint == f"For example  {example}"


@pytest.mark.parametrize(("name", "hint"), [("amout", "Did you mean amount?"), ("zzzzzz", "It has id, part, amount")])
def test_a_column_that_is_not_there(store: FileStore, manifest: Manifest, name: str, hint: str) -> None:
    with pytest.raises(NotFound, match=f"activity_logs has no column {name} in ") as caught:
        select(store, manifest, {name: "1"})
    assert caught.value.hint.startswith(hint)


def test_an_empty_file(store: FileStore, rows: pa.Table, facts: BatchFacts, part_of: Callable[..., Part]) -> None:
    manifest = write_batch(store, [part_of(rows.slice(0, 0))], facts).manifest
    assert find_key(store, manifest, ["3"]) is None
    assert select(store, manifest, {"part": "a"}).num_rows == 0
