"""Generated tables with what they mean beside them, and small batches in an archive of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from retention.archive.file_store import FileStore
from retention.archive.manifest import BatchFacts
from retention.archive.verify import Expected, ExpectedFile
from retention.archive.write import Part, Written
from retention.sources.column_entry import ColumnEntry


@dataclass(frozen=True, kw_only=True)
class Generated:
    """``rows`` is what `table` was made of: None, bool, int (also a float's bits, days, microseconds), str, bytes."""

    kinds: tuple[pa.DataType, ...]
    rows: list[tuple[Any, ...]]
    table: pa.Table


_INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
_FLOAT64 = st.integers(0, 2**64 - 1) | st.sampled_from(
    [0, 1 << 63, 0x7FF8000000000000, 0x7FF8000000000001, 0xFFF4000000000099, 0x7FF0000000000000]
)
_FLOAT32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1 << 31, 0x7FC00000, 0x7FC00001, 0xFF800001])
_TEXT = st.text(max_size=12) | st.sampled_from(["", "0", "null", "\0", "\U0001f5c4" * 2_000, "漢字" * 900])
_BYTES = st.binary(max_size=12) | st.sampled_from([b"", b"\0", b"\xff" * 3_000])

#: how each kind of column is made: raw values, and the Arrow type that they are first laid out in
KINDS: dict[pa.DataType, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    pa.bool_(): (st.booleans(), pa.bool_()),
    pa.int64(): (_INT64, pa.int64()),
    pa.float64(): (_FLOAT64, pa.uint64()),
    pa.float32(): (_FLOAT32, pa.uint32()),
    pa.string(): (_TEXT, pa.string()),
    pa.binary(): (_BYTES, pa.binary()),
    pa.date32(): (st.integers(-(2**31), 2**31 - 1), pa.int32()),
    pa.timestamp("us"): (_INT64, pa.int64()),
    pa.timestamp("us", "UTC"): (_INT64, pa.int64()),
}


def _array(kind: pa.DataType, raw: list[Any], present: list[bool]) -> pa.Array:
    """Nulls are laid over values, so that what lies under a null is not zero."""
    values = pa.array(raw, KINDS[kind][1])
    validity = pa.array(present, pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(kind, len(raw), [validity, *values.buffers()[1:]])


@st.composite
def generated(draw: st.DrawFn) -> Generated:
    count = draw(st.integers(0, 40))
    kinds = tuple(draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=10)))
    arrays, columns = [], []
    for kind in kinds:
        raw = draw(st.lists(KINDS[kind][0], min_size=count, max_size=count))
        present = draw(st.lists(st.booleans(), min_size=count, max_size=count) | st.just([True] * count))
        arrays.append(_array(kind, raw, present))
        columns.append([value if here else None for value, here in zip(raw, present, strict=True)])
    table = pa.table(arrays, names=[f"c{number}" for number in range(len(kinds))])
    rows = list(zip(*columns, strict=True))
    start = draw(st.integers(0, count))
    stop = draw(st.integers(start, count))
    cut = draw(st.integers(start, stop))
    table = pa.concat_tables([table.slice(start, cut - start), table.slice(cut, stop - cut)])
    return Generated(kinds=kinds, rows=rows[start:stop], table=table)


@pytest.fixture(scope="session")
def tables() -> st.SearchStrategy[Generated]:
    """Tables of every type an archive file may have: nulls, NaN payloads, slices with offsets, several chunks."""
    return generated()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A new archive."""
    archive = FileStore(tmp_path / "archive")
    archive.create()
    return archive


@pytest.fixture
def facts() -> BatchFacts:
    return BatchFacts(
        archive="cold",
        batch="b-1",
        number=1,
        run="run-1",
        source="crm",
        record_class="activities",
        policy="sales-records",
        policy_digest="ab" * 32,
        mandate="Internal control rules, section 4.2 — 内部控制",
        as_of=datetime(2026, 10, 1, tzinfo=UTC),
        hold_epoch=7,
        key_least=1,
        key_greatest=4,
        dialect="sqlite",
        written_at=datetime(2026, 10, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def _columns(rows: pa.Table) -> tuple[ColumnEntry, ...]:
    return tuple(ColumnEntry(name=field.name, type=str(field.type), travels="native") for field in rows.schema)


@pytest.fixture(scope="session")
def part_of() -> Callable[..., Part]:
    """A part with the rows given, every column native."""

    def make(rows: pa.Table, *, table: str = "activity_logs", key: tuple[str, ...] = ("id",)) -> Part:
        return Part(table=table, key=key, columns=_columns(rows), rows=rows)

    return make


@pytest.fixture
def parts(part_of: Callable[..., Part]) -> list[Part]:
    """Four records and three comments."""
    return [
        part_of(
            pa.table(
                {
                    "id": pa.array([1, 2, 3, 4], pa.int64()),
                    "action": pa.array(["call", "note", None, ""], pa.string()),
                    "amount": pa.array([1.5, -0.0, float("nan"), None], pa.float64()),
                    "at": pa.array([datetime(2019, 2, 28, 8, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
                }
            )
        ),
        part_of(
            pa.table({"id": [10, 11, 12], "activity_id": [1, 1, 3], "body": ["a", "b", None]}),
            table="crm.activity comments",
        ),
    ]


@pytest.fixture(scope="session")
def expected_of() -> Callable[[Written], Expected]:
    """What the control database would know of a batch."""

    def make(written: Written) -> Expected:
        return Expected(
            batch_id=written.manifest.batch,
            manifest_path=written.manifest_path,
            manifest_sha256=written.manifest_sha256,
            files=tuple(
                ExpectedFile(path=file.path, sha256=file.sha256, rows=file.rows, merkle_root=file.merkle_root)
                for file in written.files
            ),
        )

    return make


@pytest.fixture(scope="session")
def another() -> Callable[[BatchFacts, int], BatchFacts]:
    """The facts of the run's batch of that number."""
    return lambda facts, number: dataclasses.replace(facts, batch=f"b-{number}", number=number)
