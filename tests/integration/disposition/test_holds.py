"""P1: what a hold covers stays, whatever its scope, from the moment its placing returned."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retention.disposition import holding
from retention.disposition.coverage import covered
from retention.errors import InputError, Refused, SourceFailed
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
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = NULL WHERE id = 5")
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
    released = datetime(2026, 11, 1, tzinfo=UTC)
    with plain_site.at(released):
        holding.release(engine, placed.hold.id, reason="settled")
    with plain_site.at(released + timedelta(days=30) - timedelta(seconds=1)):
        assert plain_site.run().deleted == 0
    with plain_site.at(released + timedelta(days=30)):
        assert plain_site.run().deleted == len(plain_site.due_ids(ROWS))


def test_a_pending_hold_refuses_every_deletion_on_its_source(plain_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.every_server
def test_a_hold_that_returned_during_a_run_is_kept(any_site: Any) -> None:
    """The deleting process is stopped after it took the fence and read the holds; the hold must wait for that batch, and
    every later batch must see it."""
    any_site.fill(20_000)
    run = any_site.start_and_stop_at("batch.after-delete", "run", "service-notes", "--yes", "--as-of", "2026-10-01")
    place = any_site.start("hold", "place", "--matter", "M-1", "--reason", "court", "--everything")
    any_site.hold_waits()
    run.send_signal(signal.SIGCONT)
    out, error = place.communicate(timeout=60)
    assert place.returncode == 0, out + error
    kept = any_site.ids()
    run.communicate(timeout=60)
    assert run.returncode in (0, 4)  # 4: its next batch began while the hold was still pending
    any_site.run()
    assert any_site.ids() == kept, "something went after the hold had returned"
    assert 0 < 20_000 - len(kept) < len(any_site.due_ids(20_000))
    # the deletions that it refused are evidence, though the plan did not know of it
    evidence = any_site.facts("records.held")[-1]
    assert evidence["records"] == len(kept & any_site.due_ids(20_000))
    assert any_site.findings() == []


def test_a_hold_is_refused_what_makes_no_sense(plain_site: Any) -> None:
    from datetime import date

    engine = plain_site.engine()
    with pytest.raises(InputError, match="needs a matter and a reason"):
        holding.place(engine, matter=" ", reason="court", scope=Everything())
    with pytest.raises(InputError, match="lies before --from"):
        holding.place(
            engine, matter="M", reason="r", scope=Everything(), first_day=date(2026, 2, 1), last_day=date(2026, 1, 1)
        )
    placed = holding.place(engine, matter="M", reason="r", scope=Everything())
    with pytest.raises(InputError, match="needs a reason"):
        holding.release(engine, placed.hold.id, reason=" ")


@pytest.mark.parametrize(
    ("scope", "before", "after", "said"),
    [
        (WholeClass(records=CLASS), "      activities:", "      acts:", "does not declare any more"),
        (Tagged(tag="service-note", records=(CLASS,)), "        tags: {column: tags}\n",
         "        tags: {rules: {service-note: {status: closed}, sales: {status: x}}}\n", None),
        (Subject(subject="customer", value="15"), "subjects: {customer: account_id}", "subjects: {account: account_id}",
         "no class has as a subject any more"),
    ],
)  # fmt: skip
def test_a_class_cannot_shake_off_its_holds(
    plain_site: Any, scope: Scope, before: str, after: str, said: str | None
) -> None:
    """What is renamed in retention.yaml would no longer be found by the holds that name it."""
    plain_site.fill(60)
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=scope)
    config = plain_site.config
    config.write_text(config.read_text().replace(before, after))
    for name in ("service-notes", "sales-records"):
        plain_site.policy(name, records="crm.acts" if "acts" in after else CLASS)
    if said is None:
        plain_site.run()  # the tag has another source, and means what it means there
        return
    with pytest.raises(Refused, match=said):
        plain_site.run()
    assert len(plain_site.ids()) == 60


def test_a_class_that_loses_its_tags_is_not_deleted_from_while_a_tag_is_held(plain_site: Any) -> None:
    plain_site.fill(60)
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Tagged(tag="service-note", records=(CLASS,)))
    config = plain_site.config
    config.write_text(config.read_text().replace("        tags: {column: tags}\n", ""))
    for name in ("service-notes", "sales-records"):
        path = plain_site.folder / "policies" / f"{name}.yaml"
        path.write_text(
            path.read_text().replace("tags: [service-note]", "all: true").replace("tags: [sales]", "all: true")
        )
    with pytest.raises(Refused, match="has no tags any more"):
        plain_site.run()


def test_a_column_that_a_hold_asks_for_and_that_is_gone_stops_the_run(plain_site: Any) -> None:
    plain_site.fill(60)
    holding.place(
        plain_site.engine(),
        matter="M-1",
        reason="court",
        scope=Matching(where=parse_where("status=open"), records=(CLASS,)),
    )
    plain_site.run_sql(plain_site.url, "ALTER TABLE activity_logs RENAME COLUMN status TO state")
    config = plain_site.config
    config.write_text(config.read_text().replace("columns: [status,", "columns: ["))
    with pytest.raises(Refused, match='has no column "status"'):
        plain_site.run()


def test_a_pending_hold_on_a_source_that_is_gone_stays_pending(
    plain_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(engine: Any, source: str) -> None:
        raise SourceFailed(f"{source}: cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(holding, "_pass_fences", unreachable)
        holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Everything())
    plain_site.control("UPDATE hold_source SET source = 'old'")
    [placed] = holding.confirm_pending(plain_site.engine())
    assert placed.hold.state is HoldState.PENDING
    assert placed.unconfirmed == {"old": "there is no source 'old'"}
