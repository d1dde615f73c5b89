"""P2: what was deleted comes back, equal by value, and only where nothing else stands by now."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from retention.disposition import holding, restore
from retention.errors import EvidenceBroken, Failed, InputError, NotFound, SourceFailed
from retention.holds.scope import Keys

ROWS = 300
COLUMNS = "account_id, status, amount, note, tags, created_at, closed_at"

#: values that a careless way through Arrow or Parquet would change, beside those that every record has
ODD = {
    "postgresql": [
        "ALTER TABLE activity_logs ADD price numeric, ADD doc jsonb, ADD list int[], ADD grid int[], ADD ref uuid,"
        " ADD raw bytea, ADD moment timestamptz, ADD wall timestamp, ADD day date, ADD cash money, ADD span interval,"
        " ADD net inet, ADD between_ int4range, ADD hour time, ADD hour_there timetz, ADD bits bit varying, ADD real_ real,"
        " ADD double_ double precision, ADD flag boolean, ADD fixed char(6), ADD number oid",
        "UPDATE activity_logs SET price = 12345678901234567890.12345678901234567890, doc = '{\"b\": [1, null, \"ü\"]}',"
        " list = '{1,NULL,3}', grid = '[0:1][2:3]={{1,2},{3,4}}', ref = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',"
        " raw = '\\x00ff27', moment = 'infinity', wall = '-infinity', day = '4713-01-01 BC', cash = -12.34,"
        " span = '1 year 2 mons 3 days 04:05:06.789', net = '10.1.2.3/24', between_ = '[1,5)', hour = '24:00',"
        " hour_there = '10:00+05:30', bits = B'101', real_ = 0.1, double_ = 'NaN', flag = true, fixed = 'ab',"
        " number = 4294967295, note = E'Zürich\\n''quoted'' \"twice\" 日本語 \\\\ ' WHERE id = 15",
        "UPDATE activity_logs SET moment = '2026-01-15 10:00:00.123456+08', wall = '0001-01-01', day = '9999-12-31',"
        " price = 'NaN', double_ = '-Infinity', real_ = '-0', note = '', grid = '{}', amount = -0.10 WHERE id = 30",
        "UPDATE activity_logs SET day = 'infinity', wall = '294276-12-31 23:59:59.999999', account_id = NULL,"
        " status = NULL, amount = NULL, note = NULL WHERE id = 45",
    ],
    "mysql": [
        "ALTER TABLE activity_logs ADD price DECIMAL(65,30), ADD code BIT(64), ADD raw LONGBLOB, ADD fixed BINARY(4),"
        " ADD moment TIMESTAMP(6) NULL, ADD wall DATETIME(6), ADD day DATE, ADD span TIME(6), ADD since YEAR, ADD single FLOAT,"
        " ADD dbl DOUBLE, ADD great BIGINT UNSIGNED, ADD word VARCHAR(20) CHARACTER SET latin1, ADD sign TEXT CHARACTER SET gbk,"
        " ADD mood ENUM('sad','it''s'), ADD moods SET('a','b'), ADD place GEOMETRY,"
        " ADD twice BIGINT AS (id * 2) STORED, ADD thrice BIGINT AS (id * 3) VIRTUAL",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES'",
        "SET time_zone = '+00:00'",
        "UPDATE activity_logs SET price = '-12345678901234567890.000000000000000000000000000001', code = b'1' | 1 << 63,"
        " raw = X'00FF5C27', fixed = X'0A', moment = '1970-01-01 00:00:01', wall = '9999-12-31 23:59:59.999999',"
        " day = '2024-02-29', span = '-838:59:58.999999', since = 2155, single = 0.1, dbl = 5e-324,"
        " great = 18446744073709551615, word = 'é', sign = '中', mood = 'it''s', moods = 'a,b',"
        " place = ST_GeomFromText('POINT(1.5 -2)', 4326),"
        " note = concat('a', CHAR(0 USING utf8mb4), '\\ ''\"% ', CONVERT(X'F09F9880' USING utf8mb4)) WHERE id % 2 = 0",
        "UPDATE activity_logs SET day = '0000-00-00', wall = '2024-02-31 10:00:00', moment = 0, since = 0, span = '00:00:00',"
        " dbl = '-0', single = -3.4e38, note = '', raw = '', great = 0, sign = '', moods = '', account_id = NULL, status = NULL"
        " WHERE id % 30 = 15",
    ],
    "sqlite": [
        "ALTER TABLE activity_logs ADD anything",
        "ALTER TABLE activity_logs ADD number INTEGER",
        "ALTER TABLE activity_logs ADD real_ REAL",
        "UPDATE activity_logs SET anything = 42, number = 9223372036854775807, real_ = 0.1, amount = 1e300,"
        " note = 'Zürich ''quoted'' \"twice\" 日本語 ' || char(10) WHERE id = 15",
        "UPDATE activity_logs SET anything = 'text ü''', number = 'not a number', real_ = -0.0, amount = 'n/a', note = ''"
        " WHERE id = 30",
        "UPDATE activity_logs SET anything = x'00ff27', number = 1.5, real_ = 'x', account_id = NULL, status = NULL,"
        " amount = NULL, note = NULL WHERE id = 45",
        "UPDATE activity_logs SET anything = 1.0, number = x'', real_ = 9e999, note = CAST(x'fffe' AS TEXT) WHERE id = 60",
        "UPDATE activity_logs SET anything = 'nul' || char(0) || 'end', note = x'c3bc' WHERE id = 75",
    ],
}  # fmt: skip


def back(site: Any, **chosen: Any) -> list[restore.Restored]:
    engine = site.engine()
    words = {"run": None, "keys": (), "where": (), "address": None} | chosen
    return restore.restore(engine, restore.choose(engine, **words), reason="the auditor asks")


@pytest.mark.every_server
def test_every_value_of_a_run_comes_back_equal(any_site: Any) -> None:
    any_site.fill(ROWS)
    any_site.run_sql(any_site.url, *ODD[any_site.dialect])
    before = any_site.everything()
    run = any_site.run().run
    assert any_site.everything() != before

    [told] = back(any_site, run=run)

    due = any_site.due_ids(ROWS)
    assert any_site.everything() == before
    comments = 2 * len([i for i in due if i % 2 == 0]) if any_site.comments else 0  # and a file on each
    assert (told.restored, told.dependent_rows, told.already_there, told.unplaced) == (len(due), comments, 0, ())
    assert any_site.facts("archive.restored")[0] | {"batch": "", "by": ""} == {
        "batch": "", "records": "crm.activities", "rows": len(due), "dependent_rows": comments, "hold": told.hold,
        "by": "", "reason": "the auditor asks",
    }  # fmt: skip
    assert any_site.findings() == []


def test_the_hold_keeps_the_next_run_from_taking_them_again(site: Any) -> None:
    site.fill(ROWS)
    run = site.run().run
    [told] = back(site, run=run)
    plan = site.plan()
    assert (plan.due, plan.held_by) == (0, {told.hold: len(site.due_ids(ROWS))})
    assert site.run().deleted == 0
    assert len(site.ids()) == ROWS


def test_by_key_with_its_dependents_and_nothing_else(site: Any) -> None:
    site.fill(ROWS)
    before = site.everything()
    site.run()
    [told] = back(site, keys=["30", "045", "30", "16"])  # 16 never was deleted
    assert (told.restored, told.dependent_rows) == (2, 2)
    due = site.due_ids(ROWS)
    assert set(range(1, ROWS + 1)) - site.ids() == due - {30, 45}
    assert set(site.everything()["activity_logs"]) < set(before["activity_logs"])
    assert site.rows("SELECT id, activity_id, body FROM activity_comments WHERE activity_id = 30") == [
        (300, 30, "comment on 30")
    ]
    assert site.facts("hold.placed")[0]["matter"] == "restored records"


def test_by_what_the_archive_says(site: Any) -> None:
    site.fill(ROWS)
    site.run()
    [told] = back(site, where=["status=open", "account_id=15"])
    assert told.restored == len([i for i in site.due_ids(ROWS) if i % 2 and i % 50 == 15]) > 0


def test_a_record_that_is_there_is_left_as_it_is(any_site: Any) -> None:
    any_site.fill(ROWS)
    run = any_site.run().run
    any_site.run_sql(
        any_site.url, f"INSERT INTO activity_logs (id, {COLUMNS}) SELECT 15, {COLUMNS} FROM activity_logs WHERE id = 1"
    )
    any_site.run_sql(any_site.url, "UPDATE activity_logs SET note = 'written anew' WHERE id = 15")
    [told] = back(any_site, run=run)
    assert (told.restored, told.already_there) == (len(any_site.due_ids(ROWS)) - 1, 1)
    assert any_site.rows("SELECT note FROM activity_logs WHERE id = 15") == [("written anew",)]

    [again] = back(any_site, run=run)
    assert (again.restored, again.already_there, again.hold) == (0, len(any_site.due_ids(ROWS)), None)


def test_a_dependents_row_is_never_overwritten_either(site: Any) -> None:
    site.fill(ROWS)
    run = site.run().run
    site.run_sql(site.url, "INSERT INTO activity_comments VALUES (300, 1, 'took the place')")
    before = site.everything()
    with pytest.raises(SourceFailed):
        back(site, run=run)
    assert site.everything() == before


def test_the_newest_copy_of_a_record_that_went_twice(site: Any) -> None:
    site.fill(ROWS)
    site.run()
    [told] = back(site, keys=["30"])
    site.run_sql(site.url, "UPDATE activity_logs SET note = 'second life' WHERE id = 30")
    site.release_long_ago(told.hold)
    assert site.run().deleted == 1
    engine = site.engine()
    assert restore.choose(engine, run=None, keys=["30"], where=(), address=None).count == 1
    [told] = back(site, keys=["30"])
    assert (told.restored, told.already_there) == (1, 0)
    assert site.rows("SELECT note FROM activity_logs WHERE id = 30") == [("second life",)]


def test_a_column_that_is_gone_is_named_and_a_new_one_is_left_empty(site: Any) -> None:
    site.fill(ROWS)
    run = site.run().run
    site.run_sql(
        site.url,
        "ALTER TABLE activity_logs DROP COLUMN note",
        "ALTER TABLE activity_logs ADD COLUMN since TEXT DEFAULT ('today')",
    )
    [told] = back(site, run=run)
    assert (told.restored, told.unplaced) == (len(site.due_ids(ROWS)), ("note",))
    assert site.rows("SELECT account_id, amount, since FROM activity_logs WHERE id = 15") is not None
    assert len(site.ids()) == ROWS


def test_a_column_of_another_type_that_changes_values_is_rolled_back(postgresql_site: Any) -> None:
    postgresql_site.fill(ROWS)
    run = postgresql_site.run().run
    postgresql_site.run_sql(postgresql_site.url, "ALTER TABLE activity_logs ALTER amount TYPE int")
    before = postgresql_site.everything()
    with pytest.raises((Failed, SourceFailed)):
        back(postgresql_site, run=run)
    postgresql_site.run_sql(
        postgresql_site.url,
        "ALTER TABLE activity_logs ALTER amount TYPE numeric(12,2)",
        "ALTER TABLE activity_logs ALTER account_id TYPE text",
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.account_id := 'none'; RETURN NEW; END$$",
        "CREATE TRIGGER spoil BEFORE INSERT ON activity_logs FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    before = postgresql_site.everything()
    with pytest.raises(Failed, match="reads back differently"):
        back(postgresql_site, run=run)
    assert postgresql_site.everything() == before


def test_a_trigger_that_changes_what_is_inserted_is_rolled_back(site: Any) -> None:
    site.fill(ROWS)
    run = site.run().run
    if site.dialect == "sqlite":
        site.run_sql(
            site.url,
            "CREATE TRIGGER spoil AFTER INSERT ON activity_logs BEGIN"
            " UPDATE activity_logs SET note = upper(note) WHERE id = NEW.id; END",
        )
    elif site.dialect == "mysql":
        spoil = "CREATE TRIGGER spoil BEFORE INSERT ON activity_logs FOR EACH ROW SET NEW.note = upper(NEW.note)"
        site.run_sql(site.url, spoil)
    else:
        site.run_sql(
            site.url,
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$",
            "CREATE TRIGGER spoil BEFORE INSERT ON activity_logs FOR EACH ROW EXECUTE FUNCTION spoil()",
        )
    before = site.everything()
    with pytest.raises(Failed, match="reads back differently") as caught:
        back(site, run=run)
    assert "on insert fires spoil: disable it" in caught.value.hint
    assert site.everything() == before


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_tampered_file_is_not_restored(any_site: Any, suffix: str) -> None:
    any_site.fill(ROWS)
    run = any_site.run().run
    path = sorted(any_site.folder.glob(f"archive/crm/**/*{suffix}"))[0]
    path.chmod(0o640)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = any_site.everything()
    with pytest.raises(Failed, match="changed since it was written"):
        back(any_site, run=run)
    assert any_site.everything() == before
    assert any(str(path.relative_to(any_site.folder / "archive")) in finding for finding in any_site.findings())


def test_a_dependent_that_is_no_longer_declared_is_not_forgotten(site: Any) -> None:
    site.fill(ROWS)
    run = site.run().run
    config = site.config
    text = config.read_text()
    config.write_text(text[: text.index("        dependents:")] + text[text.index("archives:") :])
    site.run_sql(
        site.url,
        "CREATE TABLE other (id INTEGER PRIMARY KEY, activity_id INTEGER, body TEXT)",
        "DROP TABLE comment_files",
        "DROP TABLE IF EXISTS comment_files",
        "DROP TABLE activity_comments",
    )
    with pytest.raises(Failed, match="activity_comments is no dependent of"):
        back(site, run=run)
    assert set(range(1, ROWS + 1)) - site.ids() == site.due_ids(ROWS)


@pytest.mark.parametrize(
    "now",
    [
        "        dependents:\n          comment_files: {key: activity_id}\n",
        "        dependents:\n          activity_comments:\n            key: activity_id\n            dependents:\n"
        "              comment_files: {key: comment_id}\n",
    ],
    ids=["by another column", "below another table"],
)
def test_a_dependent_that_is_declared_elsewhere_by_now_is_not_forgotten(plain_site: Any, now: str) -> None:
    """Its rows refer to nothing that comes back, by today's declaration."""
    text = plain_site.config.read_text()
    then = text.replace("archives:\n", "        dependents:\n          comment_files: {key: record_id}\narchives:\n", 1)
    plain_site.config.write_text(then)
    columns = "id INTEGER PRIMARY KEY, activity_id INTEGER, record_id INTEGER, comment_id INTEGER"
    plain_site.run_sql(
        plain_site.url,
        "DROP TABLE IF EXISTS comment_files",
        f"CREATE TABLE comment_files ({columns})",
        "CREATE TABLE activity_comments (id INTEGER PRIMARY KEY, activity_id INTEGER)",
        "INSERT INTO comment_files VALUES (1, 1, 15, 15)",
    )
    plain_site.fill(ROWS)
    run = plain_site.run().run
    gone = plain_site.due_ids(ROWS)
    assert not plain_site.ids() & gone
    plain_site.config.write_text(text.replace("archives:\n", f"{now}archives:\n", 1))
    with pytest.raises(Failed, match="comment_files is no dependent of"):
        back(plain_site, run=run)
    assert not plain_site.ids() & gone
    plain_site.config.write_text(then)
    [told] = back(plain_site, run=run)
    assert (told.restored, told.dependent_rows) == (len(gone), 1)


@pytest.mark.parametrize("point", ["restore.before-commit", "restore.after-commit"])
def test_a_restore_that_was_killed_is_done_again(site: Any, point: str) -> None:
    site.fill(ROWS)
    before = site.everything()
    run = site.run().run
    words = ("archive", "restore", "--run", run, "--reason", "audit", "--yes", "--json")
    assert site.cli(*words, env={"RETENTION_FAILPOINTS": f"{point}=kill"}).returncode == -signal.SIGKILL
    assert site.run().deleted == 0  # the hold was in force before the first row came back
    done = site.cli(*words)
    assert done.returncode == 0, done.stderr
    [told] = json.loads(done.stdout)
    assert told["restored"] + told["already_there"] == len(site.due_ids(ROWS))
    assert site.everything() == before
    assert site.findings() == []


def test_without_a_hold_in_force_nothing_comes_back(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(ROWS)
    run = site.run().run
    before = site.everything()

    def unreachable(engine: Any, source: str) -> None:
        raise SourceFailed(f"{source}: cannot be reached")

    monkeypatch.setattr(holding, "_pass_fences", unreachable)
    with pytest.raises(Failed, match="is not in force"):
        back(site, run=run)
    assert site.everything() == before


@pytest.mark.parametrize(
    ("chosen", "error", "said"),
    [
        ({}, InputError, "which records"),
        ({"keys": ["1"], "where": ["status=open"]}, InputError, "which records"),
        ({"where": ["status"]}, InputError, "compares nothing"),
        ({"where": ["=open"]}, InputError, "compares nothing"),
        ({"where": ["account_id=x"]}, InputError, "is no value of column account_id"),
        ({"where": ["statsu=open"]}, NotFound, "has no column statsu"),
        ({"keys": ["x"]}, InputError, "is no key of"),
        ({"keys": ["1"]}, NotFound, "no archived record is what was asked for"),
        ({"run": "R-1"}, NotFound, "there is no run R-1"),
    ],
)
def test_what_cannot_be_meant(sqlite_site: Any, chosen: dict[str, Any], error: type[Exception], said: str) -> None:
    sqlite_site.fill(ROWS)
    sqlite_site.run()
    with pytest.raises(error, match=said):
        back(sqlite_site, **chosen)


def test_a_class_must_be_named_where_there_are_several_and_a_reason_always(sqlite_site: Any) -> None:
    sqlite_site.fill(ROWS)
    run = sqlite_site.run().run
    engine = sqlite_site.engine()
    with pytest.raises(InputError, match="a restore needs a reason"):
        restore.restore(engine, restore.choose(engine, run=run, keys=(), where=(), address=None), reason=" ")
    config = sqlite_site.config
    config.write_text(
        config.read_text().replace("    classes:\n", "    classes:\n      people: {table: people, key: id}\n")
    )
    with pytest.raises(InputError, match="of which class"):
        back(sqlite_site, keys=["15"])
    sqlite_site.run_sql(sqlite_site.url, "CREATE TABLE people (id INTEGER PRIMARY KEY)")
    [told] = back(sqlite_site, keys=["15"], address="crm.activities")
    assert told.restored == 1


def test_a_file_from_before_a_column_existed_is_passed_over(site: Any) -> None:
    site.fill(ROWS)
    site.run()
    site.run_sql(
        site.url,
        "ALTER TABLE activity_logs ADD COLUMN colour TEXT DEFAULT ('red')",
        f"INSERT INTO activity_logs (id, {COLUMNS}) SELECT 1000015, {COLUMNS} FROM activity_logs WHERE id = 3",
        "UPDATE activity_logs SET created_at = '2026-01-15 10:00:00' WHERE id = 1000015",
    )
    assert site.run().deleted == 1
    [told] = back(site, where=["colour=red"])
    assert told.restored == 1


def test_records_deleted_without_an_archive_cannot_come_back(sqlite_site: Any) -> None:
    sqlite_site.policy("service-notes", archive="none", mandate="Data minimisation")
    sqlite_site.fill(ROWS)
    run = sqlite_site.run().run
    with pytest.raises(NotFound, match="no archived record"):
        back(sqlite_site, run=run)


def test_a_data_file_that_differs_from_the_control_database_is_refused(sqlite_site: Any) -> None:
    """Not the bytes were changed, but what the control database says of them."""
    sqlite_site.fill(ROWS)
    run = sqlite_site.run().run
    sqlite_site.control("UPDATE archive_file SET rows = rows + 1")
    with pytest.raises(EvidenceBroken, match="cannot be restored"):
        back(sqlite_site, run=run)


def test_keys_of_holds_are_those_of_the_records(sqlite_site: Any) -> None:
    sqlite_site.fill(ROWS)
    sqlite_site.run()
    [told] = back(sqlite_site, keys=["15", "30"])
    engine = sqlite_site.engine()
    from retention.ledger import holds

    with engine.control.read() as connection:
        hold = holds.get(connection, told.hold)
        assert holds.keys(connection, told.hold) == [("15",), ("30",)]
    assert hold.scope == Keys(records="crm.activities", count=2)


def test_of_several_batches_only_what_is_missing_comes_back(sqlite_site: Any) -> None:
    sqlite_site.fill(ROWS)
    sqlite_site.run_sql(sqlite_site.url, "UPDATE activity_logs SET created_at = '2026-09-30' WHERE id > 200")
    first = sqlite_site.run().run
    sqlite_site.run_sql(sqlite_site.url, "UPDATE activity_logs SET created_at = '2026-01-15 10:00:00' WHERE id % 5 = 0")
    sqlite_site.run()
    back(sqlite_site, run=first)
    [told] = back(sqlite_site, where=["account_id=0"])
    assert told.to_json()["already_there"] == 1
    assert told.restored == 1
    assert {150, 300} <= sqlite_site.ids()
