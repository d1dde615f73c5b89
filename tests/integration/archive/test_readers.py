"""Other programs read archive files as they are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from retention.archive.file_store import FileStore
from retention.archive.manifest import BatchFacts
from retention.archive.write import Part, write_batch
from retention.sources.column_entry import ColumnEntry

ROWS = 3_000
MOMENT = datetime(2019, 2, 28, 8, 30, tzinfo=UTC)


@pytest.fixture
def rows() -> pa.Table:
    """Every type, and both columns that recur (a dictionary) and such that do not (DELTA)."""
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "status": pa.array(["open", "关闭", None] * (ROWS // 3)),
            "note": pa.array([f"note {number}" for number in range(ROWS)]),
            "amount": pa.array([number / 3 for number in range(ROWS)], pa.float64()),
            "ratio": pa.array([number / 4 for number in range(ROWS)], pa.float32()),
            "done": pa.array([True, False] * (ROWS // 2)),
            "blob": pa.array([bytes([number % 256]) * (number % 5) for number in range(ROWS)]),
            "day": pa.array([date(2019, 2, 28)] * ROWS),
            "wall": pa.array([MOMENT.replace(tzinfo=None)] * ROWS, pa.timestamp("us")),
            "at": pa.array([MOMENT.timestamp() * 10**6 + number for number in range(ROWS)])
            .cast(pa.int64())
            .cast(pa.timestamp("us", "UTC")),
        }
    )


@pytest.fixture
def file(tmp_path: Path, rows: pa.Table) -> Path:
    store = FileStore(tmp_path / "archive")
    store.create()
    columns = tuple(ColumnEntry(name=name, type="", travels="native") for name in rows.column_names)
    facts = BatchFacts(
        archive="cold",
        batch="b-1",
        number=1,
        run="run-1",
        source="crm",
        record_class="activities",
        policy="p",
        policy_digest="0" * 64,
        mandate=None,
        as_of=MOMENT,
        hold_epoch=0,
        key_least=0,
        key_greatest=ROWS - 1,
        dialect="postgresql",
        written_at=datetime(2026, 10, 1, 2, 1, tzinfo=UTC),
    )
    written = write_batch(store, [Part(table="activity_logs", key=("id",), columns=columns, rows=rows)], facts)
    return store.local_path(written.files[0].path)


def test_duckdb(file: Path, rows: pa.Table) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        back = connection.sql(f"SELECT * FROM read_parquet('{file}') ORDER BY id").to_arrow_table()
    assert back.column_names == rows.column_names
    for name in rows.column_names:
        assert back[name].cast(rows.schema.field(name).type).to_pylist() == rows[name].to_pylist(), name


def test_pandas(file: Path, rows: pa.Table) -> None:
    back = pd.read_parquet(file, dtype_backend="pyarrow")
    assert pa.Table.from_pandas(back, schema=rows.schema, preserve_index=False).equals(rows)
