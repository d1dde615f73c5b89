"""A mistake in a policy keeps everything from running, and nobody from placing a hold or looking at the evidence."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def broken(plain_site: Any) -> Any:
    plain_site.fill(300)
    (plain_site.folder / "policies" / "sales-records.yaml").write_text(
        "policy: sales-records\nretian: {for: 5 years}\n"
    )
    return plain_site


def test_nothing_runs(broken: Any) -> None:
    policy = broken.folder / "policies" / "sales-records.yaml"
    done = broken.cli("run", "--yes", "--as-of", "2026-10-01")
    assert done.returncode == 2
    assert "policies/sales-records.yaml:2:1: " in done.stderr
    policy.unlink()  # so that the project can be opened again
    assert len(broken.ids()) == 300


@pytest.mark.parametrize(
    "words",
    [
        ("hold", "place", "--matter", "M-1", "--reason", "court", "--everything"),
        ("hold", "list"),
        ("audit", "verify"),
        ("archive", "list"),
        ("archive", "verify"),
        ("pause", "--reason", "month's end"),
        ("recover",),
    ],
)
def test_holds_and_evidence_go_on(broken: Any, words: tuple[str, ...]) -> None:
    done = broken.cli(*words)
    assert done.returncode == 0, done.stderr


def test_the_brake_knows_policies_from_the_control_database(plain_site: Any) -> None:
    plain_site.fill(300)
    assert plain_site.cli("run", "sales-records", "--yes", "--as-of", "2026-10-01").returncode == 0
    path = plain_site.folder / "policies" / "sales-records.yaml"
    good = path.read_text()
    path.write_text("policy: sales-records\nretian: {for: 5 years}\n")
    paused = plain_site.cli("pause", "sales-records", "--reason", "month's end")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert plain_site.cli("pause", "sales-record", "--reason", "month's end").returncode == 2
    told = plain_site.cli("cancel", "sales-records", "--reason", "wrong table")
    assert told.returncode == 2 and "has no run that is not over" in told.stderr
    resumed = plain_site.cli("resume", "sales-records", "--reason", "over")
    assert (resumed.returncode, resumed.stdout) == (0, "sales-records is not paused any more.\n")
    path.rename(path.with_name("sales.yaml"))
    path.with_name("sales.yaml").write_text(good.replace("policy: sales-records", "policy: sales"))
    refused = plain_site.cli("pause", "sales-records", "--reason", "month's end")
    assert refused.returncode == 2, "with good files, a policy is what stands in them"
