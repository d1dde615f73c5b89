"""A table that changes between runs, and between archive and restore: what is archived stays readable, and nothing is guessed."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow.parquet as pq
import pytest

from retention.disposition import restore
from retention.disposition.archived_schemas import schema_versions
from retention.errors import Failed, PolicyFilesError
from tests.integration.disposition.conftest import FILL

ROWS = 60


def again(site: Any, first: int) -> None:
    """As many records more, with ids from ``first`` on, in the columns that there were at first."""
    names = "id, account_id, status, amount, note, tags, created_at, closed_at"
    site.run_sql(site.url, later(site, first, names))


def later(site: Any, first: int, names: str) -> str:
    fill = FILL[site.dialect][0].format(rows=ROWS)
    return re.sub(r"INTO activity_logs SELECT (i|seq),", rf"INTO activity_logs ({names}) SELECT \1 + {first},", fill)


def retyped(site: Any) -> list[str]:
    """The column amount becomes text, as each database does it."""
    if site.dialect == "postgresql":
        return ["ALTER TABLE activity_logs ALTER amount TYPE text"]
    if site.dialect == "mysql":
        return ["ALTER TABLE activity_logs MODIFY amount TEXT"]
    return [
        "ALTER TABLE activity_logs RENAME COLUMN amount TO old_amount",
        "ALTER TABLE activity_logs ADD COLUMN amount TEXT",
        "UPDATE activity_logs SET amount = CAST(old_amount AS TEXT)",
        "ALTER TABLE activity_logs DROP COLUMN old_amount",
    ]


def back(site: Any, run: str) -> list[restore.Restored]:
    engine = site.engine()
    choice = restore.choose(engine, run=run, keys=(), where=(), address=None)
    return restore.restore(engine, choice, reason="asked for")


def test_columns_come_go_and_change_from_run_to_run(plain_site: Any) -> None:
    site = plain_site
    site.fill(ROWS)
    first = site.run().run
    site.run_sql(site.url, "ALTER TABLE activity_logs ADD COLUMN extra TEXT DEFAULT ('new')")
    again(site, 1000)
    second = site.run().run
    site.run_sql(site.url, *retyped(site))
    again(site, 2000)
    third = site.run().run
    site.run_sql(site.url, "ALTER TABLE activity_logs DROP COLUMN extra")
    again(site, 3000)
    site.run()
    due = {i + n for i in site.due_ids(ROWS) for n in (0, 1000, 2000, 3000)}
    assert site.archived() == dict.fromkeys(due, 1)
    assert site.findings() == []  # each file is read by its own columns
    kinds = {
        "sqlite": ("NUMERIC(12,2)", "TEXT"),
        "postgresql": ("numeric(12,2)", "text"),
        "mysql": ("decimal(12,2)", "text"),
    }
    numeric, text = kinds[site.dialect]
    versions = schema_versions(site.engine())
    assert [one.version for one in versions] == [1, 2, 3, 4]
    assert [dict(one.added) for one in versions] == [{}, {"extra": text}, {}, {}]
    assert [dict(one.dropped) for one in versions] == [{}, {}, {}, {"extra": text}]
    assert [dict(one.retyped) for one in versions] == [{}, {}, {"amount": (numeric, text)}, {}]
    assert [one.rows for one in versions] == [len(site.due_ids(ROWS))] * 4
    for path in site.folder.rglob("*.parquet"):  # and by anybody else
        assert pq.read_table(path).num_rows
    for run, unplaced in ((first, ()), (second, ("extra",)), (third, ("extra",))):
        if site.dialect == "sqlite" and run != third:  # a number is no text there, even of the same digits
            with pytest.raises(Failed, match="reads back differently") as caught:
                back(site, run)
            assert "amount was NUMERIC(12,2) when it was archived, and is TEXT" in caught.value.hint
            continue
        [told] = back(site, run)
        assert (told.restored, told.unplaced) == (len(site.due_ids(ROWS)), unplaced)


def test_what_went_without_an_archive_has_no_version(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.policy("service-notes", archive="none", mandate="Data minimisation")
    assert plain_site.run().deleted
    assert schema_versions(plain_site.engine()) == []


def test_the_versions_are_listed_in_text_and_json(site: Any) -> None:
    assert "Nothing is archived." in site.cli("archive", "list", "--schema").stdout
    site.fill(ROWS)
    site.run()
    site.run_sql(
        site.url, "ALTER TABLE activity_logs ADD COLUMN extra TEXT", "ALTER TABLE activity_logs DROP COLUMN note"
    )
    fill = later(site, 1000, "id, account_id, status, amount, tags, created_at, closed_at")
    site.run_sql(site.url, re.sub(r" 'note ' \|\| i,| concat\('note ', seq\),", "", fill))
    site.run()
    said = site.cli("archive", "list", "--schema").stdout
    assert "activity_logs with crm.activities, version 1: 4 rows in 1 batch" in said
    assert "activity_logs with crm.activities, version 2: 4 rows in 1 batch" in said
    assert "activity_comments with crm.activities, version 1: 2 rows in 2 batches" in said
    assert "  + extra TEXT\n  - note TEXT\n" in said.replace("text", "TEXT")
    found = json.loads(site.cli("archive", "list", "--schema", "--json", "--class", "crm.activities").stdout)
    logs = [one for one in found if one["table"] == "activity_logs"]
    assert [one["version"] for one in logs] == [1, 2]
    assert set(logs[1]["added"]) == {"extra"} and set(logs[1]["dropped"]) == {"note"}
    assert set(logs[0]["columns"]) == {
        "id",
        "account_id",
        "status",
        "amount",
        "note",
        "tags",
        "created_at",
        "closed_at",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE activity_logs DROP COLUMN tags",
        "ALTER TABLE activity_logs DROP COLUMN closed_at",
        "ALTER TABLE activity_logs DROP COLUMN account_id",
        "ALTER TABLE activity_logs RENAME COLUMN status TO state",
    ],
)
def test_a_column_that_something_declared_rests_on_is_missed_before_anything_goes(
    plain_site: Any, statement: str
) -> None:
    """Tags, another policy's clock, a subject, a column that `where` may name: without it a record might go too early."""
    plain_site.fill(ROWS)
    plain_site.run_sql(plain_site.url, statement)
    for attempt in (plain_site.plan, plain_site.run):
        with pytest.raises(PolicyFilesError, match="has no column"):
            attempt()
    assert len(plain_site.ids()) == ROWS


def test_a_column_that_must_have_a_value_and_was_not_archived_stops_the_restore(plain_site: Any) -> None:
    site = plain_site
    site.fill(ROWS)
    run = site.run().run
    site.run_sql(
        site.url, "DELETE FROM activity_logs", "ALTER TABLE activity_logs ADD COLUMN must TEXT NOT NULL DEFAULT ('x')"
    )
    [told] = back(site, run)  # the column's own default fills it
    assert told.restored == len(site.due_ids(ROWS))
    assert site.rows("SELECT DISTINCT must FROM activity_logs") == [("x",)]
