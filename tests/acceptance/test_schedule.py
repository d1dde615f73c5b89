"""`retention schedule`, `retention up`, and what worker and beat say to those who start them wrongly."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

ROOT = Path(__file__).parents[2]


def test_it_lists_what_will_run_local_and_utc(demo: Retention) -> None:
    lines = demo("schedule", "--next", "2").out.splitlines()
    assert lines[0].split() == ["local", "time", "time", "zone", "UTC", "policy"]
    assert len(lines) == 1 + 4 * 2
    local = [line[:16] for line in lines[1:]]
    assert local == sorted(local), "by time"
    assert all(line.split()[1] in ("02:00", "03:00") and "Asia/Shanghai" in line for line in lines[1:])


def test_as_json_for_the_named_policies(demo: Retention) -> None:
    found = demo("schedule", "service-notes", "--next", "4", "--json").json
    assert [list(one) for one in found] == [
        ["policy", "local_time", "timezone", "due_at", "cron", "missed", "jump", "ahead_until"]
    ] * 4
    assert {one["ahead_until"] for one in found} == {None}
    due = [datetime.fromisoformat(one["due_at"]) for one in found]
    assert due == sorted(due) and due[0] > datetime.now(UTC)
    assert {one["local_time"][5:] for one in found} == {"01-01T02:00", "04-01T02:00", "07-01T02:00", "10-01T02:00"}
    assert {(one["policy"], one["cron"], one["missed"]) for one in found} == {
        ("service-notes", "0 2 1 1,4,7,10 *", "run once")
    }


def test_slots_that_a_change_of_clocks_moves_or_doubles_are_marked(project: Retention) -> None:
    path = project.folder / "policies" / "service-notes.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("schedule:")]
    path.write_text("\n".join([*lines, 'schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}']) + "\n")
    jumps = [one["jump"] for one in project("schedule", "service-notes", "--next", "366", "--json").json]
    assert sorted(jump for jump in jumps if jump) == ["gap", "overlap"]
    told = project("schedule", "service-notes", "--next", "366").out
    assert told.count("runs just after") == told.count("comes twice") == 1


def test_a_policy_that_is_not_there(demo: Retention) -> None:
    assert 'did you mean "service-notes"' in demo("schedule", "service-note", status=2).err


def test_up_is_stopped_cleanly_by_ctrl_c(project: Retention) -> None:
    process = project.start("up")
    assert process.stdout is not None and "up.started" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "up.stopped" in out.splitlines()[-1]
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", ["up", "schedule"])
def test_without_a_control_database_they_say_how_to_make_one(project: Retention, command: str) -> None:
    (project.folder / "retention.db").unlink()
    assert "`retention control upgrade`" in project(command, status=2).err.lower()


def celery(project: Retention, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", *words],
        cwd=ROOT,
        env={**os.environ, "RETENTION_CONFIG": str(project.folder / "retention.yaml"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "broker", "says"),
    [
        (("worker", "-B"), "redis://127.0.0.1:1/0", "a beat inside a worker (-B)"),
        (("worker",), "memory://", "no other process can reach"),
        (("beat",), "memory://", "no other process can reach"),
    ],
)
def test_a_worker_that_would_do_nothing_or_harm_does_not_start(
    demo: Retention, words: tuple[str, ...], broker: str, says: str
) -> None:
    done = celery(demo, *words, RETENTION_BROKER_URL=broker)
    assert done.returncode == 4
    assert says in done.stderr and "`retention up`" in done.stderr and "Traceback" not in done.stderr


def test_beat_entries_are_the_policies(demo: Retention) -> None:
    code = "import beat_schedule as b; print(sorted((k, v['task'], repr(v['schedule'])) for k, v in b.beat_schedule.items())[0])"
    environ = {**os.environ, "RETENTION_CONFIG": str(demo.folder / "retention.yaml")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('business-letters', 'retention.look', '<0 2 1 1 * Asia/Shanghai>')"


@pytest.mark.parametrize("module", ["worker", "beat_schedule"])
def test_mistakes_in_the_files_are_told_and_not_thrown(project: Retention, module: str) -> None:
    (project.folder / "retention.yaml").write_text("timezone: Nowhere/Land\n")
    environ = {**os.environ, "RETENTION_CONFIG": str(project.folder / "retention.yaml")}
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Nowhere/Land" in done.stderr and "Traceback" not in done.stderr


def test_the_demo_s_quarter_by_beat_broker_and_two_workers(
    demo: Retention, at: Callable[[Path], Retention], tmp_path: Path
) -> None:
    said = demo("demo", "--worker", "--into", str(tmp_path / "demo")).out
    assert said.index("celery worker 2") < said.index("beat opened the slot") < said.index("finished")
    assert said.count("everything is as it was written") == 2
    assert list((tmp_path / "demo" / "logs").glob("worker-*.log"))
    words = " ".join(said.split())
    assert re.search(r"Not done here: campaign-contacts, whose slot comes on 01 \w+ \d{4}, 03:00\.", words)
    assert "service-notes," not in words.partition("Not done here:")[2]
    assert "will not run again" in words
    assert "ends with 3" in words
    at(tmp_path / "demo")("status", status=3)
