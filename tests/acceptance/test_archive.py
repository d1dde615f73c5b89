"""`retention archive`: list, show, verify after damage, restore, destroy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


def test_list_and_show(demo: Retention) -> None:
    batches = demo("archive", "list", "--json").json
    assert (
        sum(batch["rows"] for batch in batches)
        == 200_000 - demo.sql("crm.db", "SELECT count(*) FROM activity_logs")[0][0]
    )
    lines = demo("archive", "list").out.splitlines()
    assert all(len(line) <= 110 for line in lines)
    assert [line.split()[0] for line in lines[1:-1]] == [batch["batch"] for batch in batches]
    first = batches[0]
    of_run = demo("archive", "list", "--run", first["run"], "--class", "crm.activities", "--json").json
    assert {batch["run"] for batch in of_run} == {first["run"]}
    manifest = demo("archive", "show", first["batch"], "--json").json
    said = demo("archive", "show", first["batch"]).out
    assert first["policy"] in said
    for file in manifest["files"]:
        assert (demo.folder / "archive" / file["path"]).stat().st_size == file["bytes"]
        assert file["path"] in said
        assert file["sha256"] in said


def test_verify_reads_everything_back(demo: Retention) -> None:
    report = demo("archive", "verify", "--json").json
    assert report["findings"] == []
    assert report["batches"] == len(demo("archive", "list", "--json").json)
    assert demo("archive", "verify", "cold").out.endswith("Everything is as it was written.\n")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def test_a_flipped_byte_is_found_and_named(project: Retention) -> None:
    archive = project.folder / "archive"
    damaged = [sorted(archive.rglob(one))[-1] for one in ("*.json", "*activity_comments.parquet", "*[0-9a-f].parquet")]
    for file in damaged:
        flip(file)
    said = project("archive", "verify", status=1)
    for file in damaged:
        assert str(file.relative_to(archive)) in said.err
    assert "The archive is NOT what was written" in said.err


def test_one_flipped_byte_is_enough(project: Retention) -> None:
    damaged = sorted((project.folder / "archive").rglob("*.parquet"))[0]
    flip(damaged)
    [finding] = project("archive", "verify", "--json", status=1).json["findings"]
    assert damaged.name in finding


def test_a_missing_and_an_added_file_are_found_and_named(project: Retention) -> None:
    files = sorted((project.folder / "archive").rglob("*.parquet"))
    files[0].unlink()
    added = files[1].with_name("B-added.parquet")
    added.write_bytes(files[1].read_bytes())
    said = project("archive", "verify", status=1).err
    assert files[0].name in said
    assert added.name in said


def test_restore_brings_a_record_back_and_holds_it(project: Retention, deleted: int) -> None:
    values = project("explain", "crm.activities", str(deleted), "--json").json["archived"][0]["values"]
    assert (
        "there is nobody to ask" in project("archive", "restore", "--key", str(deleted), "--reason", "x", status=2).err
    )
    words = ("archive", "restore", "--key", str(deleted), "--reason", "asked for", "--yes")
    said = project(*words).out
    assert said.startswith("crm.activities: 1 record restored with ")
    names = list(values)
    [row] = project.sql("crm.db", f"SELECT {', '.join(names)} FROM activity_logs WHERE id = {deleted}")
    assert dict(zip(names, row, strict=True)) == values
    again = project(*words, "--json").json
    assert [(one["restored"], one["already_there"]) for one in again] == [(0, 1)]
    assert project("run", "--yes", "--json").json["errors"] == []
    assert project.sql("crm.db", f"SELECT count(*) FROM activity_logs WHERE id = {deleted}") == [(1,)]
    assert "Nothing happens to it" in project("explain", "crm.activities", str(deleted)).out


def test_restore_by_run_and_by_where(project: Retention) -> None:
    run = project("archive", "list", "--json").json[0]["run"]
    [batch] = [one for one in project("runs", "--json").json if one["run"] == run]
    [by_run] = project("archive", "restore", "--run", run, "--reason", "court order", "--yes", "--json").json
    assert by_run["restored"] == batch["result"]["deleted"]
    where = ("--where", "owner=m.obrien", "--where", "status=closed")
    [by_where] = project("archive", "restore", *where, "--reason", "asked for", "--yes", "--json").json
    assert by_where["restored"] > 0
    assert "Everything is as it was written." in project("archive", "verify").out


def test_copies_whose_time_is_over_are_destroyed_and_held_ones_stay(project: Retention) -> None:
    assert project("archive", "destroy").out == "cold: 0 records in 0 batches are past their time.\n"
    assert project("archive", "destroy", "--json").json == []
    batches = project("archive", "list", "--json").json
    project.sql("retention.db", "UPDATE batch SET destroy_after = '2020-01-01'")
    assert "there is nobody to ask" in project("archive", "destroy", status=2).err
    [done] = project("archive", "destroy", "--yes", "--json").json
    assert done["destroyed"] + done["held"] == len(batches)
    assert done["destroyed"] > 0
    files = list((project.folder / "archive").rglob("*.parquet"))
    assert len(files) == 2 * done["held"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "--run", "R-1"), "there is no run R-1"),
        (("list", "--class", "crm.activites"), 'there is no record class "crm.activites"'),
        (("show", "B-1"), "there is no batch B-1"),
        (("verify", "hot"), "there is no archive 'hot'"),
        (("destroy", "hot", "--yes"), "there is no archive 'hot'"),
        (("restore", "--reason", "x", "--yes"), "which records?"),
        (("restore", "--reason", "x", "--yes", "--key", "1", "--run", "R-1"), "which records?"),
        (("restore", "--reason", "x", "--yes", "--run", "R-1"), "there is no run R-1"),
        (("restore", "--reason", "x", "--yes", "--key", "999999999"), "no archived record is what was asked for"),
        (("restore", "--reason", "x", "--yes", "--where", "colour=red"), "has no column colour"),
        (("restore", "--reason", " ", "--yes", "--key", "1"), "a restore needs a reason"),
    ],
)
def test_wrong_words_are_told(demo: Retention, words: tuple[str, ...], message: str) -> None:
    assert message in demo("archive", *words, "--json", status=2).error["message"]


def test_an_archive_that_is_not_there_stops_before_anything_is_deleted(project: Retention) -> None:
    (project.folder / "archive").rename(project.folder / "unmounted")
    records = project.sql("crm.db", "SELECT count(*) FROM activity_logs")
    assert "is not there" in project("run", "--yes", status=1).err
    assert project.sql("crm.db", "SELECT count(*) FROM activity_logs") == records
    project("archive", "verify", status=1)
