"""`retention explain`: a record that stays, one that is held, one that went, one that never was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention


def one(demo: Retention, condition: str) -> int:
    return int(demo.sql("crm.db", f"SELECT min(id) FROM activity_logs WHERE {condition}")[0][0])


def test_a_kept_record_says_which_policy_decides_when_and_why(demo: Retention) -> None:
    condition = (
        "tags = '[\"service-note\",\"temporary\"]' AND account_id <> 42 AND created_at BETWEEN '2026-01-01' AND '9'"
        " OR tags = '[\"service-note\", \"temporary\"]' AND account_id <> 42 AND created_at <= date('now')"
    )
    key = one(demo, condition)
    said = demo("explain", "crm.activities", str(key)).out
    assert said.startswith(f"crm.activities {key}, as of ")
    assert "service-notes (operative)" in said
    assert re.search(r"The first run of service-notes on or after \d{4}-\d\d-\d\d archives and deletes it", said)
    assert "It matches service-notes: tagged service-note and temporary." in said
    assert "It does not match sales-records: tagged sales, and status = closed." in said
    facts = demo("explain", "crm.activities", str(key), "--json").json
    assert (facts["exists"], facts["operative"], facts["holds"], facts["archived"]) == (True, "service-notes", [], [])
    [matching] = [policy for policy in facts["policies"] if policy["matched"]]
    assert matching["fate"] == "not_expired"
    assert matching["expires"] in said
    later = demo("explain", "crm.activities", str(key), "--as-of", "2040-01-01").out
    assert "The next run of service-notes archives and deletes it." in later


def test_a_held_record_names_its_hold(demo: Retention) -> None:
    key = one(demo, "account_id = 42 AND tags LIKE '%service-note%temporary%' AND created_at < date('now', '-1 year')")
    [hold] = demo("hold", "list", "--json").json
    facts = demo("explain", "crm.activities", str(key), "--json").json
    assert facts["holds"] == [hold["id"]]
    assert "held" in {policy["fate"] for policy in facts["policies"]}
    assert f"Hold {hold['id']} covers it: 2026-017; Huaxin Logistics" in demo("explain", "crm.activities", str(key)).out


def test_a_record_without_a_clock_says_so(demo: Retention) -> None:
    key = one(demo, "created_at IS NULL AND tags LIKE '%service-note%temporary%' AND account_id <> 42")
    assert "no clock" in demo("explain", "crm.activities", str(key)).out


def test_a_deleted_record_is_proven(demo: Retention, deleted: int) -> None:
    assert demo.sql("crm.db", f"SELECT count(*) FROM activity_logs WHERE id = {deleted}") == [(0,)]
    [went] = demo("explain", "crm.activities", str(deleted), "--json").json["archived"]
    assert went["values"]["id"] == deleted
    assert (demo.folder / "archive" / went["file"]).is_file()
    runs = {run["run"]: run["policy"] for run in demo("runs", "--json").json}
    assert runs[went["run"]] == went["policy"]
    [(body,)] = demo.sql("retention.db", f"SELECT body FROM ledger WHERE subject = '{went['batch']}'")
    assert went["merkle_root"] in body
    assert went["proof"]
    said = demo("explain", "crm.activities", str(deleted)).out
    for fact in (went["policy"], went["run"], went["batch"], went["file"], went["leaf"], went["merkle_root"]):
        assert fact in said


def test_a_record_that_never_was(demo: Retention) -> None:
    assert "There is no such record" in demo("explain", "crm.activities", "999999999", status=2).out
    facts = demo("explain", "crm.activities", "999999999", "--json", status=2).json
    assert (facts["exists"], facts["archived"]) == (False, [])
