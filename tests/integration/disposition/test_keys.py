"""Keys of every kind: planned, held, deleted with what refers to them, explained, restored by the key as a person writes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.disposition import holding, restore
from retention.disposition.destroy import plan_destruction
from retention.disposition.explain import explain
from retention.disposition.plan import make_plan
from retention.disposition.run import begin, perform
from retention.errors import InputError, PolicyFilesError, SchemaUnsafe
from retention.holds.scope import Keys
from retention.ledger.control import Control
from retention.policy.decide import Fate
from tests.integration.disposition.conftest import AS_OF, THINGS, THINGS_POLICY, Site

ZEROS = "00000000-0000-0000-0000-00000000000"

#: what a key may be -> its columns, and four keys as the database's literals: expired, expired and held, expired, and young;
#: then the first two as a person writes them
KEYS: dict[str, tuple[str, tuple[str, ...], list[list[str]], list[str]]] = {
    "integer": ("both", ("INTEGER",), [["-5"], ["0"], ["7"], ["8"]], ["-5", "0"]),
    "text": ("both", ("VARCHAR(40)",), [["'Ünï code'"], ["'a,\"b'"], ["''''"], ["'x'"]], ["Ünï code", 'a,"b']),
    "text that looks like a list": ("both", ("TEXT",), [["'[1,2]'"], ["'null'"], ["'1'"], ["'01'"]], ["[1,2]", "null"]),
    "two columns": (
        "both",
        ("INTEGER", "VARCHAR(9)"),
        [["1", "'a'"], ["1", "'b'"], ["2", "'a'"], ["2", "'b'"]],
        ['[1,"a"]', '[1, "b"]'],
    ),
    "bigint": ("postgresql", ("BIGINT",), [["9223372036854775807"], ["-9223372036854775808"], ["1"], ["2"]],
               ["9223372036854775807", "-9223372036854775808"]),
    "domain": ("postgresql", ("positive",), [["7"], ["8"], ["9"], ["10"]], ["07", "8"]),
    "domain and text": ("postgresql", ("positive", "TEXT"), [["7", "'a'"], ["8", "'a'"], ["8", "'b'"], ["9", "'a'"]],
                        ['[7,"a"]', '["8","a"]']),
    "uuid": ("postgresql", ("UUID",), [[f"'{ZEROS}{i}'"] for i in "abcd"], [f"{ZEROS}A", f"{ZEROS}b"]),
    "decimal": ("postgresql", ("NUMERIC(12,2)",), [["10.50"], ["9"], ["-1"], ["100"]], ["10.5", "9"]),
    "decimal of any size": ("postgresql", ("NUMERIC",), [["123456789012345678901234567890.5"], ["2.50"], ["3"], ["4"]],
                            ["123456789012345678901234567890.5", "2.5"]),
    "bytes": ("postgresql", ("BYTEA",), [["'\\xDEADBEEF'"], ["'\\x00'"], ["''"], ["'\\xff'"]], ["\\xDEADBEEF", "\\x00"]),
    "padded": ("postgresql", ("CHAR(4)",), [["'ab'"], ["'abc'"], ["'a'"], ["'b'"]], ["ab", "abc"]),
    "date": ("postgresql", ("DATE",), [["'2024-02-29'"], ["'0044-03-15 BC'"], ["'infinity'"], ["'2020-01-01'"]],
             ["2024-02-29", "0044-03-15 BC"]),
    "time": ("postgresql", ("TIMESTAMPTZ",),
             [["'2024-02-29 01:00:00.120Z'"], ["'2024-02-29Z'"], ["'infinity'"], ["'2020-01-01Z'"]],
             ["2024-02-29 09:00:00.12+08", "2024-02-29 00:00:00+00"]),
    "enum": ("postgresql", ("mood",), [["'so so'"], ["'ok'"], ["'bad'"], ["'good'"]], ["so so", "ok"]),
    "boolean and decimal": ("postgresql", ("BOOLEAN", "NUMERIC(5,1)"),
                            [["true", "0.1"], ["false", "22"], ["true", "-0.5"], ["true", "3"]],
                            ['["true","0.1"]', '["f","22"]']),
    "address": ("postgresql", ("INET",), [["'10.0.0.1/8'"], ["'::1'"], ["'10.0.0.2'"], ["'10.0.0.3'"]], ["10.0.0.1/8", "::1"]),
    "uuid and day": ("postgresql", ("UUID", "DATE"), [[f"'{ZEROS}{i}'", "'2024-01-01'"] for i in "abcd"],
                     [f'["{ZEROS}a","2024-01-01"]', f'["{ZEROS}B","2024-01-01"]']),
}  # fmt: skip

CASES = [
    pytest.param(dialect, name, id=f"{dialect}-{name}")
    for name, (where, *_) in KEYS.items()
    for dialect in ("sqlite", "postgresql")
    if where in ("both", dialect)
]


@pytest.fixture
def keyed(
    request: pytest.FixtureRequest, tmp_path: Path, run_sql: Callable[..., None]
) -> Callable[[str, str], tuple[Site, list[str]]]:
    """Makes a site whose records have keys of that kind; a key of one column has rows that refer to it."""

    def make(dialect: str, name: str) -> tuple[Site, list[str]]:
        url = request.getfixturevalue("sqlite_url" if dialect == "sqlite" else "postgres_url")
        _, kinds, rows, texts = KEYS[name]
        names = [f"k{place}" for place in range(len(kinds))]
        time = "DATETIME" if dialect == "sqlite" else "TIMESTAMPTZ"
        if dialect == "postgresql":
            run_sql(url, "CREATE TYPE mood AS ENUM ('so so', 'ok', 'bad', 'good')")
            run_sql(url, "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
        declared = ", ".join(f"{one} {kind} NOT NULL" for one, kind in zip(names, kinds, strict=True))
        run_sql(
            url,
            f"CREATE TABLE things ({declared}, created_at {time}, note TEXT, PRIMARY KEY ({', '.join(names)}))",
            f"CREATE TABLE parts (id INTEGER PRIMARY KEY, k {kinds[0]}{' REFERENCES things' if len(kinds) == 1 else ''})",
        )
        for number, row in enumerate(rows):
            day = "2020-01-01" if number < 3 else "2026-09-01"
            run_sql(url, f"INSERT INTO things VALUES ({', '.join(row)}, '{day} 00:00:00+00:00', 'note {number}')")
            run_sql(url, f"INSERT INTO parts VALUES ({number}, {row[0]}), ({number + 10}, {row[0]})")
        folder = tmp_path / "site"
        (folder / "policies").mkdir(parents=True)
        dependents = ", dependents: {parts: {key: k}}" if len(kinds) == 1 else ""
        words = {"folder": folder, "url": url, "key": f"[{', '.join(names)}]", "clock": "created_at"}
        (folder / "retention.yaml").write_text(THINGS.format(**words, dependents=dependents))
        (folder / "policies" / "things.yaml").write_text(THINGS_POLICY)
        Control.upgrade(f"sqlite:///{folder}/retention.db")
        return Site(folder=folder, url=url, dialect=dialect, comments=len(kinds) == 1, run_sql=run_sql), texts

    return make


def contents(site: Site) -> list[tuple[Any, ...]]:
    row = "t::text" if site.dialect == "postgresql" else "quote(k0) || note || created_at"
    parts = "t::text" if site.dialect == "postgresql" else "id || quote(k)"
    return sorted([*site.rows(f"SELECT {row} AS r FROM things t"), *site.rows(f"SELECT {parts} AS r FROM parts t")])


@pytest.mark.parametrize(("dialect", "name"), CASES)
def test_a_key_of_that_kind(keyed: Any, dialect: str, name: str) -> None:
    site, (gone, held) = keyed(dialect, name)
    before = contents(site)
    hold = holding.place(
        site.engine(), matter="2026-1", reason="court", scope=Keys(records="crm.things", count=1), keys=[held]
    )
    assert not hold.unconfirmed
    plan = site.plan("things")
    assert (plan.matched, plan.due, plan.held, plan.not_expired) == (4, 2, 1, 1)
    told = explain(site.engine(), "crm.things", held, AS_OF)
    assert told.decision is not None and [one.id for one in told.holds] == [hold.hold.id]
    assert any(one.fate is Fate.HELD for one in told.decision.judgements)
    result = site.run("things")
    assert (result.deleted, result.dependent_rows) == (2, 4 if site.comments else 0)
    assert sorted(note for (note,) in site.rows("SELECT note FROM things")) == ["note 1", "note 3"]
    told = explain(site.engine(), "crm.things", gone, AS_OF)
    assert told.outcome.startswith("It was archived and deleted"), told.outcome
    choice = restore.choose(site.engine(), run=None, keys=(gone,), where=(), address=None)
    [restored] = restore.restore(site.engine(), choice, reason="asked for")
    assert (restored.restored, restored.dependent_rows) == (1, 2 if site.comments else 0)
    again = site.plan("things")
    assert (again.matched, again.due, again.held) == (3, 0, 2), json.dumps(again.to_json(), default=str)
    choice = restore.choose(site.engine(), run=result.run, keys=(), where=(), address=None)
    restore.restore(site.engine(), choice, reason="asked for")
    assert contents(site) == before
    assert site.findings() == []


def destroyed_long_after(site: Site) -> Any:
    with site.at(AS_OF + timedelta(days=900)):
        [plan] = plan_destruction(site.engine(), ("cold",))
        return plan


WRITTEN = [
    ("postgresql", "decimal", "10.5"),
    ("postgresql", "decimal of any size", "123456789012345678901234567890.500"),
    ("postgresql", "bytes", "\\xDEADbeef"),
    ("postgresql", "time", "2024-02-29 09:00:00.12+08"),
    ("postgresql", "padded", "ab"),
    ("postgresql", "uuid", f"{ZEROS}A"),
    ("postgresql", "domain", "07"),
    ("postgresql", "domain and text", '[7, "a"]'),
]


@pytest.mark.parametrize(("dialect", "name", "text"), WRITTEN, ids=lambda value: value)
def test_a_hold_protects_the_copy_however_its_key_was_written(keyed: Any, dialect: str, name: str, text: str) -> None:
    site, _ = keyed(dialect, name)
    with site.at(AS_OF + timedelta(hours=1)):
        assert site.run("things").deleted == 3
    assert [len(destroyed_long_after(site).due), len(destroyed_long_after(site).held)] == [1, 0]
    scope = Keys(records="crm.things", count=1)
    holding.place(site.engine(), matter="2026-1", reason="court", scope=scope, keys=[text])
    assert [len(destroyed_long_after(site).due), len(destroyed_long_after(site).held)] == [0, 1]


def test_a_hold_protects_the_copy_of_a_key_that_the_database_takes_for_the_same(keyed: Any) -> None:
    """A column may say that case does not matter; then a hold on either spelling covers the record, and its copy."""
    site, _ = keyed("sqlite", "text")
    site.run_sql(
        site.url,
        "DROP TABLE parts",
        "DROP TABLE things",
        "CREATE TABLE things (k0 TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, created_at DATETIME, note TEXT)",
        "CREATE TABLE parts (id INTEGER PRIMARY KEY, k TEXT)",
        "INSERT INTO things VALUES ('Abc', '2020-01-01', 'x'), ('d', '2020-01-01', 'y')",
    )
    hold = holding.place(
        site.engine(), matter="1", reason="r", scope=Keys(records="crm.things", count=1), keys=["aBC"]
    ).hold
    assert (site.plan("things").due, site.plan("things").held) == (1, 1)
    holding.release(site.engine(), hold.id, reason="a mistake")
    with site.at(AS_OF + timedelta(days=100)):
        site.run("things", AS_OF + timedelta(days=99))
        holding.place(site.engine(), matter="1", reason="r", scope=Keys(records="crm.things", count=1), keys=["aBC"])
    assert len(destroyed_long_after(site).held) == 1


def _things(folder: Path, url: str, run_sql: Callable[..., None], dependents: str = "") -> Site:
    """Things by the key ``k`` on MariaDB or MySQL."""
    (folder / "policies").mkdir()
    words = {"folder": folder, "url": url, "key": "k", "clock": "created_at"}
    (folder / "retention.yaml").write_text(THINGS.format(**words, dependents=dependents))
    (folder / "policies" / "things.yaml").write_text(THINGS_POLICY)
    Control.upgrade(f"sqlite:///{folder}/retention.db")
    return Site(folder=folder, url=url, dialect="mysql", comments=False, run_sql=run_sql)


@pytest.mark.every_server
@pytest.mark.parametrize(
    ("stored", "other"),
    [("Bj\u00f8rn", "BJORN"), ("\u00e6ble", "Aeble"), ("a\u009c", "A"), ("\u200b1", "\u0661"), ("\u3042", "\u30a2")],
    ids=["stroke", "ligature", "control", "digit", "kana"],
)
def test_what_a_collation_takes_for_the_same_is_the_same_in_the_archive(
    mariadb_url: str, tmp_path: Path, run_sql: Callable[..., None], stored: str, other: str
) -> None:
    """What refers to a key in another spelling comes back with it, and a hold on that spelling protects the copy."""
    text = "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
    run_sql(
        mariadb_url,
        f"CREATE TABLE things (k {text} NOT NULL PRIMARY KEY, created_at DATETIME)",
        f"CREATE TABLE parts (id INTEGER PRIMARY KEY, k {text}, FOREIGN KEY (k) REFERENCES things (k))",
        f"INSERT INTO things VALUES ('{stored}', '2020-01-01 00:00:00')",
        f"INSERT INTO parts VALUES (1, '{stored}'), (2, '{other}')",
    )
    site = _things(tmp_path, mariadb_url, run_sql, ", dependents: {parts: {key: k}}")
    with site.at(AS_OF + timedelta(days=100)):
        run = site.run("things", AS_OF + timedelta(days=99))
        assert (run.deleted, run.dependent_rows) == (1, 2)
        scope = Keys(records="crm.things", count=1)
        hold = holding.place(site.engine(), matter="1", reason="r", scope=scope, keys=[other]).hold
    destroyed = destroyed_long_after(site)
    assert (len(destroyed.due), len(destroyed.held)) == (0, 1)
    holding.release(site.engine(), hold.id, reason="over")
    chosen = restore.choose(site.engine(), run=run.run, keys=(), where=(), address=None)
    restore.restore(site.engine(), chosen, reason="asked for")
    assert site.rows("SELECT hex(k) AS k FROM parts ORDER BY id") == [
        (one.encode().hex().upper(),) for one in (stored, other)
    ]


@pytest.mark.every_server
@pytest.mark.parametrize(
    ("collation", "stored", "other"),
    [
        ("utf8mb4_german2_ci", "M\u00e4x", "maex"), ("utf8mb4_general_ci", "Stra\u00dfe", "strase"),
        ("utf8mb4_swedish_ci", "\u00fcx", "YX"),
    ],
)  # fmt: skip
def test_the_database_itself_says_which_copy_a_held_key_means(
    mariadb_url: str, tmp_path: Path, run_sql: Callable[..., None], collation: str, stored: str, other: str
) -> None:
    """Each language has letters of its own that are the same."""
    run_sql(
        mariadb_url,
        f"CREATE TABLE things (k VARCHAR(9) CHARACTER SET utf8mb4 COLLATE {collation} PRIMARY KEY, created_at DATETIME)",
        f"INSERT INTO things VALUES ('{stored}', '2020-01-01 00:00:00')",
    )
    site = _things(tmp_path, mariadb_url, run_sql)
    with site.at(AS_OF + timedelta(days=100)):
        assert site.run("things", AS_OF + timedelta(days=99)).deleted == 1
    for key, held in (("another", 0), ("\u0451\u0436", 0), (other, 1)):
        with site.at(AS_OF + timedelta(days=100)):
            scope = Keys(records="crm.things", count=1)
            holding.place(site.engine(), matter="1", reason="r", scope=scope, keys=[key])
        assert len(destroyed_long_after(site).held) == held


def test_a_key_that_no_value_of_its_type_is_written_like(keyed: Any) -> None:
    site, _ = keyed("postgresql", "decimal")
    with pytest.raises(InputError, match=r"10\.5\.5 is no key of crm\.things"):
        explain(site.engine(), "crm.things", "10.5.5", AS_OF)
    done = site.cli("hold", "place", "--matter", "1", "--reason", "r", "--key", "ten", "--yes")
    assert done.returncode == 2, done.stderr
    assert site.asked("SELECT count(*) FROM hold") == [(0,)]


def test_numbers_that_no_text_says_exactly_are_no_keys(keyed: Any) -> None:
    site, _ = keyed("postgresql", "bigint")
    site.run_sql(site.url, "DROP TABLE parts", "ALTER TABLE things ALTER k0 TYPE double precision")
    site.run_sql(site.url, "CREATE TABLE parts (id INTEGER PRIMARY KEY, k DOUBLE PRECISION REFERENCES things)")
    with pytest.raises(PolicyFilesError, match='the key "k0" is double precision, no text says such a number exactly'):
        site.plan("things")


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("BIGINT NOT NULL PRIMARY KEY", ""),
        ("INTEGER NOT NULL PRIMARY KEY", "WITHOUT ROWID"),
        ("INTEGER NOT NULL PRIMARY KEY DESC", ""),
        ("INTEGER NOT NULL UNIQUE", ""),
    ],
    ids=["BIGINT", "WITHOUT ROWID", "DESC", "UNIQUE"],
)
def test_only_the_rowid_of_sqlite_is_always_a_number(
    sqlite_url: str, tmp_path: Path, run_sql: Callable[..., None], key: str, more: str
) -> None:
    """What else is declared a whole number may hold text, by which nobody could hold the record or restore it."""
    other = "" if "PRIMARY" in key else ", other INTEGER PRIMARY KEY"
    run_sql(
        sqlite_url,
        f"CREATE TABLE things (k {key}, created_at DATETIME{other}) {more}",
        "INSERT INTO things (k, created_at) VALUES (1, '2020-01-01 00:00:00'), ('b', '2020-01-01 00:00:00')",
    )
    (tmp_path / "policies").mkdir()
    words = {"folder": tmp_path, "url": sqlite_url, "key": "k", "clock": "created_at", "dependents": ""}
    (tmp_path / "retention.yaml").write_text(THINGS.format(**words))
    (tmp_path / "policies" / "things.yaml").write_text(THINGS_POLICY)
    Control.upgrade(f"sqlite:///{tmp_path}/retention.db")
    site = Site(folder=tmp_path, url=sqlite_url, dialect="sqlite", comments=False, run_sql=run_sql)
    with pytest.raises(SchemaUnsafe, match="things: some records have no proper key: k is null, or of another type"):
        site.run("things")
    assert site.rows("SELECT count(*) AS n FROM things") == [(2,)]
    run_sql(sqlite_url, "DELETE FROM things WHERE k = 'b'")
    # one that comes after the class was looked at
    engine = site.engine()
    policy = engine.project.policies.get("things")
    run = begin(engine, policy, make_plan(engine, [policy], AS_OF).policies[0], AS_OF)
    run_sql(sqlite_url, "INSERT INTO things (k, created_at) VALUES (1.5, '2020-01-01 00:00:00')")
    with pytest.raises(SchemaUnsafe, match=r"a record of things has the key 1\.5, which is no whole number"):
        perform(engine, run, progress=lambda batch: None, stop=threading.Event())
    assert site.rows("SELECT count(*) AS n FROM things") == [(2,)]
    run_sql(sqlite_url, "DELETE FROM things WHERE k = 1.5")
    assert site.run("things").deleted == 1


@pytest.mark.parametrize("name", ["hold", "key_0", "retention_place"])
@pytest.mark.every_server
def test_a_key_of_any_name_is_held(crm_url: str, tmp_path: Path, run_sql: Callable[..., None], name: str) -> None:
    """Also one that the engine itself uses in its temporary tables."""
    run_sql(
        crm_url,
        f'CREATE TABLE things ("{name}" VARCHAR(40) NOT NULL PRIMARY KEY, created_at TIMESTAMP NULL)',
        "INSERT INTO things VALUES ('a', '2020-01-01 00:00:00'), ('b', '2020-01-01 00:00:00')",
    )
    (tmp_path / "policies").mkdir()
    words = {"folder": tmp_path, "url": crm_url, "key": name, "clock": "created_at", "dependents": ""}
    (tmp_path / "retention.yaml").write_text(THINGS.format(**words))
    (tmp_path / "policies" / "things.yaml").write_text(THINGS_POLICY)
    Control.upgrade(f"sqlite:///{tmp_path}/retention.db")
    site = Site(folder=tmp_path, url=crm_url, dialect=crm_url.split(":")[0], comments=False, run_sql=run_sql)
    scope = Keys(records="crm.things", count=1)
    holding.place(site.engine(), matter="M-1", reason="court", scope=scope, keys=["a"])
    assert site.run("things").deleted == 1
    left = "t." + ('"' if site.dialect != "mysql" else "`") + name + ('"' if site.dialect != "mysql" else "`")
    assert site.rows(f"SELECT {left} AS k FROM things t") == [("a",)]
