"""What a row costs on its way into an archive file: canonical bytes and digest beside Parquet itself.

    python benchmarks/rows.py [ROWS]

Prints medians of interleaved rounds on records like a CRM's, in microseconds a row and in ratio to the Parquet
encoding, so that machines compare.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from hashlib import sha256

import pyarrow as pa

from retention.archive import merkle
from retention.archive.data_file import decode, encode, same
from retention.archive.rows import leaves, prefixed_rows

ROUNDS = 7
BATCH = 10_000
WORDS = (
    "the",
    "customer",
    "called",
    "about",
    "invoice",
    "delivery",
    "late",
    "contact",
    "tomorrow",
    "contract",
    "offer",
)


def records(count: int) -> pa.Table:
    """``count`` rows of ten columns, about 190 bytes each."""
    draw = random.Random(7)
    start = 1_500_000_000_000_000
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "account_id": [draw.randrange(5_000) for _ in range(count)],
            "action": [draw.choice(["call", "note", "mail"]) for _ in range(count)],
            "status": ["closed"] * count,
            "tags": ['["sales"]'] * count,
            "amount": [draw.random() * 1_000 if draw.random() < 0.9 else None for _ in range(count)],
            "note": [" ".join(draw.choices(WORDS, k=draw.randrange(5, 30))) for _ in range(count)],
            "owner": [f"owner{draw.randrange(50)}" for _ in range(count)],
            "created_at": pa.array([start + at * 1_000_003 for at in range(count)], pa.timestamp("us", "UTC")),
            "closed_at": pa.array(
                [start + at * 1_000_003 if draw.random() < 0.5 else None for at in range(count)],
                pa.timestamp("us", "UTC"),
            ),
        }
    )


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    table = records(count)
    batches = [table.slice(at, BATCH).combine_chunks() for at in range(0, count, BATCH)]
    files = [encode(batch, {}) for batch in batches]
    backs = [decode(file) for file in files]
    digests = [leaves(batch) for batch in batches]
    work: dict[str, Callable[[], object]] = {
        "Parquet encode": lambda: [encode(batch, {}) for batch in batches],
        "canonical bytes": lambda: [rows for batch in batches for rows in prefixed_rows(batch)],
        "canonical bytes and SHA-256": lambda: [leaves(batch) for batch in batches],
        "Merkle root": lambda: [merkle.root(each) for each in digests],
        "SHA-256 of the file": lambda: [sha256(file).digest() for file in files],
        "Parquet decode": lambda: [decode(file) for file in files],
        "comparing every value": lambda: [same(*pair) for pair in zip(batches, backs, strict=True)],
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, step in work.items():
            begun = time.perf_counter()
            step()
            taken[name].append(time.perf_counter() - begun)
    whole = statistics.median(taken["Parquet encode"])
    print(
        f"{count:,} rows in batches of {BATCH:,}; {sum(file.size for file in files) / count:.0f} bytes a row as Parquet"
    )
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:30} {median / count * 1e6:7.3f} µs a row   {median / whole:6.2f} x")


if __name__ == "__main__":
    main()
