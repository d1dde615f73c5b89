"""Take each protection out, one at a time, and see the test fail that is there for it: `python -m tests.mutations`.

The mutations are applied to a copy of the tree; nothing here changes the tree itself. Names as arguments run those alone;
``--list`` only lists. The exit status is 1 where a mutation survived its test, or no longer applies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


def applied(mutation: Mutation, tree: Path) -> None:
    """Change the copy. Raises ValueError where the text is not there exactly once."""
    path = tree / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: its text stands {text.count(mutation.old)} times in {mutation.file}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def caught(mutation: Mutation, tree: Path) -> tuple[bool, str]:
    """Whether the mutation's test fails on the changed copy, and the line that says so."""
    changed = tree / mutation.file
    before = changed.read_text(encoding="utf-8")
    applied(mutation, tree)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "0", "-x", "-p", "no:cacheprovider", mutation.test],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, "its test did not end within ten minutes"
    finally:
        changed.write_text(before, encoding="utf-8")
    failures = [line for line in done.stdout.splitlines() if re.match("FAILED|ERROR", line)]
    # 1: tests failed; anything else (2 to 5) means that they did not even run
    return done.returncode == 1 and bool(failures), (failures or done.stdout.splitlines() or ["nothing"])[-1]


def main(words: list[str]) -> int:
    """Run the named mutations, or all."""
    chosen = [one for one in MUTATIONS if not words or one.name in words or one.promise in words]
    if words == ["--list"]:
        for one in MUTATIONS:
            print(f"{one.promise}  {one.name:<36} {one.test}")
        return 0
    survived = []
    with tempfile.TemporaryDirectory(prefix="retention-mutations-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.db", "archive-*"))
        for one in chosen:
            started = time.monotonic()
            found, line = caught(one, tree)
            print(
                f"{one.promise}  {'caught  ' if found else 'SURVIVED'}  {one.name} ({time.monotonic() - started:.0f} s)"
            )
            print(f"    {line[:150]}", flush=True)
            if not found:
                survived.append(one.name)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mutations were caught.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
