"""A real MySQL, on loopback, in a folder of its own; `fetch_mysql.py` says where it is from."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers import mariadb
from tests.servers.absent import absent
from tests.servers.fetch_mysql import PACKAGE, ROOT, SERVER
from tests.servers.mariadb import MariadbServer

#: names are not looked up, and the user that the server makes is that of `localhost`
_ROOT = "root@'127.0.0.1'"


def require() -> None:
    """End the test where the server was not fetched, as `absent` says; neither pip nor Debian's stable release has it."""
    if not SERVER.exists():
        absent("MySQL", f"{PACKAGE}, which `python3 tests/servers/fetch_mysql.py` brings")


def new(kind: str, folder: Path, options: tuple[str, ...] = ()) -> MariadbServer:
    """A server of that kind, ``mariadb`` or ``mysql``, which is not started yet; the test ends where there is none."""
    (mariadb.require if kind == "mariadb" else require)()
    return (MariadbServer if kind == "mariadb" else MysqlServer)(folder=folder, options=options)


@dataclass(kw_only=True)
class MysqlServer(MariadbServer):
    """As MariaDB's."""

    def _make(self) -> None:
        users = self.folder.with_suffix(".sql")
        users.write_text(f"CREATE USER {_ROOT}; GRANT ALL ON *.* TO {_ROOT} WITH GRANT OPTION;\n")
        words = [*self._program(), "--initialize-insecure", f"--init-file={users}", f"--tmpdir={self.folder.parent}"]
        # how names are kept is fixed with the data folder
        words += [one for one in self.options if one.startswith("--lower-case-table-names")]
        subprocess.run(words, check=True, capture_output=True)
        users.unlink()

    def _program(self) -> list[str]:
        return [
            *_loaded(SERVER), "--no-defaults", f"--basedir={ROOT / 'usr'}", f"--datadir={self.folder}",
            *(["--user=root"] if os.getuid() == 0 else []),
            "--mysqlx=OFF", "--secure-file-priv=", "--skip-log-bin", "--performance-schema=OFF",
        ]  # fmt: skip

    def _zone_statements(self, file: Path, name: str) -> bytes:
        words = [*_loaded(ROOT / "usr" / "bin" / "mysql_tzinfo_to_sql"), str(file), name]
        return subprocess.run(words, check=True, capture_output=True).stdout


def _loaded(program: Path) -> list[str]:
    [loader] = ROOT.glob("usr/lib/*/ld-linux*.so.*")
    return [str(loader), "--library-path", str(loader.parent), str(program)]
