"""P7: names that somebody made to do harm, or that nobody thought of, travel through every statement and file name."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive.file_store import FileStore
from retention.archive.manifest import BatchFacts
from retention.archive.store import checked
from retention.archive.write import run_folder
from retention.disposition import destroy, holding, restore
from retention.errors import ArchiveFailed, RetentionError, SourceFailed
from retention.holds.scope import Keys, Subject, Tagged
from tests.integration.disposition.conftest import Site
from tests.proofs.cases import LONG_NOTES, ROWS

HOSTILE = {
    "quotes": 'it\'s "quoted" `so`',
    "semicolons": "x; DROP TABLE kept; --",
    "emoji": "🗄️ records",
    "a line break": "two\nlines",
    "a reserved word": "select",
    "mixed case": "MiXeD",
    "percent and braces": "100%s {0} :name $1",
    "a backslash": "back\\slash \\' x",
    "dots and slashes": "../../etc",
    "brackets": "[dbo].[x]",
    "text that turns": "\u202etxet",
    "as long as may be": "é" * 30,
}

#: names as they must be for one database: MariaDB's may have 64 characters, none of them beyond the first 65,536
OF_ITS_OWN = {"mysql": {HOSTILE["emoji"]: "☎ records", HOSTILE["as long as may be"]: "é" * 62}}

#: types of the key, the clock and the tags
KINDS = {
    "sqlite": ("TEXT", "DATETIME", "TEXT"),
    "postgresql": ("TEXT", "TIMESTAMPTZ", "TEXT[]"),
    "mysql": ("VARCHAR(200)", "DATETIME", "JSON"),
}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def hostile_site(plain_site: Site, name: str) -> Site:
    """A project in which table, columns, tag, tag column and policy all bear the name, with something after it each. Where
    case tells names apart, another table's differs in it alone."""
    own = OF_ITS_OWN.get(plain_site.dialect, {}).get(name, name)
    table, key, clock, tags, who, status = (f"{own}{suffix}" for suffix in ("", "_k", "_c", "_t", "_s", "_w"))
    kinds = KINDS[plain_site.dialect]
    tag = name.replace("\n", " ")
    literal = tag.replace("'", "''")
    if plain_site.dialect == "mysql":
        literal = literal.replace("\\", "\\\\")
    stored = f"ARRAY['{literal}']" if plain_site.dialect == "postgresql" else f"json_array('{literal}')"
    twin = "kept_too" if plain_site.dialect == "sqlite" else table.swapcase()
    columns = ", ".join(quoted(one) for one in (key, clock, tags, who, status))
    plain_site.run_sql(
        plain_site.url,
        "CREATE TABLE kept (id INTEGER)",
        f"CREATE TABLE {quoted(twin)} AS SELECT 1 AS {quoted(key)}",
        f"CREATE TABLE {quoted(table)} ({quoted(key)} {kinds[0]} NOT NULL PRIMARY KEY, {quoted(clock)} {kinds[1]},"
        f" {quoted(tags)} {kinds[2]}, {quoted(who)} TEXT, {quoted(status)} TEXT)",
        *(
            f"INSERT INTO {quoted(table)} ({columns}) VALUES ('{literal}{i}', '202{i % 2 + 5}-01-15 10:00:00',"
            f" {stored}, '{literal}', '{literal}{i % 3}')"
            for i in range(1, 7)
        ),
    )
    declared = {
        "table": table if plain_site.dialect == "sqlite" else quoted_path(table),
        "key": key,
        "created": clock,
        "timezone": "UTC",
        "tags": {"column": tags},
        "subjects": {"customer": who},
        "columns": [status, clock],
    }
    config = yaml.safe_load(plain_site.config.read_text())
    config["sources"]["crm"]["classes"] = {"hostile": declared}
    plain_site.config.write_text(yaml.safe_dump(config, allow_unicode=True))
    for path in (plain_site.folder / "policies").iterdir():
        path.unlink()
    policy = {
        "policy": "hostile",
        "title": tag,
        "mandate": tag,
        "records": "crm.hostile",
        "tags": [tag],
        "where": {status: {"in": [f"{tag}{i}" for i in range(3)]}},
        "retain": {"for": "300 days", "from": clock},
        "archive": {"to": "cold", "keep": "1 days"},
        "then": "delete",
        "schedule": "quarterly",
    }
    (plain_site.folder / "policies" / "hostile.yaml").write_text(yaml.safe_dump(policy, allow_unicode=True))
    return plain_site


def quoted_path(name: str) -> str:
    """PostgreSQL's tables may be named with their schema; a name with dots is written in quotes."""
    return name


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_name_through_everything(plain_site: Site, what: str) -> None:
    """Either the project is refused in words, or everything works on exactly the records that are meant."""
    name = HOSTILE[what]
    site = hostile_site(plain_site, name)
    tag = name.replace("\n", " ")
    try:
        engine = site.engine()
        engine.checked("crm.hostile")
    except RetentionError as error:
        # the one thing that a policy language may refuse: a tag or column that it has no form for
        assert error.exit_status in (2, 4)
        assert what in ("a line break", "dots and slashes", "brackets", "quotes"), error
        return
    due = {f"{tag}{i}" for i in (2, 4, 6)}
    keep = f"{tag}4"
    scopes = [
        Keys(records="crm.hostile", count=1),
        Tagged(tag=f"{tag}-other", records=("crm.hostile",)),
        Subject(subject="customer", value=f"{tag}-other"),
    ]
    for scope in scopes:
        holding.place(engine, matter=tag, reason=tag, scope=scope, keys=[keep] if isinstance(scope, Keys) else [])
    assert site.run("hostile").deleted == 2
    table = OF_ITS_OWN.get(site.dialect, {}).get(name, name)
    left = {row[0] for row in site.rows(f"SELECT {quoted(f'{table}_k')} FROM {quoted(table)}")}
    assert left == {f"{tag}{i}" for i in range(1, 7)} - due | {keep}
    assert site.rows("SELECT count(*) FROM kept") == [(0,)]
    if site.dialect != "sqlite":
        assert site.rows(f"SELECT count(*) FROM {quoted(table.swapcase())}") == [(1,)]
    assert site.findings() == []
    archive = (site.folder / "archive").resolve()
    assert all(path.resolve().is_relative_to(archive) for path in archive.rglob("*"))
    choice = restore.choose(site.engine(), run=None, keys=[f"{tag}2"], where=(), address="crm.hostile")
    [back] = restore.restore(site.engine(), choice, reason=tag)
    assert back.restored == 1
    for plan in destroy.plan_destruction(site.engine(), ("cold",)):
        destroy.destroy(site.engine(), plan)
    assert site.findings() == []


#: a megabyte of it
LONG = "x" * 1_000_000

#: as long as a tag of a policy may be: MariaDB takes patterns of so many bytes only
TAG = {"sqlite": LONG, "postgresql": LONG, "mysql": LONG[:1_000]}


@pytest.mark.parametrize("where", ["table", "key", "created", "tags", "columns", "subjects", "class", "policy"])
def test_a_name_of_a_megabyte_is_refused_in_words(plain_site: Site, where: str) -> None:
    """No database and no file system has such names: the project says so, and nothing is touched."""
    plain_site.fill(30)
    written = plain_site.config.read_text()
    config = yaml.safe_load(written)
    declared = config["sources"]["crm"]["classes"]["activities"]
    long: dict[str, object] = {
        "table": LONG, "key": LONG, "created": LONG, "tags": {"column": LONG}, "columns": [LONG], "subjects": {LONG: LONG},
    }  # fmt: skip
    if where in long:
        declared[where] = long[where]
    elif where == "class":
        config["sources"]["crm"]["classes"] = {LONG: declared}
    path = plain_site.folder / "policies" / "service-notes.yaml"
    policy = path.read_text()
    if where == "policy":
        path.write_text(policy.replace("policy: service-notes", f"policy: {LONG}"))
    plain_site.config.write_text(yaml.safe_dump(config))
    with pytest.raises(RetentionError) as told:
        plain_site.run(LONG if where == "policy" else "service-notes")
    assert told.value.exit_status in (2, 4)
    plain_site.config.write_text(written)
    path.write_text(policy)
    assert plain_site.rows("SELECT count(*) FROM activity_logs") == [(30,)]


def test_tags_and_values_of_a_megabyte(plain_site: Site) -> None:
    plain_site.fill(ROWS)
    tag = TAG[plain_site.dialect]
    plain_site.run_sql(
        plain_site.url,
        *LONG_NOTES.get(plain_site.dialect, ()),
        f"UPDATE activity_logs SET tags = {plain_site.tags(tag)}, note = '{LONG}' WHERE id IN (15, 30, 31)",
    )
    plain_site.policy("service-notes", tags=f"[{tag}]")
    scope = Tagged(tag=f"{tag}y", records=("crm.activities",))
    holding.place(plain_site.engine(), matter=LONG, reason=LONG, scope=scope)
    keys = Keys(records="crm.activities", count=1)
    holding.place(plain_site.engine(), matter="M", reason="R", scope=keys, keys=["30"])
    assert plain_site.run().deleted == 1
    assert set(range(1, ROWS + 1)) - plain_site.ids() == {15}
    assert plain_site.findings() == []
    choice = restore.choose(plain_site.engine(), run=None, keys=["15"], where=(), address="crm.activities")
    [back] = restore.restore(plain_site.engine(), choice, reason=LONG)
    assert back.restored == 1
    assert plain_site.rows("SELECT length(note) FROM activity_logs WHERE id = 15") == [(1_000_000,)]


def test_a_tag_that_is_too_long_for_mariadb_is_refused_in_words(mariadb_site: Site, mysql_kind: str) -> None:
    mariadb_site.fill(30)
    mariadb_site.policy("service-notes", tags=f"[{LONG[:10_000]}]")
    if mysql_kind == "mysql":  # which takes such a pattern
        assert mariadb_site.run().deleted == 0
        return
    with pytest.raises(SourceFailed, match="regexp error") as refused:
        mariadb_site.run()
    assert refused.value.hint
    assert mariadb_site.rows("SELECT count(*) AS n FROM activity_logs") == [(30,)]


@pytest.mark.every_server
@pytest.mark.parametrize("others", [["t"] * 600_000, [LONG]], ids=["many", "long"])
def test_a_hold_by_a_tag_among_too_many_for_mariadb(mariadb_site: Site, others: list[str]) -> None:
    """The server gives its patterns up on some of these, and says that the tag is not there."""
    mariadb_site.fill(ROWS)
    tags = mariadb_site.tags("held", *others)
    mariadb_site.run_sql(mariadb_site.url, f"UPDATE activity_logs SET tags = {tags} WHERE id = 15")
    mariadb_site.policy("service-notes", tags="{none: [sales]}")
    everything = mariadb_site.due_ids(ROWS)
    scope = Tagged(tag="held", records=("crm.activities",))
    holding.place(mariadb_site.engine(), matter="M", reason="R", scope=scope)
    assert mariadb_site.run().deleted > len(everything)
    assert mariadb_site.ids() & everything == {15}
    assert mariadb_site.findings() == []


@pytest.mark.every_server
@pytest.mark.parametrize("others", [["t"] * 600_000, ["t"] * 60_000, [LONG[:200_000]]])
def test_tags_that_the_server_cannot_read_stop_no_other_record(mariadb_site: Site, others: list[str]) -> None:
    """They hold the very tag that the policy asks for: the record stays, or goes where its tags can be read."""
    mariadb_site.fill(ROWS)
    tags = mariadb_site.tags("service-note", *others)
    mariadb_site.run_sql(mariadb_site.url, f"UPDATE activity_logs SET tags = {tags} WHERE id = 15")
    assert mariadb_site.run().state == "finished"
    assert mariadb_site.ids() & mariadb_site.due_ids(ROWS) <= {15}
    assert mariadb_site.findings() == []


NAMES = st.text(max_size=30) | st.sampled_from(
    [
        "..",
        ".",
        "/",
        "../..",
        "\\..\\",
        "a/../../b",
        "\0",
        "con",
        "-",
        " ",
        ".hidden",
        "a" * 1_000_000,
        "🗄" * 90,
        "～/",
        "．．/",
    ]
)


@settings(max_examples=300, deadline=None, database=None)
@given(source=NAMES, record_class=NAMES, run=NAMES)
def test_no_name_leads_out_of_an_archive(source: str, record_class: str, run: str) -> None:
    from datetime import UTC, datetime

    facts = BatchFacts(
        archive="cold", batch="B-1", number=1, run=run, source=source, record_class=record_class, policy="p",
        policy_digest="", mandate=None, as_of=datetime(2026, 10, 1, tzinfo=UTC), hold_epoch=0, key_least=1, key_greatest=1,
        dialect="sqlite",
        written_at=datetime(2026, 10, 1, 2, 1, tzinfo=UTC),
    )  # fmt: skip
    folder = run_folder(facts)
    assert checked(folder) == folder
    assert os.path.normpath(folder) == folder
    assert all(len(part.encode()) <= 255 for part in folder.split("/"))


@settings(max_examples=300, deadline=None, database=None)
@given(path=NAMES)
def test_a_store_writes_inside_or_not_at_all(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "inside"
    store = FileStore(root)
    store.ensure(expected=False)
    outside = Counter(one for one in root.parent.iterdir())
    try:
        store.write(path, b"x")
    except (ArchiveFailed, UnicodeEncodeError):
        pass
    else:
        store.remove(path)
    assert Counter(one for one in root.parent.iterdir()) == outside


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "archive")
    store.ensure(expected=False)
    (tmp_path / "outside").mkdir()
    (tmp_path / "archive" / "crm").symlink_to(tmp_path / "outside")
    with pytest.raises(ArchiveFailed, match="lies outside the archive"):
        store.write("crm/x", b"x")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("first", ["a", "z"], ids=["first of its batch", "last of its batch"])
def test_a_key_with_a_nul_is_not_deleted(sqlite_site: Site, first: str) -> None:
    """Nobody could hold it, or restore it, by its key."""
    site = hostile_site(sqlite_site, "records")
    site.run_sql(site.url, f"UPDATE records SET records_k = '{first}' || char(0) || 'b' WHERE records_k = 'records2'")
    with pytest.raises(RetentionError, match=r"a record of records has a key with a NUL character in it, .*x00b"):
        site.run("hostile")
    assert site.rows("SELECT count(*) FROM records") == [(6,)]
    assert site.findings() == []
    site.run_sql(site.url, "UPDATE records SET records_k = 'records2' WHERE records_k NOT LIKE 'records_'")
    assert site.run("hostile").deleted == 3
