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
    ],
)
def test_holds_and_evidence_go_on(broken: Any, words: tuple[str, ...]) -> None:
    done = broken.cli(*words)
    assert done.returncode == 0, done.stderr
