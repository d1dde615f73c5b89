"""`retention hold`: every scope, in force when the command returns; release and its grace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

PLACE = ("hold", "place", "--matter", "2026-031", "--reason", "tax audit")


@pytest.mark.parametrize(
    ("words", "scope", "condition"),
    [
        (("--key", "199990", "--key", "199991"), "2 records of crm.activities", "id IN (199990, 199991)"),
        (("--tag", "complaint"), "every record tagged complaint in crm.activities", "tags LIKE '%\"complaint\"%'"),
        (("--where", "status=closed"), "every record where status = closed in crm.activities", "status = 'closed'"),
        (
            ("--where", "status=closed", "--where", "action=call"),
            "every record where status = closed and action = call in crm.activities",
            "status = 'closed' AND action = 'call'",
        ),
        (("--subject", "customer=7"), "every record of customer 7", "account_id = 7"),
        (("--class", "crm.activities"), "every record of crm.activities", "true"),
        (("--everything",), "every record of every class", "true"),
        (
            ("--tag", "sales", "--from", "2025-01-01", "--to", "2025-03-31"),
            "every record tagged sales in crm.activities, created from 2025-01-01 to 2025-03-31",
            # local days of Asia/Shanghai; a record without a creation date is covered too
            "tags LIKE '%\"sales\"%' AND (created_at IS NULL OR created_at >= '2024-12-31 16:00:00'"
            " AND created_at < '2025-03-31 16:00:00')",
        ),
    ],
    ids=["keys", "tag", "where", "two-wheres", "subject", "class", "everything", "dates"],
)
def test_a_scope_covers_what_it_says(shared: Retention, words: tuple[str, ...], scope: str, condition: str) -> None:
    [(records,)] = shared.sql("crm.db", f"SELECT count(*) FROM activity_logs WHERE {condition}")
    assert records > 0
    placed = shared(*PLACE, *words, "--json").json
    assert (placed["state"], placed["scope"], placed["unconfirmed"]) == ("in force", scope, {})
    assert placed["covers"] == {"crm.activities": records}


def test_a_hundred_thousand_keys_from_a_file(project: Retention) -> None:
    keys = range(1, 100_001)
    (project.folder / "keys.txt").write_text("\n".join(map(str, keys)), encoding="utf-8")
    [(records,)] = project.sql("crm.db", "SELECT count(*) FROM activity_logs WHERE id <= 100000")
    said = project(*PLACE, "--keys-from", "keys.txt")
    assert "is in force: 100,000 records of crm.activities (2026-031)." in said.out
    assert f"It covers {records:,} records of crm.activities today." in said.out
    held = project("plan", "--as-of", "2040-01-01", "--json").json["policies"]
    free = project.sql("crm.db", "SELECT count(*) FROM activity_logs WHERE id > 100000")[0][0]
    assert sum(policy["due"] for policy in held) <= free


def test_keys_from_standard_input(project: Retention) -> None:
    lines = "199990\r\n\n 199991 \n199990\n"
    placed = project(*PLACE, "--keys-from", "-", "--json", stdin=lines).json
    assert placed["scope"] == "2 records of crm.activities"


def test_show_says_everything_about_a_hold(demo: Retention) -> None:
    [hold] = demo("hold", "list", "--json").json
    said = demo("hold", "show", hold["id"]).out
    assert re.search(r"^matter +2026-017", said, re.MULTILINE)
    assert re.search(r"^reason +Huaxin Logistics", said, re.MULTILINE)
    assert re.search(r"^scope +every record of customer 42", said, re.MULTILINE)
    covers = demo.sql("crm.db", "SELECT count(*) FROM activity_logs WHERE account_id = 42")[0][0]
    assert re.search(rf"^covers +It covers {covers} records of crm.activities today", said, re.MULTILINE)


def test_a_hold_that_covers_nothing_is_said_to(project: Retention) -> None:
    assert "It covers no record in the databases today" in project(*PLACE, "--subject", "customer=nobody").out


def test_a_hold_keeps_a_run_from_deleting(project: Retention) -> None:
    due = [one["due"] for one in project("plan", "--as-of", "2040-01-01", "--json").json["policies"]]
    assert sum(due) > 10_000
    project(*PLACE, "--everything")
    held = project("plan", "--as-of", "2040-01-01", "--json").json["policies"]
    assert [one["due"] for one in held] == [0, 0, 0, 0]
    assert sum(one["held"] for one in held) >= sum(due)


def test_a_released_hold_still_protects_for_its_grace(project: Retention) -> None:
    [hold] = project("hold", "list", "--json").json
    project("hold", "release", hold["id"], "--reason", "  ", status=2)
    released = project("hold", "release", hold["id"], "--reason", "the case is closed")
    assert "is released. What it covered is still protected until" in released.out
    [listed] = project("hold", "list", "--json").json
    assert (listed["state"], listed["release_reason"]) == ("released", "the case is closed")
    assert "released, protects until" in project("hold", "list").out
    held = project("plan", "service-notes", "--json").json["policies"][0]["held"]
    assert held > 0
    project("hold", "release", hold["id"], "--reason", "again", status=4)
    file = project.folder / "retention.yaml"
    file.write_text(file.read_text().replace("hold_release_grace: 30 days", "hold_release_grace: 1 hour"))
    project.sql("retention.db", "UPDATE hold SET released_at = '2026-01-01T00:00:00.000000Z'")
    assert project("hold", "list").out == "No hold protects anything now.\n"
    assert len(project("hold", "list", "--all", "--json").json) == 1
    # the time was set by hand, past the ledger: nobody gains anything by that
    assert "not what the ledger says" in project("plan", "service-notes", status=1).err


def test_a_database_that_is_away_leaves_the_hold_pending(project: Retention) -> None:
    crm = project.folder / "crm.db"
    crm.rename(project.folder / "away.db")
    said = project(*PLACE, "--key", "199990", status=3)
    assert "NOT YET IN FORCE" in said.out
    assert "crm: " in said.out
    assert project("hold", "confirm", "--json", status=3).json[0]["unconfirmed"].keys() == {"crm"}
    (project.folder / "away.db").rename(crm)
    assert "is in force: 1 record of crm.activities" in project("hold", "confirm").out
    assert project("hold", "confirm").out == "No hold is pending.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the hold covers nothing"),
        (("--tag", "a", "--everything"), "--tag and --everything cannot be one hold"),
        (("--class", "crm.activites"), 'there is no record class "crm.activites"'),
        (("--class", "crm.activities", "--everything"), "--class does not go with --everything"),
        (("--key", "abc"), "'abc' is no key of crm.activities"),
        (("--keys-from", "nowhere.txt"), "--keys-from nowhere.txt cannot be read: No such file or directory"),
        (("--keys-from", "crm.db"), "is not UTF-8"),
        (("--keys-from", "-"), "the list of keys is empty, so the hold would cover nothing"),
        (("--keys-from", "policies"), "'policies' is a directory"),
        (("--subject", "42"), '--subject "42" names no one'),
        (("--subject", "custmer=42"), 'no record class declares the subject "custmer"'),
        (("--where", "stauts=closed"), '--where "stauts=closed" fits no record class'),
        (("--where", "amount=much"), "fits no record class"),
        (("--where", "status"), "is not a condition"),
        (("--tag", "a", "--from", "2026-02-30"), '--from "2026-02-30" is not a day'),
        (("--tag", "a", "--from", "2026-03-01", "--to", "2026-02-01"), "lies before"),
    ],
)
def test_wrong_words_are_told_and_place_nothing(demo: Retention, words: tuple[str, ...], message: str) -> None:
    before = demo.sql("retention.db", "SELECT count(*) FROM hold")
    assert message in demo(*PLACE, *words, "--json", status=2).error["message"]
    assert demo.sql("retention.db", "SELECT count(*) FROM hold") == before


def test_a_key_file_in_another_encoding_is_refused(demo: Retention) -> None:
    said = demo(*PLACE, "--keys-from", "-", status=2, stdin="Schlüssel".encode("latin-1"))
    assert "--keys-from -: byte 5 is not UTF-8" in said.err
