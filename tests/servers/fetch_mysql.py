"""Fetches a real MySQL for the tests. Debian's stable release has none; its unstable one has `mysql-server-core`.

`python3 tests/servers/fetch_mysql.py` brings that, and the libraries that it wants, into a folder of this user's, by Debian's own
tools and signatures, from where this machine has its other packages. It installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGE = "mysql-server-core"

#: what was unpacked: programs, libraries, and a program loader of their own, for they are newer than the machine's
ROOT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "retention-tests" / "mysql"
SERVER = ROOT / "usr" / "sbin" / "mysqld"


def fetch() -> None:
    """Fetch it, if it is not there. Raises CalledProcessError where a tool fails, which says why itself."""
    if SERVER.exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    apt = ROOT.parent / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()  # nothing is installed there: every library comes along
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"], check=True, capture_output=True, text=True
    )
    place = next(line.split()[1] for line in told.stdout.splitlines() if line.startswith("Debian http"))
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={keys}] {place} unstable main\n")
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status", "Dir::Cache": apt, "Debug::NoLocking": 1, "APT::Sandbox::User": "root",
    }  # fmt: skip
    words = ["apt-get", "--quiet", "--yes", *(word for key, one in settings.items() for word in ("-o", f"{key}={one}"))]
    subprocess.run([*words, "update"], check=True)
    subprocess.run([*words, "install", "--no-install-recommends", "--download-only", PACKAGE], check=True)
    unpacked = ROOT.with_suffix(".unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in sorted((apt / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(unpacked)], check=True)
    unpacked.rename(ROOT)
    shutil.rmtree(apt)


if __name__ == "__main__":
    fetch()
