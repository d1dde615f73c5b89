"""The demo's database: three tables with their keys, references and indexes, filled on SQLite or on PostgreSQL.

SQLite is filled through the standard library's sqlite3, and closed again before anything else opens the file: two
SQLite libraries in one process drop each other's file locks when either closes a file
(https://www.sqlite.org/howtocorrupt.html, 2.2.1).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

from retention.demo import data

# Where the two databases differ, by name. On SQLite a time is text in ISO form (UTC) and tags are a JSON array; on
# PostgreSQL a time is an instant and tags are an array.
_SQLITE = {"id": "INTEGER", "amount": "REAL", "tags": "TEXT", "time": "TIMESTAMP"}
_POSTGRESQL = {"id": "bigint", "amount": "numeric(12,2)", "tags": "text[]", "time": "timestamptz"}

_TABLES = Template("""
CREATE TABLE accounts (
  id $id PRIMARY KEY,
  name TEXT NOT NULL,
  contact TEXT NOT NULL,
  email TEXT NOT NULL,
  city TEXT NOT NULL,
  customer_since DATE NOT NULL
);
CREATE TABLE activity_logs (
  id $id PRIMARY KEY,
  account_id $id NOT NULL REFERENCES accounts (id),
  action TEXT NOT NULL,
  status TEXT NOT NULL,
  amount $amount,
  note TEXT NOT NULL,
  owner TEXT NOT NULL,
  tags $tags,
  created_at $time,
  closed_at $time
);
CREATE TABLE activity_comments (
  id $id PRIMARY KEY,
  activity_id $id NOT NULL REFERENCES activity_logs (id),
  author TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at $time NOT NULL
);
""")

# Without the second, every deleted activity would read all comments; without the others, every plan all activities.
_INDEXES = """
CREATE INDEX activity_logs_account_id ON activity_logs (account_id);
CREATE INDEX activity_comments_activity_id ON activity_comments (activity_id);
CREATE INDEX activity_logs_created_at ON activity_logs (created_at);
CREATE INDEX activity_logs_closed_at ON activity_logs (closed_at);
"""


def _rows(today: datetime) -> list[tuple[str, Iterable[tuple[Any, ...]]]]:
    """Each table with its rows, parents first."""
    return [
        ("accounts", data.accounts(today)),
        ("activity_logs", data.activities(today)),
        ("activity_comments", data.comments(today)),
    ]


def fill_sqlite(file: Path, *, today: datetime) -> None:
    """Make the database ``file``, which must not exist, with its tables and rows."""
    in_json: dict[tuple[str, ...] | None, str | None] = {None: None}

    def value(item: Any) -> Any:
        if isinstance(item, tuple):
            if item not in in_json:
                in_json[item] = json.dumps(list(item), ensure_ascii=False)
            return in_json[item]
        return item.isoformat() if hasattr(item, "isoformat") else item

    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        # Nobody else knows the file yet, and a demo that is cut short here is made anew: no journal is needed.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in _TABLES.substitute(_SQLITE).split(";"):
            connection.execute(statement)
        for table, rows in _rows(today):
            first, *others = rows
            marks = ", ".join("?" * len(first))
            connection.executemany(
                f"INSERT INTO {table} VALUES ({marks})", ([value(item) for item in row] for row in (first, *others))
            )
        for statement in _INDEXES.split(";"):
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("ANALYZE")


def fill_postgresql(url: str, *, today: datetime) -> None:
    """Make the tables and rows in the empty database at ``url``."""
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(_TABLES.substitute(_POSTGRESQL).encode())
        for table, rows in _rows(today):
            with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row([list(item) if isinstance(item, tuple) else item for item in row])
        cursor.execute(_INDEXES.encode())
        cursor.execute("ANALYZE")
