"""What a plan says of a class, and what of it stops a run before the first deletion."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.archive import merkle
from retention.disposition import holding, restore
from retention.disposition.coverage import covered
from retention.disposition.explain import explain
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import EvidenceBroken
from retention.holds.scope import Keys
from retention.ledger.runs import RunState

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
CLASS = "crm.activities"


def test_all_policies_of_a_class_and_what_none_of_them_covers(site: Any) -> None:
    site.fill(3000)
    engine = site.engine()
    plan = make_plan(engine, engine.policies(), AS_OF)
    assert [one.policy for one in plan.policies] == ["sales-records", "service-notes"]
    covered_ids = {i for i in range(1, 3001) if i % 3 == 0 or i % 1000 == 0}
    assert plan.uncovered == {CLASS: 3000 - len(covered_ids)}
    document = plan.to_json()
    assert document["uncovered"] == {CLASS: 3000 - len(covered_ids)}
    notes = plan.policies[1].to_json()
    assert (notes["policy"], notes["due"], notes["cutoff"]) == ("service-notes", len(site.due_ids(3000)), "2026-07-03")
    assert notes["by_tag"] == {"service-note": notes["due"]}
    assert notes["by_month"] == {"2026-01": notes["due"]}
    commented = len([i for i in site.due_ids(3000) if i % 2 == 0])
    assert notes["dependents"] == {"activity_comments": commented, "comment_files": commented}


def test_one_policy_that_is_alone_knows_what_is_uncovered(site: Any) -> None:
    site.fill(300)
    (site.folder / "policies" / "sales-records.yaml").unlink()
    engine = site.engine()
    assert make_plan(engine, engine.policies(), AS_OF).uncovered == {CLASS: 200}


def test_what_never_expires_has_no_cutoff(site: Any) -> None:
    site.fill(300)
    site.policy("service-notes", retain="{for: forever}")
    plan = site.plan()
    assert (plan.cutoff, plan.due, plan.not_expired) == (None, 0, 100)


@pytest.mark.parametrize(
    ("limits", "exceeded"),
    [
        ("{rows: 20}", None),
        ("{rows: 19}", "limit rows 19 allows 19 records, the plan has 20"),
        ("{share: 6.7%}", None),
        ("{share: 6.6%}", "limit share 6.6% allows 19 records, the plan has 20"),
    ],
)
def test_limits_are_tested_before_anything_goes(plain_site: Any, limits: str, exceeded: str | None) -> None:
    plain_site.fill(300)
    plain_site.policy("service-notes", limits=limits)
    engine = plain_site.engine()
    run = begin(engine, engine.project.policies.get("service-notes"), plain_site.plan(), AS_OF)
    assert (run.state, run.reason) == (
        (RunState.RUNNING, "started") if exceeded is None else (RunState.REFUSED, exceeded)
    )


def test_a_run_that_is_asked_to_stop_ends_with_the_batch_in_hand(sqlite_site: Any) -> None:
    """One lane, so that it is known which batch is in hand."""
    sqlite_site.fill(20_000)
    engine, stop = sqlite_site.engine(), threading.Event()
    policy = engine.project.policies.get("service-notes")
    run = begin(engine, policy, sqlite_site.plan(), AS_OF)
    result = perform(engine, run, progress=lambda batch: stop.set(), stop=stop)
    assert (result.state, result.batches) == ("running", 1)
    assert result.deleted == 20_000 - len(sqlite_site.ids()) < len(sqlite_site.due_ids(20_000))
    assert sqlite_site.run().run == run.id


def test_holds_that_are_not_what_the_ledger_says_stop_everything(plain_site: Any) -> None:
    plain_site.fill(300)
    placed = holding.place(
        plain_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["15"]
    )
    assert covered(plain_site.engine(), placed.hold) == {CLASS: 1}
    plain_site.control("UPDATE hold_key SET key = '[\"16\"]'")
    with pytest.raises(EvidenceBroken, match="the holds are not what the ledger says"):
        plain_site.run()
    assert len(plain_site.ids()) == 300


def test_a_hold_that_covers_nothing_today(plain_site: Any) -> None:
    placed = holding.place(
        plain_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["15"]
    )
    assert covered(plain_site.engine(), placed.hold) == {}


def test_a_key_of_several_columns(any_composite: Any) -> None:
    """From the plan to the proof, back into the table, and under a hold."""
    site = any_composite
    before = site.everything()
    assert site.run().deleted == 20
    key = '["2026-01-15", 30]' if site.dialect == "postgresql" else '["x", 30]'
    [one] = explain(site.engine(), CLASS, key, AS_OF).archived
    assert one.inclusion is not None
    assert merkle.check(one.inclusion.leaf, one.inclusion.proof, one.inclusion.merkle_root)
    engine = site.engine()
    [told] = restore.restore(
        engine, restore.choose(engine, run=None, keys=[key], where=(), address=None), reason="audit"
    )
    assert (told.restored, len(site.ids())) == (1, 281)
    assert site.run().deleted == 0
    [told] = restore.restore(
        engine, restore.choose(engine, run=one.run.id, keys=(), where=(), address=None), reason="audit"
    )
    assert (told.restored, told.already_there) == (19, 1)
    assert site.everything() == before
    assert site.findings() == []


@pytest.fixture
def any_composite(plain_site: Any) -> Any:
    """The key's first column is a date on PostgreSQL, and text on SQLite."""
    plain_site.fill(300)
    if plain_site.dialect == "postgresql":
        statements = (
            "ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_pkey, ADD day date",
            "UPDATE activity_logs SET day = created_at::date",
            "ALTER TABLE activity_logs ADD PRIMARY KEY (day, id)",
        )
    else:
        statements = (
            "CREATE TABLE other AS SELECT 'x' AS day, t.* FROM activity_logs t",
            "DROP TABLE activity_logs",
            "CREATE TABLE activity_logs (day VARCHAR(9) NOT NULL, id INTEGER NOT NULL, account_id INTEGER, status TEXT,"
            " amount NUMERIC(12,2), note TEXT, tags TEXT, created_at DATETIME, closed_at DATETIME, PRIMARY KEY (day, id))",
            "INSERT INTO activity_logs SELECT * FROM other",
            "DROP TABLE other",
        )
    plain_site.run_sql(plain_site.url, *statements)
    config = plain_site.config
    config.write_text(config.read_text().replace("key: id", "key: [day, id]"))
    return plain_site


@pytest.mark.parametrize(
    ("kind", "made", "key"),
    [
        ("timestamptz", "'2026-01-01 00:00:00.5Z'::timestamptz + id * interval '1 second'", "2026-01-01 00:00:30.5+00"),
        ("uuid", "lpad(to_hex(id), 32, '0')::uuid", "0000000000000000000000000000001E"),
        ("numeric(10,2)", "id", "30.00"),
        ("bytea", "decode(lpad(to_hex(id), 4, '0'), 'hex')", "\\x001e"),
        ("varchar(9)", "'n' || id", "n30"),
    ],
)
def test_keys_of_postgresql_of_many_types(postgresql_site: Any, kind: str, made: str, key: str) -> None:
    site = postgresql_site
    site.fill(300)
    site.run_sql(
        site.url,
        f"ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_pkey, ADD pk {kind}",
        f"UPDATE activity_logs SET pk = {made}",
        "ALTER TABLE activity_logs ADD PRIMARY KEY (pk)",
    )
    config = site.config
    config.write_text(config.read_text().replace("key: id", "key: pk"))
    before = site.everything()
    scope = Keys(records=CLASS, count=1)
    kept = holding.place(site.engine(), matter="M-1", reason="court", scope=scope, keys=[key])
    assert site.run().deleted == 19
    site.release_long_ago(kept.hold.id)
    assert site.run().deleted == 1
    [one] = explain(site.engine(), CLASS, key, AS_OF).archived
    assert one.values is not None and one.values["id"] == 30
    engine = site.engine()
    restore.restore(engine, restore.choose(engine, run=None, keys=[key], where=(), address=None), reason="audit")
    [(run,)] = site.asked("SELECT DISTINCT run_id FROM batch WHERE rows = 1")
    [told] = restore.restore(engine, restore.choose(engine, run=run, keys=(), where=(), address=None), reason="audit")
    assert (told.restored, told.already_there) == (0, 1)
    [other] = [row[0] for row in site.asked("SELECT DISTINCT run_id FROM batch") if row[0] != run]
    restore.restore(engine, restore.choose(engine, run=other, keys=(), where=(), address=None), reason="audit")
    assert site.everything() == before
    assert site.findings() == []
