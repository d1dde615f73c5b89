"""Databases that others designed, made and filled by their own programs: what is due goes, with all that belongs to it and
nothing else, and comes back equal. On every server that is taken: none of the programs refuses MySQL 9.7.

`pytest -n 0 -m soak tests/acceptance/test_foreign_schemas.py` installs the programs, each into an environment of its own, below
the folder `RETENTION_FOREIGN` if that is set, where the next run finds them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from retention.config import SourceConfig
from retention.sources.open import open_source
from retention.starter_project import propose
from retention.starter_project.render import class_block
from tests.acceptance.foreign.schemas import AIRFLOW, AS_OF, SCHEMAS, Schema

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

pytestmark = [pytest.mark.soak, pytest.mark.every_server]

CONFIG = """\
timezone: UTC
sources:
  site:
    url: "{url}"
    classes:
      records:
{declared}
archives:
  cold: {{url: "file:./archive"}}
"""

POLICY = """\
policy: {name}
title: What the test says
records: site.records
{rule}
archive: {{to: cold, keep: 1 year}}
then: delete
schedule: quarterly
"""

#: table -> how often each row stands in it, a row as text
Dump = Mapping[str, Counter[str]]


@pytest.fixture(scope="session")
def python_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Schema], Path]:
    """The Python of an environment that has the schema's program."""
    folder = Path(os.environ.get("RETENTION_FOREIGN") or tmp_path_factory.mktemp("foreign"))

    def python(schema: Schema) -> Path:
        found = folder / schema.name / "bin" / "python"
        if not found.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder / schema.name)], check=True)
            subprocess.run([str(found), "-m", "pip", "install", "--quiet", *schema.packages], check=True)
        return found

    return python


def filled(schema: Schema, url: str, python: Path, folder: Path) -> None:
    """Let the program make its tables, and records in them."""
    script = Path(__file__).parent / "foreign" / f"fill_{schema.name}.py"
    done = subprocess.run([str(python), str(script), str(folder / "home"), url], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def made(schema: Schema, url: str, folder: Path, at: Callable[[Path], Retention]) -> Retention:
    """A project for that database."""
    (folder / "policies").mkdir(parents=True)
    (folder / "retention.yaml").write_text(CONFIG.format(url=url, declared=schema.declared))
    for number, rule in enumerate(schema.policies):
        name = f"rule-{number}"
        (folder / "policies" / f"{name}.yaml").write_text(POLICY.format(name=name, rule=rule))
    project = at(folder)
    project("control", "upgrade")
    project("validate")
    return project


def asked(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What the database answers."""
    session = open_source(SourceConfig(name="site", url=url, classes={})).session()
    try:
        return session.rows(statement)
    finally:
        session.close()


def dump(url: str) -> Dump:
    """Every row of every table."""
    source = open_source(SourceConfig(name="site", url=url, classes={}))
    quote = source.dialect.identifier_preparer.quote_identifier
    rows: dict[str, Counter[str]] = {}
    for name in source.tables():
        table = source.table(name)
        assert table is not None
        columns = [quote(column.name) for column in table.columns]
        text = {
            "sqlite": " || '|' || ".join(f"quote({column})" for column in columns),
            "postgresql": f"ROW({', '.join(columns)})::text",
            # of a number itself, `hex` is that of the whole number beside it
            "mysql": "concat_ws('|', " + ", ".join(f"coalesce(hex(concat({column})), '-')" for column in columns) + ")",
        }[source.dialect.name]
        rows[name] = Counter(row[0] for row in asked(url, f"SELECT {text} AS r FROM {quote(table.bare_name)}"))
    return rows


def orphans(url: str) -> int:
    """How many rows refer by a foreign key to what is not there."""
    source = open_source(SourceConfig(name="site", url=url, classes={}))
    quote = source.dialect.identifier_preparer.quote_identifier
    found = 0
    for name in source.tables():
        table = source.table(name)
        assert table is not None
        for one in table.referenced_by:
            pairs = list(zip(one.columns, one.parent_columns or table.primary_key, strict=True))
            set_ = " AND ".join(f"c.{quote(child)} IS NOT NULL" for child, _ in pairs)
            same = " AND ".join(f"p.{quote(parent)} = c.{quote(child)}" for child, parent in pairs)
            [(count,)] = asked(
                url,
                f"SELECT count(*) AS n FROM {quote(one.table)} c WHERE {set_}"
                f" AND NOT EXISTS (SELECT 1 FROM {quote(table.bare_name)} p WHERE {same})",
            )
            found += count
    return found


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_what_is_due_goes_whole_and_comes_back_equal(
    schema: Schema, crm_url: str, python_of: Callable[[Schema], Path], tmp_path: Path, at: Callable[[Path], Retention]
) -> None:
    filled(schema, crm_url, python_of(schema), tmp_path)
    due = {row[0] for row in asked(crm_url, f"SELECT id FROM {schema.root} WHERE {schema.due}")}
    count, before = len(due), dump(crm_url)
    project = made(schema, crm_url, tmp_path / "project", at)

    plans = project("plan", "--as-of", AS_OF, "--json").json["policies"]
    assert sum(plan["due"] for plan in plans) == count > 10
    project("run", "--as-of", AS_OF, "--yes")
    assert not due & {row[0] for row in asked(crm_url, f"SELECT id FROM {schema.root}")}
    after = dump(crm_url)
    gone = {name: (before[name] - after[name]).total() for name in before if before[name] != after[name]}
    assert {name: rows for name, rows in gone.items() if name not in schema.some} == {
        schema.root: count,
        **{name: each * count for name, each in schema.gone.items()},
    }
    assert all(0 < gone.get(name, 0) < 3 * count for name in schema.some)
    assert sum((after[name] - before[name]).total() for name in before) == 0
    assert orphans(crm_url) == 0

    project("archive", "verify")
    project("audit", "verify")
    for run in project("runs", "--json").json:
        project("archive", "restore", "--run", run["run"], "--reason", "to compare", "--yes")
    assert dump(crm_url) == before

    # what `retention init` proposes is enough, once its questions are answered
    proposed = made(replace(schema, declared=accepted(schema, crm_url)), crm_url, tmp_path / "proposed", at)
    plans = proposed("plan", "--as-of", AS_OF, "--json").json["policies"]
    assert sum(plan["due"] for plan in plans) == count


def accepted(schema: Schema, url: str) -> str:
    """The class as `retention init` proposes it, every question of a dependent answered by yes, and those of the clock as the
    schema's own declaration does."""
    source = open_source(SourceConfig(name="site", url=url, classes={}))
    [proposed] = [one for one in propose(source).classes if one.table == schema.root]
    lines = [
        line
        for line in class_block(proposed)[1:]
        if not re.match(r" *(# (DECIDE|Note):|created:|unit:|# timezone:)", line)
    ]
    lines = [re.sub(r"^( +)# ", r"\1", line) for line in lines]
    # of rows that name their table themselves only a person knows how
    lines += [
        f"          {declared.replace('...', schema.root)}"
        for note in proposed.notes
        for declared in re.findall(r"add under `dependents`  (.*)", note)
    ]
    clock = yaml.safe_load(schema.declared)
    lines += [f"        {key}: {clock[key]}" for key in ("created", "unit", "timezone") if key in clock]
    return "\n".join(lines) + "\n"


def test_what_airflow_itself_removes(
    crm_url: str, python_of: Callable[[Schema], Path], tmp_path: Path, at: Callable[[Path], Retention]
) -> None:
    """`airflow db clean` keeps the last scheduled run of each DAG too, and takes its task instances by their own age, so that the
    run that stays has lost them; here a run goes whole or stays whole. All else is the same."""
    filled(AIRFLOW, crm_url, python_of(AIRFLOW), tmp_path)
    project = made(AIRFLOW, crm_url, tmp_path / "project", at)
    project("run", "--as-of", AS_OF, "--yes")
    ours = dump(crm_url)
    for run in project("runs", "--json").json:
        project("archive", "restore", "--run", run["run"], "--reason", "to compare", "--yes")
    words = ["db", "clean", "--clean-before-timestamp", "2026-08-01T00:00:00+00:00", "--yes", "--skip-archive"]
    script = Path(__file__).parent / "foreign" / "airflow_command.py"
    done = subprocess.run(
        [str(python_of(AIRFLOW)), str(script), str(tmp_path / "home"), crm_url, *words, "--tables", "dag_run"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = dump(crm_url)
    assert theirs["dag_run"] == ours["dag_run"]
    more = {name: rows.total() for name in ours if (rows := ours[name] - theirs[name])}
    assert more == dict(AIRFLOW.gone)  # those of the one run that stays, and is old
