"""Partitioned tables are classes like others, each row once; what is no table of records is refused, with what to declare."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retention.disposition import holding, restore
from retention.disposition.engine import Engine
from retention.disposition.explain import explain
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import PolicyFilesError, RetentionError, SchemaUnsafe, SourceFailed
from retention.holds.scope import Keys
from retention.sources.rights import Need, lacks
from tests.integration.disposition.conftest import AS_OF, FILL, TABLES

ROWS = 120

#: the same columns, in partitions; the second has partitions of its own
PARTITIONED = (
    TABLES["postgresql"][0] + " PARTITION BY RANGE (id)",
    "CREATE TABLE logs_1 PARTITION OF activity_logs FOR VALUES FROM (MINVALUE) TO (40)",
    "CREATE TABLE logs_2 PARTITION OF activity_logs FOR VALUES FROM (40) TO (80) PARTITION BY LIST (id)",
    "CREATE TABLE logs_2_rest PARTITION OF logs_2 DEFAULT",
    "CREATE TABLE logs_2_45 PARTITION OF logs_2 FOR VALUES IN (45)",
    "CREATE TABLE logs_3 PARTITION OF activity_logs FOR VALUES FROM (80) TO (10000)",
)


@pytest.fixture(params=["dependents", "plain"])
def parted(
    request: pytest.FixtureRequest,
    make_site: Callable[..., Any],
    tmp_path: Path,
    postgres_url: str,
    run_sql: Callable[..., None],
) -> Any:
    """The site with its records in partitions, and comments on them in partitions too, or without comments."""
    comments = request.param == "dependents"
    site = make_site(tmp_path, postgres_url, run_sql, comments=comments)
    dropped = ("DROP TABLE comment_files", "DROP TABLE activity_comments") if comments else ()
    run_sql(postgres_url, *dropped, "DROP TABLE activity_logs", *PARTITIONED)
    if comments:
        run_sql(
            postgres_url,
            TABLES["postgresql"][1] + " PARTITION BY HASH (id)",
            "CREATE TABLE comments_0 PARTITION OF activity_comments FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
            "CREATE TABLE comments_1 PARTITION OF activity_comments FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            TABLES["postgresql"][3],
        )
    site.fill(ROWS)
    return site


@pytest.mark.every_server
def test_each_row_of_a_partitioned_table_is_archived_and_restored_once(parted: Any) -> None:
    before, due = parted.everything(), parted.due_ids(ROWS)
    assert {i // 40 for i in due} >= {0, 1, 2} and 45 in due  # of every partition
    assert parted.plan().due == len(due)
    assert parted.engine().problems() == []
    result = parted.run()
    assert result.deleted == len(due)
    assert parted.ids() == set(range(1, ROWS + 1)) - due
    assert parted.archived() == dict.fromkeys(due, 1)
    assert parted.findings() == []
    choice = restore.choose(parted.engine(), run=result.run, keys=(), where=(), address=None)
    restore.restore(parted.engine(), choice, reason="asked for")
    assert parted.everything() == before
    assert parted.rows("SELECT count(*) FROM logs_2_45") == [(1,)]


@pytest.mark.every_server
def test_the_server_counts_what_was_deleted_in_every_partition(parted: Any) -> None:
    source = parted.engine().source("crm")
    table = source.table("activity_logs")
    session = source.session()
    try:
        session.begin(write=True)
        session.execute("DELETE FROM activity_logs WHERE id IN (1, 45, 46, 100)" if not parted.comments else "SELECT 1")
        assert session.deleted_in_transaction(table) == (0 if parted.comments else 4)
    finally:
        session.close()


@pytest.mark.parametrize("how", ["ATTACH", "DETACH"])
@pytest.mark.every_server
def test_a_partition_that_comes_or_goes_between_plan_and_batch_stops_it(parted: Any, how: str) -> None:
    engine: Engine = parted.engine()
    policy = engine.project.policies.get("service-notes")
    run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
    if how == "ATTACH":
        made = "CREATE TABLE logs_9 (LIKE activity_logs INCLUDING ALL)"
        filled = (
            FILL["postgresql"][0]
            .format(rows=ROWS)
            .replace("INTO activity_logs SELECT i", "INTO logs_9 SELECT i + 20000")
        )
        change = "ALTER TABLE activity_logs ATTACH PARTITION logs_9 FOR VALUES FROM (20000) TO (30000)"
        parted.run_sql(parted.url, made, filled, change)
        there = 2 * ROWS
    elif parted.comments:  # the database itself keeps a partition that others refer to
        with pytest.raises(Exception, match="violates foreign key constraint"):
            parted.run_sql(parted.url, "ALTER TABLE activity_logs DETACH PARTITION logs_3")
        return
    else:
        parted.run_sql(parted.url, "ALTER TABLE activity_logs DETACH PARTITION logs_3")
        there = 79
    with pytest.raises(SchemaUnsafe, match=r"what the database does by itself to .* changed"):
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert len(parted.ids()) == there
    due = parted.due_ids(ROWS)
    due = due | {i + 20000 for i in due} if how == "ATTACH" else {i for i in due if i < 80}
    parted.run()  # the next one works on the table as it is
    assert parted.archived() == dict.fromkeys(due, 1)
    assert len(parted.ids()) == there - len(due)


def test_a_partition_is_no_table_of_its_own(parted: Any) -> None:
    text = parted.config.read_text()
    classes = text[text.index("      activities:") : text.index("archives:")]
    second = classes.replace("activities:", "first:").replace("table: activity_logs", "table: logs_1")
    parted.config.write_text(
        text.replace("archives:", f"{second.partition('        dependents')[0].rstrip()}\narchives:")
    )
    problems = [str(one) for one in parted.engine().problems()]
    assert any(
        "crm.first: the table logs_1 is a partition, declare activity_logs, of which it is a part" in one
        for one in problems
    ), problems
    with pytest.raises(SchemaUnsafe, match="logs_1 is a partition"):
        parted.run()  # holds on the one might mean records of the other
    assert len(parted.ids()) == ROWS


@pytest.mark.every_server
def test_what_acts_on_one_partition_alone_is_seen(parted: Any) -> None:
    parted.run_sql(
        parted.url,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE TRIGGER cleaner BEFORE DELETE ON logs_2_45 FOR EACH ROW EXECUTE FUNCTION f()",
    )
    with pytest.raises(SchemaUnsafe, match="a trigger that fires on deletion, cleaner"):
        parted.plan()
    parted.run_sql(
        parted.url,
        "DROP TRIGGER cleaner ON logs_2_45",
        "CREATE TABLE marks (id BIGINT PRIMARY KEY, log_id BIGINT REFERENCES logs_1 (id) ON DELETE CASCADE)",
    )
    with pytest.raises(SchemaUnsafe, match=r"marks \(log_id\) refers to it, ON DELETE CASCADE, and is not declared"):
        parted.plan()


def test_a_record_whose_partition_is_gone_is_not_restored_and_the_partition_is_asked_for(parted: Any) -> None:
    parted.run()
    if parted.comments:
        parted.run_sql(parted.url, "DELETE FROM comment_files", "DELETE FROM activity_comments")
    parted.run_sql(parted.url, "ALTER TABLE activity_logs DETACH PARTITION logs_1", "DROP TABLE logs_1")
    choice = restore.choose(parted.engine(), run=None, keys=("15",), where=(), address=None)
    with pytest.raises(SourceFailed, match=r"no partition of relation .* found for row") as caught:
        restore.restore(parted.engine(), choice, reason="asked for")
    assert "create the partition" in caught.value.hint


def test_the_right_to_the_table_is_enough(parted: Any) -> None:
    """Rights on partitions are not asked for: the database asks for those on the table that is named."""
    bound = parted.engine().bound("crm.activities")
    assert lacks(bound.source, bound.tables, Need.READ, Need.DELETE, Need.INSERT) == []


BY_MONTH = (
    "DROP TABLE activity_logs",
    "CREATE TABLE activity_logs (id BIGINT, account_id INT, status TEXT, amount NUMERIC(12,2), note TEXT, tags TEXT[],"
    " created_at TIMESTAMPTZ, closed_at TIMESTAMPTZ, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)",
    "CREATE TABLE logs_2026_01 PARTITION OF activity_logs FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')",
    "CREATE TABLE logs_rest PARTITION OF activity_logs DEFAULT",
)


def test_partitions_by_month_with_the_clock_in_the_key(postgresql_site: Any) -> None:
    """The usual way: the database asks for the month's column in every unique key."""
    site = postgresql_site
    site.run_sql(site.url, *BY_MONTH)
    site.fill(ROWS)
    site.config.write_text(site.config.read_text().replace("key: id", "key: [id, created_at]"))
    before, due = site.everything(), site.due_ids(ROWS)
    key = '[15,"2026-01-15 10:00:00+00"]'
    engine = site.engine()
    hold = holding.place(
        engine, matter="2026-1", reason="court", scope=Keys(records="crm.activities", count=1), keys=[key]
    )
    assert not hold.unconfirmed
    assert (site.plan().due, site.plan().held) == (len(due) - 1, 1)
    result = site.run()
    assert site.ids() == set(range(1, ROWS + 1)) - due | {15}
    told = explain(site.engine(), "crm.activities", '[30,"2026-01-15 10:00:00+00"]', AS_OF)
    assert told.outcome.startswith("It was archived and deleted"), told.outcome
    choice = restore.choose(site.engine(), run=result.run, keys=(), where=(), address=None)
    restore.restore(site.engine(), choice, reason="asked for")
    assert site.everything() == before


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "view": (
        ("ALTER TABLE activity_logs RENAME TO real", "CREATE VIEW activity_logs AS SELECT * FROM real"),
        '"activity_logs" is a view',
        "name the table that holds the records",
    ),
    "materialized view": (
        ("ALTER TABLE activity_logs RENAME TO real", "CREATE MATERIALIZED VIEW activity_logs AS SELECT * FROM real"),
        '"activity_logs" is a materialized view',
        "name the table that holds the records",
    ),
    "foreign table": (
        (
            "ALTER TABLE activity_logs RENAME TO real",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE SERVER s FOREIGN DATA WRAPPER w",
            "CREATE FOREIGN TABLE activity_logs (id BIGINT NOT NULL, created_at TIMESTAMPTZ, tags TEXT[]) SERVER s",
        ),
        "neither the primary key",
        "give the table a primary key",
    ),
    "foreign partition": (
        (
            "DROP TABLE activity_logs",
            TABLES["postgresql"][0].replace(" PRIMARY KEY", "") + " PARTITION BY RANGE (id)",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE SERVER s FOREIGN DATA WRAPPER w",
            "CREATE FOREIGN TABLE far PARTITION OF activity_logs FOR VALUES FROM (1) TO (1000) SERVER s",
        ),
        "neither the primary key",
        "give the table a primary key",
    ),
    "inheritance": (
        ("CREATE TABLE more () INHERITS (activity_logs)",),
        "the table activity_logs is a table with inheriting tables",
        "declare the tables that inherit from it",
    ),
    "no key": (
        ("ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_pkey",),
        '"id" is neither the primary key of activity_logs nor unique',
        "give the table a primary key",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_table_of_records_is_refused_with_what_to_declare(postgresql_site: Any, what: str) -> None:
    statements, message, remedy = REFUSED[what]
    postgresql_site.run_sql(postgresql_site.url, *statements)
    with pytest.raises((PolicyFilesError, SchemaUnsafe)) as caught:
        postgresql_site.plan()
    assert message in str(caught.value) and remedy in str(caught.value)


def test_a_foreign_table_that_claims_a_key_is_refused_as_such(postgresql_site: Any) -> None:
    """A partitioned table with a key takes no foreign partition, and a foreign table has no key: as a dependent it is seen."""
    site = postgresql_site
    site.run_sql(
        site.url,
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE activity_comments (id BIGINT, activity_id BIGINT) SERVER s",
        "CREATE TABLE parts (id BIGINT, activity_id BIGINT) PARTITION BY LIST (id)",
        "CREATE FOREIGN TABLE far PARTITION OF parts DEFAULT SERVER s",
        "CREATE VIEW seen AS SELECT id, id AS activity_id FROM activity_logs",
    )
    for name, said in (
        ("activity_comments", "the dependent activity_comments is a foreign table"),
        ("parts", "the dependent parts is a table with a foreign partition"),
        ("seen", "the dependent seen is a view"),
    ):
        text = site.config.read_text()
        declared = f"        dependents:\n          {name}: {{key: activity_id}}\narchives:"
        site.config.write_text(text.replace("archives:", declared))
        with pytest.raises(RetentionError, match=said):
            site.plan()
        site.config.write_text(text)


def test_a_table_that_inherits_is_a_table_of_its_own(postgresql_site: Any) -> None:
    site = postgresql_site
    site.run_sql(
        site.url,
        "ALTER TABLE activity_logs RENAME TO every_log",
        "CREATE TABLE activity_logs (PRIMARY KEY (id)) INHERITS (every_log)",
    )
    site.fill(ROWS)
    site.run_sql(site.url, "INSERT INTO every_log SELECT * FROM ONLY activity_logs")
    site.run()
    assert site.ids() == set(range(1, ROWS + 1)) - site.due_ids(ROWS)
    assert site.rows("SELECT count(*) FROM ONLY every_log") == [(ROWS,)]


def test_a_unique_index_without_nulls_is_a_key_where_it_is_declared(plain_site: Any) -> None:
    kind = {"sqlite": "TEXT", "postgresql": "TIMESTAMPTZ", "mysql": "DATETIME(6)"}[plain_site.dialect]
    tags = {"sqlite": "TEXT", "postgresql": "TEXT[]", "mysql": "JSON"}[plain_site.dialect]
    plain_site.run_sql(
        plain_site.url,
        "DROP TABLE activity_logs",
        "CREATE TABLE activity_logs (id BIGINT NOT NULL, account_id INT, status TEXT, amount NUMERIC(12,2), note TEXT,"
        f" tags {tags}, created_at {kind}, closed_at {kind})",
    )
    plain_site.fill(ROWS)
    with pytest.raises(PolicyFilesError, match="neither the primary key of activity_logs nor unique"):
        plain_site.plan()
    plain_site.run_sql(plain_site.url, "CREATE UNIQUE INDEX one ON activity_logs (id)")
    before = plain_site.everything()
    result = plain_site.run()
    assert plain_site.ids() == set(range(1, ROWS + 1)) - plain_site.due_ids(ROWS)
    choice = restore.choose(plain_site.engine(), run=result.run, keys=(), where=(), address=None)
    restore.restore(plain_site.engine(), choice, reason="asked for")
    assert plain_site.everything() == before
