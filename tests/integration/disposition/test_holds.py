"""P1: what a hold covers stays, whatever its scope, from the moment its placing returned."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from retention.disposition import holding
from retention.disposition.coverage import covered
from retention.errors import Refused
from retention.holds.hold import HoldState
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.policy.read_where import parse_where

ROWS = 6000
CLASS = "crm.activities"

SCOPES: dict[str, tuple[Scope, list[str], Any]] = {
    "keys": (Keys(records=CLASS, count=2), ["15", "30"], lambda i: i in (15, 30)),
    "tag": (Tagged(tag="service-note", records=(CLASS,)), [], lambda i: i % 3 == 0),
    "where": (Matching(where=parse_where("status=open"), records=(CLASS,)), [], lambda i: i % 2 == 1),
    "subject": (Subject(subject="customer", value="15"), [], lambda i: i % 50 == 15),
    "class": (WholeClass(records=CLASS), [], lambda i: True),
    "everything": (Everything(), [], lambda i: True),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_hold_covers_stays_and_the_rest_goes(plain_site: Any, scope: str) -> None:
    plain_site.fill(ROWS)
    meant, keys, covers = SCOPES[scope]
    due = plain_site.due_ids(ROWS)
    placed = holding.place(plain_site.engine(), matter="M-1", reason="court", scope=meant, keys=keys)
    assert placed.hold.state is HoldState.IN_FORCE

    plan = plain_site.plan()
    result = plain_site.run()

    assert plan.held == sum(1 for i in due if covers(i))
    assert plan.held_by == ({placed.hold.id: plan.held} if plan.held else {})
    assert result.deleted == plan.due
    assert set(range(1, ROWS + 1)) - plain_site.ids() == {i for i in due if not covers(i)}


def test_a_hundred_thousand_keys(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    keys = [str(i) for i in range(15, 100_015)]
    holding.place(
        plain_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=len(keys)), keys=keys
    )
    assert plain_site.run().deleted == 0


def test_days_narrow_a_hold_and_a_record_without_a_clock_is_covered(plain_site: Any) -> None:
    from datetime import date

    plain_site.fill(ROWS)
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = NULL WHERE id = 1")
    placed = holding.place(
        plain_site.engine(),
        matter="M-1",
        reason="court",
        scope=WholeClass(records=CLASS),
        first_day=date(2026, 1, 16),
        last_day=date(2026, 9, 30),
    )
    assert covered(plain_site.engine(), placed.hold) == {CLASS: ROWS - ROWS // 5 + 1}
    assert plain_site.run().deleted == len(plain_site.due_ids(ROWS))


def test_a_released_hold_protects_until_its_grace_is_over(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    engine = plain_site.engine()
    placed = holding.place(engine, matter="M-1", reason="court", scope=Everything())
    holding.release(engine, placed.hold.id, reason="settled")
    assert plain_site.run().deleted == 0
    config = plain_site.config
    config.write_text(config.read_text().replace("hold_release_grace: 30 days", "hold_release_grace: 1 hour"))
    assert plain_site.run().deleted == 0


def test_a_pending_hold_refuses_every_deletion_on_its_source(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention.errors import SourceFailed

    plain_site.fill(ROWS)

    def unreachable(engine: Any, source: str) -> None:
        raise SourceFailed(f"{source}: cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(holding, "_pass_fences", unreachable)
        placed = holding.place(
            plain_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["15"]
        )
    assert placed.hold.state is HoldState.PENDING
    with pytest.raises(Refused, match="pending"):
        plain_site.run()
    assert len(plain_site.ids()) == ROWS
    assert [one.hold.state for one in holding.confirm_pending(plain_site.engine())] == [HoldState.IN_FORCE]
    plain_site.run()
    assert 15 in plain_site.ids()


def test_a_hold_that_returned_during_a_run_is_kept(plain_site: Any) -> None:
    """The deleting process is stopped after it took the fence and read the holds; the hold must wait for that batch, and
    every later batch must see it."""
    plain_site.fill(ROWS)
    run = plain_site.start(
        "run", "--yes", "--as-of", "2026-10-01", env={"RETENTION_FAILPOINTS": "batch.after-delete=stop@1"}
    )
    _wait_stopped(run.pid)
    place = plain_site.start("hold", "place", "--matter", "M-1", "--reason", "court", "--everything")
    time.sleep(1.0)
    assert place.poll() is None, "the hold returned while a batch that does not know it was under way"
    run.send_signal(signal.SIGCONT)
    out, error = place.communicate(timeout=60)
    assert place.returncode == 0, out + error
    kept = plain_site.ids()
    run.communicate(timeout=60)
    assert plain_site.ids() <= kept
    assert len(kept - plain_site.ids()) == 0, "something went after the hold had returned"


def _wait_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            if stat.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.05)
    raise AssertionError("the process did not reach its failpoint")
