"""A real MariaDB, from Debian's package `mariadb-server`, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
from sqlalchemy.engine import make_url

from tests.servers.absent import absent


def require() -> None:
    """End the test where the server is not installed, as `absent` says; pip has none."""
    if _program("mariadbd") is None or _program("mariadb-install-db") is None:
        absent("MariaDB", "mariadb-server")


@dataclass(kw_only=True)
class MariadbServer:
    """``folder`` becomes its data folder. ``options`` are the server's own, as in ``--sql-mode=ANSI``."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Make the data folder if need be, start, and wait until it answers."""
        if not self.folder.exists():
            self._make()
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = int(probe.getsockname()[1])
        words = [
            *self._program(),
            "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder / 'sock'}",
            f"--pid-file={self.folder / 'pid'}", f"--log-error={self.folder / 'error.log'}", "--skip-name-resolve",
            # a server that starts removes what another one has in a folder that they share
            f"--tmpdir={self.folder}",
            "--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=2", "--character-set-server=utf8mb4",
            *self.options,
        ]  # fmt: skip
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
                return
            except pymysql.err.OperationalError:
                assert self.process.poll() is None, (self.folder / "error.log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)

    def _make(self) -> None:
        user = ("--user=root",) if os.getuid() == 0 else ()
        words = [str(_program("mariadb-install-db")), "--no-defaults", f"--datadir={self.folder}", *user]
        words += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        words.append(f"--tmpdir={self.folder.parent}")  # see `start`
        subprocess.run(words, check=True, capture_output=True)

    def _program(self) -> list[str]:
        user = ["--user=root"] if os.getuid() == 0 else []
        return [str(_program("mariadbd")), "--no-defaults", f"--datadir={self.folder}", *user]

    def _zone_statements(self, file: Path, name: str) -> bytes:
        words = [str(_program("mysql_tzinfo_to_sql")), str(file), name]
        return subprocess.run(words, check=True, capture_output=True).stdout

    def connect(self, database: str | None = None) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A connection in autocommit, as root."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)

    def url(self, database: str) -> str:
        """As retention.yaml would name it."""
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def learn_zones(self, *names: str) -> None:
        """Let it know these time zones by name, as its documentation says."""
        with self.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name FROM time_zone_name")
            known = {name for (name,) in cursor.fetchall()}
        for name in sorted(set(names) - known):
            file = next(path for root in zoneinfo.TZPATH if (path := Path(root, name)).is_file())
            with connect(self.url("mysql")) as connection, connection.cursor() as cursor:
                for statement in self._zone_statements(file, name).decode().split(";\n"):
                    if statement.strip():
                        cursor.execute(statement)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send it the signal, and wait until it is gone; its data stays."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)

    def remove(self) -> None:
        """End it, and remove its data."""
        self.end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def connect(url: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A connection to the database of that URL, in autocommit."""
    parts = make_url(url)
    return pymysql.connect(
        host=parts.host, port=parts.port or 3306, user=parts.username, password=parts.password or "",
        database=parts.database, autocommit=True, charset="utf8mb4",
    )  # fmt: skip


def numbers(last: int | str, *, digits: int = 5) -> str:
    """What to select ``seq`` from, 1 to ``last``, which has no more ``digits``: MySQL has no such tables by itself, as
    MariaDB has."""
    every = f"({' UNION ALL '.join(f'SELECT {one} AS i' for one in range(10))})"
    counted = " + ".join(f"{10**place} * d{place}.i" for place in range(digits))
    of = ", ".join(f"{every} AS d{place}" for place in range(digits))
    return f"(SELECT seq FROM (SELECT 1 + {counted} AS seq FROM {of}) AS counted WHERE seq <= {last}) AS numbers"


def run(url: str, *statements: str) -> None:
    """Run statements, as an application would; names may be in double quotes, as on the other databases."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')")
        for statement in statements:
            cursor.execute(statement)


def rows_of(connection: pymysql.Connection[pymysql.cursors.Cursor]) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every table of the connection's database."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM {table}")
            found[table] = list(cursor.fetchall())
    return found


def put_back(
    connection: pymysql.Connection[pymysql.cursors.Cursor], tables: dict[str, list[tuple[object, ...]]]
) -> None:
    """Let the tables have these rows alone."""
    with connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        for table, rows in tables.items():
            cursor.execute(f"DELETE FROM {table}")
            if rows:
                cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")
