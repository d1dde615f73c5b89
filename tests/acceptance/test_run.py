"""`retention run`: the plan, done; and what becomes of a run that was stopped or killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.acceptance.conftest import Retention

#: covers what no other policy of the demo covers, so that there is something left to do
OTHERS = """\
policy: other-activities
title: Whatever no other policy covers, three years
mandate: Internal control rules, section 5
records: crm.activities
tags: {none: [sales, service-note, business-letter, newsletter, campaign]}
retain: {for: 3 years}
archive: {to: cold, keep: 1 year}
then: delete
schedule: quarterly
"""


@pytest.fixture
def more(project: Retention) -> Retention:
    """The demo's project with thousands of records that are due."""
    (project.folder / "policies" / "other-activities.yaml").write_text(OTHERS, encoding="utf-8")
    return project


def left(project: Retention) -> int:
    return int(project.sql("crm.db", "SELECT count(*) FROM activity_logs")[0][0])


def test_after_the_demo_nothing_is_due(project: Retention) -> None:
    before = left(project)
    said = project("run", "--yes", "--json").json
    assert [(one["policy"], one["deleted"], one["state"]) for one in said["runs"]] == [
        (policy, 0, "finished")
        for policy in ("business-letters", "campaign-contacts", "sales-records", "service-notes")
    ]
    assert (said["refused"], said["errors"], said["stopped"]) == ([], [], False)
    assert left(project) == before


def test_it_does_exactly_what_the_plan_said(more: Retention) -> None:
    before = left(more)
    [planned] = more("plan", "other-activities", "--json").json["policies"]
    assert planned["due"] > 5_000
    [done] = more("run", "other-activities", "--yes", "--json").json["runs"]
    assert (done["planned"], done["deleted"], done["state"]) == (planned["due"], planned["due"], "finished")
    assert done["dependent_rows"] == planned["dependents"]["activity_comments"]
    assert left(more) == before - planned["due"]
    assert more("plan", "other-activities", "--json").json["policies"][0]["due"] == 0
    assert more("runs", "--json", "--last", "1").json[0]["result"]["deleted"] == planned["due"]


def test_without_a_person_it_needs_to_be_told(more: Retention) -> None:
    before = left(more)
    said = more("run", "other-activities", status=2)
    assert said.err == "error: there is nobody to ask for confirmation\n  add --yes to do what would be asked\n"
    assert more("run", "--json", status=2).error["hint"] == "add --yes"
    assert left(more) == before


def test_the_future_is_not_run(more: Retention) -> None:
    assert "lies in the future" in more("run", "--yes", "--as-of", "2090-01-01", status=2).err


def test_a_limit_stops_before_the_first_deletion(more: Retention) -> None:
    file = more.folder / "policies" / "other-activities.yaml"
    file.write_text(OTHERS + "limits: {rows: 5}\n", encoding="utf-8")
    before = left(more)
    assert "exceeds the limit rows" in more("plan", "other-activities").out
    said = more("run", "other-activities", "--yes", status=4)
    assert "allows 5 records" in said.err
    assert more("run", "other-activities", "--yes", "--json", status=4).json["refused"][0]["state"] == "refused"
    assert left(more) == before
    said = more("run", "--yes", status=3)  # the others have run
    assert "service-notes" in said.out


def test_an_approval_is_waited_for(more: Retention) -> None:
    file = more.folder / "policies" / "other-activities.yaml"
    file.write_text(OTHERS + "approval: required\n", encoding="utf-8")
    before = left(more)
    waits = more("run", "other-activities", "--yes", "--json", status=4).json["refused"][0]
    assert waits["state"] == "awaiting_approval"
    assert left(more) == before
    assert "awaiting approval" in more("runs").out
    more("approve", waits["run"], "--reason", " ", status=2)
    assert more("approve", waits["run"], "--reason", "checked by hand", "--json").json["state"] == "approved"
    more("approve", waits["run"], "--reason", "again", status=4)
    done = more("run", "other-activities", "--yes", "--json").json["runs"][0]
    assert done["run"] == waits["run"]
    assert left(more) == before - done["deleted"] < before


def batch_written(project: Retention, process: subprocess.Popen[str]) -> None:
    """Wait until the process has archived its first batch."""
    end = time.monotonic() + 60
    while not list(Path(project.folder, "archive").rglob("*other-activities*/*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_ends_as_if_it_never_had_been(more: Retention, kill: signal.Signals) -> None:
    before = left(more)
    due = more("plan", "other-activities", "--json").json["policies"][0]["due"]
    process = more.start("run", "other-activities", "--yes")
    batch_written(more, process)
    process.send_signal(kill)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if kill is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 3, out + err
        assert "Stopping after the batch in hand" in err
        assert "the next `retention run` goes on" in out
    stopped = left(more)
    assert before - due <= stopped <= before  # the batch in hand may have been the last one
    again = more("run", "other-activities", "--yes", "--json").json
    assert again["runs"][0]["deleted"] == due
    assert left(more) == before - due
    assert more("recover").out == "Nothing was in doubt.\n"
    assert more("recover", "--json").json == []
    archived = more("archive", "list", "--run", again["runs"][0]["run"], "--json").json
    assert sum(batch["rows"] for batch in archived) == due
    assert "Everything is as it was written." in more("archive", "verify").out
    more("audit", "verify")


def test_what_a_cancelled_run_had_deleted_is_told(more: Retention) -> None:
    before = left(more)
    killed = {"RETENTION_FAILPOINTS": "batch.after-settled=kill@1"}
    more("run", "other-activities", "--yes", environ=killed, status=-signal.SIGKILL)
    gone = before - left(more)
    assert gone > 0
    [run] = [one for one in more("runs", "--json").json if one["policy"] == "other-activities"]
    more("cancel", run["run"], "--reason", "wrong table")
    [line] = [line for line in more("runs").out.splitlines() if run["run"] in line]
    assert "cancelled" in line
    assert f" {gone:,} " in line


def test_a_reader_that_goes_away_does_not_end_the_run(more: Retention) -> None:
    process = more.start("run", "other-activities", "--yes")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 1  # nobody could be told
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert "finished" in more("runs", "--last", "1").out
