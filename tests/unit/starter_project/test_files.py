"""The files that `retention init` writes: valid YAML, no secret, nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from retention.errors import Failed, InputError
from retention.policy.tags import TagColumn, TagTable
from retention.sources.table import Column, Kind
from retention.starter_project import (
    ProposedClass,
    ProposedDependent,
    SkippedTable,
    StarterProject,
    WrittenProject,
    write,
)


def proposed(name: str, **changes: object) -> ProposedClass:
    values: dict[str, object] = {
        "name": name,
        "table": name,
        "key": ("id",),
        "created": Column(name="created_at", type="timestamptz", kind=Kind.INSTANT, nullable=False),
        "other_clocks": ("closed_at",),
        "tags": TagColumn(column="tags"),
        "subjects": {"customer": "customer_id"},
        "dependents": (ProposedDependent(table="parts", key=("record_id",)),),
        "notes": (),
        "doubt": None,
    }
    return ProposedClass(**{**values, **changes})


def project(*classes: ProposedClass, skipped: tuple[SkippedTable, ...] = ()) -> StarterProject:
    return StarterProject(source="crm", classes=classes, skipped=skipped)


def loaded(folder: Path) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load((folder / "retention.yaml").read_text(encoding="utf-8"))
    return content


def source(folder: Path) -> dict[str, object]:
    return loaded(folder)["sources"]["crm"]


def test_a_sure_class_is_declared_whole(tmp_path: Path) -> None:
    url = "postgresql://reader:@db.example/crm"  # an empty password is no secret
    written = write(tmp_path, url, project(proposed("events")))
    assert source(tmp_path) == {
        "url": url,
        "classes": {
            "events": {
                "table": "events",
                "key": "id",
                "created": "created_at",
                "tags": {"column": "tags"},
                "subjects": {"customer": "customer_id"},
                "dependents": {"parts": {"key": "record_id"}},
            }
        },
    }
    assert loaded(tmp_path)["archives"] == {"cold": {"url": "file:./archive"}}
    assert written.export is None


def test_a_doubtful_class_is_written_as_a_comment_that_is_good_yaml_once_it_is_uncommented(tmp_path: Path) -> None:
    write(tmp_path, "sqlite:///crm.db", project(proposed("accounts", doubt="orders refer to it")))
    assert source(tmp_path)["classes"] == {}
    lines = (tmp_path / "retention.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index("      # accounts:")
    block = [line.replace("      # ", "      ", 1) for line in lines[start : lines.index("archives:") - 1]]
    assert yaml.safe_load("\n".join(block))["accounts"]["dependents"] == {"parts": {"key": "record_id"}}
    assert "# DECIDE: orders refer to it" in "\n".join(lines)


def test_what_the_schema_cannot_tell_is_left_out_and_asked_for(tmp_path: Path) -> None:
    doubtful = ProposedDependent(table="files", key=("record_id",), question="its rows may be records of their own")
    naive = Column(name="made", type="timestamp", kind=Kind.WALL, nullable=True)
    write(tmp_path, "sqlite:///crm.db", project(proposed("events", dependents=(doubtful,), created=naive)))
    declared = source(tmp_path)["classes"]["events"]
    assert "dependents" not in declared
    assert "timezone" not in declared
    text = (tmp_path / "retention.yaml").read_text(encoding="utf-8")
    assert "# files: {key: record_id}    # DECIDE: its rows may be records of their own" in text
    assert "# timezone: UTC    # DECIDE: made has no zone" in text


def test_names_that_yaml_would_read_otherwise_are_quoted(tmp_path: Path) -> None:
    odd = proposed(
        "odd",
        table="Order: Log #1",
        key=("yes", "null"),
        created=Column(name="12", type="date", kind=Kind.DATE, nullable=False),
        tags=TagTable(table="a, b", record=("{x}",), tag="[y]"),
        subjects={"customer": "on"},
        dependents=(ProposedDependent(table="日志: 2", key=("ключ",)),),
    )
    write(tmp_path, "sqlite:///crm.db", project(odd))
    assert source(tmp_path)["classes"]["odd"] == {
        "table": "Order: Log #1",
        "key": ["yes", "null"],
        "created": "12",
        "tags": {"table": "a, b", "record": "{x}", "tag": "[y]"},
        "subjects": {"customer": "on"},
        "dependents": {"日志: 2": {"key": "ключ"}},
    }


def test_a_name_with_a_line_break_says_nothing_of_its_own(tmp_path: Path) -> None:
    bad = "x\narchives: {}"
    odd = proposed(
        "odd",
        table=bad,
        other_clocks=(bad,),
        dependents=(ProposedDependent(table=bad, key=(bad,), question=bad),),
        notes=(bad,),
        created=Column(name=bad, type="text", kind=Kind.TEXT, nullable=False),
    )
    skipped = (SkippedTable(table=bad, why=bad),)
    write(tmp_path, "sqlite:///crm.db", project(odd, proposed("doubtful", doubt=bad), skipped=skipped))
    assert set(loaded(tmp_path)["archives"]) == {"cold"}
    declared = source(tmp_path)["classes"]["odd"]
    assert (declared["table"], declared["created"]) == (bad, bad)
    example = (tmp_path / "policies" / "odd.yaml.example").read_text(encoding="utf-8")
    assert "archives" not in yaml.safe_load(example)


@pytest.mark.parametrize(
    "url",
    ["postgresql://reader:s3cret@db.example/crm", "postgresql://db.example/crm?user=reader&password=s3cret"],
)
def test_a_password_never_reaches_a_file(tmp_path: Path, url: str) -> None:
    written = write(tmp_path, url, project(proposed("events")))
    assert written.export == "export CRM_URL='...'"
    assert source(tmp_path)["url"] == "${CRM_URL}"
    assert not any("s3cret" in file.read_text(encoding="utf-8") for file in written.files)


def test_a_relative_sqlite_file_is_named_from_where_the_project_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "sqlite:///data/crm.db", project())
    assert source(tmp_path)["url"] == "sqlite:///data/crm.db"
    write(tmp_path / "elsewhere", "sqlite:///data/crm.db?mode=ro", project())
    assert source(tmp_path / "elsewhere")["url"] == f"sqlite:///{tmp_path}/data/crm.db?mode=ro"


@pytest.mark.parametrize("name", ["retention.yaml", ".gitignore", "policies/events.yaml.example"])
def test_nothing_is_written_where_anything_would_be_overwritten(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=f"already in .*: {name}, so nothing was written"):
        write(tmp_path, "sqlite:///crm.db", project(proposed("events")))
    assert mine.read_text() == "mine"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [mine]


def test_the_example_policy_is_not_in_force_and_names_no_period(tmp_path: Path) -> None:
    written = write(tmp_path, "sqlite:///crm.db", project(proposed("call_logs")))
    assert list((tmp_path / "policies").glob("*.yaml")) == []
    assert (tmp_path / "policies" / "policy.schema.json").is_file()  # the example's first line names it
    example = tmp_path / "policies" / "call-logs.yaml.example"
    assert example in written.files
    policy = yaml.safe_load(example.read_text(encoding="utf-8"))
    assert policy["policy"] == "call-logs"
    assert policy["records"] == "crm.call_logs"
    assert policy["retain"] == {"for": None}
    assert policy["archive"] == {"to": "cold", "keep": None}


def test_skipped_tables_are_named_with_the_reason(tmp_path: Path) -> None:
    skipped = (SkippedTable(table="plain", why="it has no primary key"),)
    written: WrittenProject = write(tmp_path, "sqlite:///crm.db", project(skipped=skipped))
    assert "#   plain: it has no primary key" in written.files[0].read_text(encoding="utf-8")
    assert source(tmp_path)["classes"] == {}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("a file where a folder must be")
    with pytest.raises(Failed, match="policies"):
        write(tmp_path, "sqlite:///crm.db", project())
