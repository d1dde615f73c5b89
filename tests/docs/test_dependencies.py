"""Each dependency has its reason in docs/dependencies.md, and its exact version in the lock files."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.integration.disposition.conftest import THINGS, THINGS_POLICY

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def plain(requirement: str) -> str:
    """The package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def locked(name: str) -> dict[str, tuple[int, ...]]:
    """Package -> version of a lock file."""
    pins = re.findall(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==([0-9]+(?:\.[0-9]+)*)\S* \\$",
        (ROOT / name).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {plain(package): tuple(int(part) for part in version.split(".")) for package, version in pins}


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    rows = re.findall(
        r"^\| ([\w.\[\]-]+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(encoding="utf-8"), re.M
    )
    reasons = {plain(package): reason for package, reason in rows if package not in ("package", "---")}
    declared = {plain(requirement) for requirement in [*RUNTIME, *(one for extra in EXTRAS.values() for one in extra)]}
    assert set(reasons) == declared
    assert all(len(reason) > 10 for reason in reasons.values())


@pytest.mark.parametrize(
    ("name", "requirements"),
    [("requirements.lock", RUNTIME), ("requirements-test.lock", [*RUNTIME, *EXTRAS["test"], *EXTRAS["postgres-demo"]])],
)
def test_the_lock_files_pin_what_the_project_asks_for(name: str, requirements: list[str]) -> None:
    pins = locked(name)
    for requirement in requirements:
        least = re.search(r">=([0-9.]+)", requirement)
        assert least is not None, requirement
        assert pins[plain(requirement)] >= tuple(int(part) for part in least[1].split(".")), requirement


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_a_lock_file_names_the_extras_that_its_packages_ask_for(name: str) -> None:
    """pip before 23.3 takes the newest `coverage` for `coverage[toml]`, whatever is pinned without the extra, and with
    hashes refuses it: the installation fails from the day on which there is a newer release."""
    text = (ROOT / name).read_text(encoding="utf-8")
    named = {
        (plain(package), extra)
        for package, extras in re.findall(r"^([\w.-]+)\[([\w,-]+)\]==", text, re.MULTILINE)
        for extra in extras.split(",")
    }
    installed = {plain(one.name) for one in importlib.metadata.distributions()}
    asked = {
        (plain(wanted.name), extra)
        for package in locked(name).keys() & installed
        for wanted in map(Requirement, importlib.metadata.requires(package) or ())
        for extra in wanted.extras
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    }
    assert asked <= named


def test_both_lock_files_name_the_same_versions() -> None:
    runtime, test = locked("requirements.lock"), locked("requirements-test.lock")
    assert {package: test.get(package) for package in runtime} == runtime


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_a_lock_file_has_hashes_for_all_and_names_no_host_or_folder(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [number for number, line in enumerate(lines) if "==" in line]
    assert len(pins) > 15
    assert all(lines[number + 1].startswith("    --hash=sha256:") for number in pins)
    allowed = re.compile(r"#.*|[\w.-]+(?:\[[\w,-]+\])?==\S+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not allowed.fullmatch(line)] == []
    assert [line for line in lines if "://" in line or " /" in line] == []


#: imports everything that the program may, as if nothing were installed but what the lock file given to it names
ALONE = """
import importlib, importlib.metadata, pkgutil, sys
allowed = set(sys.argv[1:])

def plain(name):
    return name.lower().replace("_", "-").replace(".", "-")

owners = importlib.metadata.packages_distributions()

class Nothing:
    def find_spec(self, name, path=None, target=None):
        found = owners.get(name.partition(".")[0])
        if found and not allowed & set(map(plain, found)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
import retention
for module in pkgutil.walk_packages(retention.__path__, "retention."):
    if not module.name.endswith("__main__") and ".migrations." not in module.name:
        importlib.import_module(module.name)
from kombu.transport import TRANSPORT_ALIASES
for scheme in ("redis", "rediss", "memory"):
    importlib.import_module(TRANSPORT_ALIASES[scheme].partition(":")[0])
import worker, beat_schedule, celery.bin.celery, celery.apps.worker, celery.apps.beat, celery.concurrency.prefork
print("all of it")
"""


def test_the_program_imports_nothing_but_what_its_lock_file_names(tmp_path: Path) -> None:
    """The tests have more installed: what only they have is missed on the first day of an installation, by Celery's
    transport for Redis for instance."""
    project = tmp_path / "retention.yaml"
    things = THINGS.format(folder=tmp_path, url="sqlite:///crm.db", key="id", clock="at", dependents="")
    project.write_text(f"broker: redis://127.0.0.1:1/0\n{things}")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/things.yaml").write_text(THINGS_POLICY)
    names = [*locked("requirements.lock"), "retention"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *names],
        cwd=ROOT,
        env={**os.environ, "RETENTION_CONFIG": str(project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.endswith("all of it\n"), done.stderr[-2000:]
