"""retention.yaml: what it means, URLs and secrets. What is refused: tests/bad_policies."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from retention.config import ArchiveConfig, load_config, load_project, redact
from retention.errors import InputError, PolicyFilesError
from retention.policy.period import Period
from retention.policy.tags import TagColumn, TagMatch, TagRules, TagTable
from retention.url import UrlError, database_of, resolve_url

TEXT = """\
timezone: Asia/Shanghai
control: ${RETENTION_TEST_CONTROL:-sqlite:///data/retention.db}
broker: redis://:${RETENTION_TEST_PASSWORD}@host:6379/0
fiscal_year_starts: 04-01
hold_release_grace: 36 hours
minimums:
  - {records: crm.activities, for: 6 months, mandate: The Act, tags: [sales], where: {status: closed}}
maximums:
  - {records: crm.activities, for: 9 years, mandate: The Other Act}
sources:
  crm:
    url: ${RETENTION_TEST_CRM}
    classes:
      activities:
        table: public.activity_logs
        key: id
        created: created_at
        timezone: UTC
        unit: ms
        tags: {column: tags}
        subjects: {customer: account_id}
        columns: [status, amount]
        dependents: {activity_comments: {key: activity_id}}
      deals:
        table: deals
        key: [tenant, id]
        tags: {table: deal_tags, record: [tenant, deal_id], tag: name}
      calls:
        table: calls
        key: id
        tags: {rules: {sales: {any: [{stage: won}, {stage: lost}]}}}
archives:
  cold: {url: "file:./archive"}
  far: {url: "s3://bucket/prefix"}
"""
MINIMAL = "timezone: UTC\nsources: {crm: {url: 'sqlite:///crm.db', classes: {a: {table: a, key: id}}}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETENTION_TEST_PASSWORD", "hunter2")
    monkeypatch.setenv("RETENTION_TEST_CRM", "postgresql://app:s3cret@db/crm")
    (tmp_path / "retention.yaml").write_text(TEXT, "utf-8")
    return tmp_path / "retention.yaml"


def test_everything_that_can_be_said(project: Path) -> None:
    config = load_config(project)
    folder = project.parent
    assert (config.folder, config.path, config.timezone) == (folder, project, ZoneInfo("Asia/Shanghai"))
    assert config.control == f"sqlite:///{folder}/data/retention.db"
    assert config.broker == "redis://:hunter2@host:6379/0"
    assert config.fiscal_year_starts == (4, 1) and config.hold_release_grace == timedelta(hours=36)
    minimum, maximum = config.bounds
    assert (minimum.kind, minimum.period, minimum.tags) == ("minimum", Period(months=6), TagMatch(all=("sales",)))
    assert (maximum.kind, maximum.mandate, maximum.mark.line) == ("maximum", "The Other Act", 9)
    assert config.sources["crm"].url == "postgresql://app:s3cret@db/crm"
    assert {name: archive.url for name, archive in config.archives.items()} == {
        "cold": f"file://{folder}/archive",
        "far": "s3://bucket/prefix",
    }
    activities, deals, calls = config.classes.values()
    assert list(config.classes) == ["crm.activities", "crm.deals", "crm.calls"]
    assert (activities.table, activities.key, activities.created) == ("public.activity_logs", ("id",), "created_at")
    assert (activities.timezone, activities.unit, activities.tags) == (ZoneInfo("UTC"), "ms", TagColumn(column="tags"))
    assert activities.subjects == {"customer": "account_id"} and activities.columns == ("status", "amount")
    assert [(one.table, one.key) for one in activities.dependents] == [("activity_comments", ("activity_id",))]
    assert activities.marks["created"].line == 17
    assert deals.key == ("tenant", "id") and deals.tags == TagTable(
        table="deal_tags", record=("tenant", "deal_id"), tag="name"
    )
    assert isinstance(calls.tags, TagRules) and [tag for tag, _ in calls.tags.rules] == ["sales"]
    assert "hunter2" not in repr(config) and "s3cret" not in repr(config)


def test_what_is_said_of_an_s3_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_TEST_S3", "http://127.0.0.1:9000")
    path = tmp_path / "retention.yaml"
    cold = 'cold: {url: "s3://bucket/prefix", endpoint: "${RETENTION_TEST_S3}", region: eu-central-1, lock: compliance}'
    path.write_text(f"{MINIMAL}archives:\n  {cold}\n", "utf-8")
    archive = load_config(path).archives["cold"]
    assert (archive.endpoint, archive.region, archive.lock) == ("http://127.0.0.1:9000", "eu-central-1", "compliance")
    assert "9000" not in repr(archive)


def test_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "retention.yaml"
    path.write_text(MINIMAL, "utf-8")
    config = load_config(path)
    assert (config.control, config.broker) == (f"sqlite:///{tmp_path}/retention.db", "memory://")
    assert (config.fiscal_year_starts, config.hold_release_grace) == ((1, 1), timedelta(days=30))
    assert config.bounds == () and config.archives == {}
    archive = ArchiveConfig(name="cold", url="s3://bucket")
    assert (archive.endpoint, archive.region, archive.lock) == (None, None, None)


def test_a_relative_config_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retention.yaml").write_text(MINIMAL, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("retention.yaml")).folder == tmp_path


def test_a_project_is_whole(tmp_path: Path) -> None:
    (tmp_path / "retention.yaml").write_text(MINIMAL, "utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/all.yaml").write_text(
        "policy: all\ntitle: All\nrecords: crm.a\nall: true\nretain: {for: 1 year, from: at}\n"
        "archive: none\nmandate: The Act\n"
        "then: delete\nschedule: daily\n"
    )
    project = load_project(tmp_path / "retention.yaml")
    assert [policy.name for policy in project.policies.policies] == ["all"] and project.config.timezone == ZoneInfo(
        "UTC"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            MINIMAL + "control: sqlite:///crm.db\n",
            'the source "crm" is the same database as the control database',
        ),
        (
            MINIMAL.replace("}}}}", "}}}, two: {url: 'sqlite:///./crm.db', classes: {a: {table: a, key: id}}}}"),
            'the source "two" is the same database as the source "crm"',
        ),
    ],
)
def test_a_database_has_one_name(tmp_path: Path, text: str, problem: str) -> None:
    """Under two names it would have two sets of policies and holds that do not know of each other."""
    (tmp_path / "retention.yaml").write_text(text, "utf-8")
    with pytest.raises(PolicyFilesError) as caught:
        load_config(tmp_path / "retention.yaml")
    assert [one.message for one in caught.value.problems] == [problem]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mysql://a@host/crm", "mysql+pymysql://b:${PW}@HOST:3306/crm?ssl_ca=/ca.pem"),
        ("mariadb://localhost/crm", "mariadb+pymysql://root@127.0.0.1/crm"),
        ("sqlite:////a/crm.db", "sqlite:////a/crm.db"),
    ],
)
def test_urls_of_the_same_database(one: str, other: str) -> None:
    assert database_of(one) == database_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mysql://a@host/crm", "mysql://a@host/CRM"),
        ("mysql://a@host/crm", "mysql://a@host:3307/crm"),
        ("mysql://a@host/crm", "postgresql://a@host/crm"),
        ("mysql://a@localhost/crm?unix_socket=/a", "mysql://a@localhost/crm?unix_socket=/b"),
    ],
)
def test_urls_of_different_databases(one: str, other: str) -> None:
    assert database_of(one) != database_of(other)


@pytest.mark.parametrize("control", ["mysql://a@host/control", "mariadb+pymysql://a@host:3307/control"])
def test_a_control_database_in_a_mariadb(tmp_path: Path, control: str) -> None:
    (tmp_path / "retention.yaml").write_text(f"{MINIMAL}control: {control}\n", "utf-8")
    assert load_config(tmp_path / "retention.yaml").control == control


def test_no_config(tmp_path: Path) -> None:
    for load in (load_config, load_project):
        with pytest.raises(InputError) as caught:
            load(tmp_path / "retention.yaml")
        assert "retention init" in caught.value.hint and "--config" in caught.value.hint


def test_problems_of_both_at_once(tmp_path: Path) -> None:
    (tmp_path / "retention.yaml").write_text(MINIMAL.replace("UTC", "Mars/Base"), "utf-8")
    with pytest.raises(PolicyFilesError) as caught:
        load_project(tmp_path / "retention.yaml")
    assert [problem.mark.file for problem in caught.value.problems] == ["retention.yaml", "policies"]
    with pytest.raises(PolicyFilesError):
        load_config(tmp_path / "retention.yaml")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:s3cret@db/crm", "postgresql://app:***@db/crm"),
        ("postgresql://app:s3:c@r/e?t@db/crm", "postgresql://app:***@db/crm"),
        ("redis://:s3cret@host/0", "redis://:***@host/0"),
        ("postgresql://db/crm?user=app&password=s3cret&x=1", "postgresql://db/crm?user=app&password=***&x=1"),
        ("s3://bucket/a?aws_secret_access_key=s3cret", "s3://bucket/a?aws_secret_access_key=***"),
        ("host=db password=s3cret dbname=crm", "host=db password=*** dbname=crm"),
        ("postgresql://app@db:5432/crm", "postgresql://app@db:5432/crm"),
        ("sqlite:////data/crm.db", "sqlite:////data/crm.db"),
        ("file:///archive", "file:///archive"),
        ("", ""),
    ],
)
def test_no_secret_is_shown(url: str, shown: str) -> None:
    assert redact(url) == shown and "s3cret" not in redact(url)


DATABASES = ("postgresql", "sqlite")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqlite:///crm.db", "sqlite:////p/crm.db"),
        ("sqlite:///./sub/../crm.db?x=1", "sqlite:////p/crm.db?x=1"),
        ("sqlite:////data/crm.db", "sqlite:////data/crm.db"),
        ("file:archive", "file:///p/archive"),
        ("file:/archive", "file:///archive"),
        ("file:///archive", "file:///archive"),
        ("${URL}", "postgresql://u:pw@h/d"),
        ("postgresql+psycopg://u:${PW}@h/${DB:-d}", "postgresql+psycopg://u:pw@h/d"),
        ("postgresql://h/${EMPTY:-d}", "postgresql://h/d"),
        ("postgresql://h/d?password=${PW}", "postgresql://h/d?password=pw"),
    ],
)
def test_urls(text: str, url: str) -> None:
    environ = {"URL": "postgresql://u:pw@h/d", "PW": "pw", "EMPTY": ""}
    assert resolve_url(text, environ, Path("/p"), (*DATABASES, "file")) == url


@pytest.mark.parametrize(
    "text",
    [
        "${EMPTY}",
        "${UNSET}",
        "${1X}",
        "${",
        "postgresql://u:pw@h/d",
        "postgresql://h/d?sslpassword=pw",
        "${UNSET:-postgresql://u:pw@h/d}",
        "mysql://h/d",
        "crm.db",
        "postgresql://[::1/d",
        "postgresql://u:${PW}@h:port/d",
        "sqlite:///",
        "sqlite://x",
        "file:",
        "file://x",
    ],
)
def test_urls_that_are_refused_show_no_secret(text: str) -> None:
    with pytest.raises(UrlError) as caught:
        resolve_url(text, {"EMPTY": "", "PW": "s3cret"}, Path("/p"), (*DATABASES, "file"))
    assert "pw" not in str(caught.value) and "s3cret" not in str(caught.value) and caught.value.remedy
