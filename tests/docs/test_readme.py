"""README's two commands are there for people and for CI, each as one line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("mark", "lock", "last"),
    [("try", "requirements.lock", ".venv/bin/retention demo"), ("test", "requirements-test.lock", ".venv/bin/pytest")],
)
def test_a_command_installs_from_the_lock_file_and_does_its_work(mark: str, lock: str, last: str) -> None:
    _, found, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n<!-- {mark} -->\n```console\n$ ")
    assert found
    command, _, after = rest.partition("\n")
    assert after.startswith("```\n")
    assert command.split(" && ") == [
        "python3 -m venv .venv",
        f".venv/bin/pip install --require-hashes -r {lock}",
        ".venv/bin/pip install --no-deps -e .",
        last,
    ]


def test_ci_runs_the_readme_and_is_good_shell() -> None:
    script = ROOT / ".ci" / "run"
    assert "README.md" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)
