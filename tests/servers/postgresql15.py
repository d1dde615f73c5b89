"""A real PostgreSQL 15, the oldest that is taken, from Debian's package `postgresql-15`, on a unix socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.servers.absent import absent

#: where Debian has each version's programs
PROGRAMS = Path("/usr/lib/postgresql/15/bin")


def require() -> None:
    """End the test where the server is not installed, as `absent` says; pip has none of this version."""
    if not ((PROGRAMS / "postgres").exists() and (PROGRAMS / "initdb").exists()):
        absent("PostgreSQL 15", "postgresql-15")


@dataclass(kw_only=True)
class Postgresql15Server:
    """``folder`` has its data and its socket. Its path is short: a socket's path may have 107 bytes at most."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Make the data folder, start, and wait until it answers."""
        # PostgreSQL refuses to run as root; the package made this user for it
        user = "postgres" if os.getuid() == 0 else None
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = self.folder / "data"
        words = [
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username=postgres",
            "--no-sync",
            "-D",
            str(data),
        ]
        subprocess.run([str(PROGRAMS / "initdb"), *words], user=user, cwd="/", check=True, capture_output=True)
        # as with the other PostgreSQL, no test pulls the plug of the machine
        options = [word for name in ("fsync", "full_page_writes") for word in ("-c", f"{name}=off")]
        words = ["-D", str(data), "-k", str(self.folder), "-c", "listen_addresses=", *options]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([str(PROGRAMS / "postgres"), *words], user=user, cwd="/", stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL 15 did not start"
                time.sleep(0.05)

    def url(self, database: str) -> str:
        """As retention.yaml would name it."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def remove(self) -> None:
        """End it, and remove its data."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)  # at once, and its children with it
            self.process.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)
