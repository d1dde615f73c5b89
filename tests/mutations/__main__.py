"""Take each protection out, one at a time, and see the test fail that is there for it: `python -m tests.mutations`.

The mutations are applied to copies of the tree, two at a time; nothing here changes the tree itself. Names of mutations or
promises as arguments run those alone; ``--list`` only lists, ``--one`` runs one at a time. The exit status is 1 where a
mutation survived its test, or no longer applies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

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


def timed(mutation: Mutation, trees: Queue[Path]) -> tuple[Mutation, bool, str, float]:
    """`caught`, in whichever copy is free, and how many seconds it took."""
    tree = trees.get()
    started = time.monotonic()
    try:
        found, line = caught(mutation, tree)
    except ValueError as error:
        found, line = False, str(error)
    finally:
        trees.put(tree)
    return mutation, found, line, time.monotonic() - started


def main(words: list[str]) -> int:
    """Run the named mutations, or all."""
    names = [word for word in words if not word.startswith("--")]
    chosen = [one for one in MUTATIONS if not names or one.name in names or one.promise in names]
    if "--list" in words:
        for one in MUTATIONS:
            print(f"{one.promise}  {one.name:<52} {one.test}")
        return 0
    if not chosen:
        print(f"no mutation is named {', '.join(names)}: see --list")
        return 2
    began, survived = time.monotonic(), 0
    at_once = 1 if "--one" in words else 2
    with tempfile.TemporaryDirectory(prefix="retention-mutations-") as folder, ThreadPoolExecutor(at_once) as pool:
        trees: Queue[Path] = Queue()
        for number in range(at_once):
            tree = Path(folder) / f"tree-{number}"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.db", "archive-*"))
            trees.put(tree)
        for one, found, line, seconds in pool.map(lambda one: timed(one, trees), chosen):
            print(f"{one.promise}  {'caught  ' if found else 'SURVIVED'}  {one.name} ({seconds:.0f} s)")
            print(f"    {line[:150]}", flush=True)
            survived += not found
    minutes = (time.monotonic() - began) / 60
    print(f"{len(chosen) - survived} of {len(chosen)} mutations were caught, in {minutes:.0f} minutes.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
