"""The end of archive copies: when `keep` is over, under the same holds as any deletion, whenever it is interrupted."""

from __future__ import annotations

import signal
from datetime import UTC, date, datetime
from typing import Any

import pytest

from retention.disposition import holding, restore
from retention.disposition.destroy import Destroyed, destroy, plan_destruction
from retention.disposition.explain import explain
from retention.errors import ArchiveFailed, NotFound, Refused, SourceFailed
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.ledger.runs import RunTaken
from retention.policy.condition import Compare, Operator
from retention.policy.mark import Mark
from retention.policy.read_where import parse_where

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
ROWS = 300
CLASS = "crm.activities"
POINTS = ["destroy.after-fence", "destroy.after-begun", "destroy.after-manifest", "destroy.after-files",
          "destroy.after-settled"]  # fmt: skip


def end(site: Any) -> Destroyed:
    engine = site.engine()
    [plan] = plan_destruction(engine, ("cold",))
    return destroy(engine, plan)


def files(site: Any) -> list[str]:
    return sorted(path.name for path in site.folder.glob("archive/crm/**/*.*"))


@pytest.fixture
def kept(site: Any) -> Any:
    """One batch, deleted so long ago that its copies are past their time."""
    site.fill(ROWS)
    site.run_long_ago()
    return site


def test_keep_is_counted_from_the_day_after_the_deletion(any_site: Any) -> None:
    """Counted like every period here: the day of the event is not counted, and the last day ends with its end."""
    any_site.fill(ROWS)
    with any_site.at(datetime(2026, 10, 31, 23, tzinfo=UTC)):
        any_site.run()
    assert any_site.asked("SELECT destroy_after FROM batch") == [("2027-10-31",)]
    for moment, due in ((datetime(2027, 10, 31, 23, 59, tzinfo=UTC), 0), (datetime(2027, 11, 1, tzinfo=UTC), 1)):
        with any_site.at(moment):
            assert len(plan_destruction(any_site.engine(), ("cold",))[0].due) == due


def test_what_is_past_its_time_goes_and_the_proof_stays(kept: Any) -> None:
    engine = kept.engine()
    [plan] = plan_destruction(engine, ("cold",))
    due = len(kept.due_ids(ROWS))
    assert (plan.rows, plan.held, plan.started) == (due, (), None)

    done = destroy(engine, plan)

    assert (done.destroyed, done.held) == (1, 0)
    assert files(kept) == []
    assert kept.findings() == []
    [fact] = kept.facts("archive.destroyed")
    assert (fact["destroyed_by_run"], fact["manifest"].split(".")[-1]) == (done.run, "json")
    assert [fact["result"]["destroyed"] for fact in kept.facts("run.finished")[-1:]] == [1]
    assert end(kept).destroyed == 0
    # the deletion is still told: when, under which run and rule, and that the copy is gone
    [(run,)] = kept.asked("SELECT run_id FROM batch")
    gone = explain(kept.engine(), CLASS, "30", AS_OF)
    assert f"by run {run} under service-notes" in gone.outcome
    assert f"their archive copy was destroyed on {kept.engine().now():%Y-%m-%d} by run {done.run}" in gone.outcome
    assert [(one.batch.run_id, one.inclusion, one.values) for one in gone.archived] == [(run, None, None)]
    # one that is there, or lies outside of all that was deleted, has nothing to do with it
    assert explain(kept.engine(), CLASS, "31", AS_OF).archived == ()
    never = explain(kept.engine(), CLASS, "5000000", AS_OF)
    assert (never.archived, never.outcome) == ((), "There is no such record, and no archive of ours holds it.")
    with pytest.raises(NotFound, match="no archived record"):
        restore.choose(kept.engine(), run=None, keys=["30"], where=(), address=None)


COVERING: dict[str, tuple[Scope, list[str]]] = {
    "keys": (Keys(records=CLASS, count=1), ["0030"]),
    "tag": (Tagged(tag="service-note", records=(CLASS,)), []),
    "where": (Matching(where=parse_where("status=open"), records=(CLASS,)), []),
    "subject": (Subject(subject="customer", value=" 015"), []),
    "class": (WholeClass(records=CLASS), []),
    "everything": (Everything(), []),
}
PASSING: dict[str, tuple[Scope, list[str]]] = {
    "keys": (Keys(records=CLASS, count=1), ["31"]),
    "tag": (Tagged(tag="sales", records=(CLASS,)), []),
    "where": (Matching(where=parse_where("status=lost"), records=(CLASS,)), []),
    "subject": (Subject(subject="customer", value="16"), []),
}


@pytest.mark.parametrize("scope", COVERING)
def test_a_hold_keeps_the_copies_too(kept: Any, scope: str) -> None:
    meant, keys = COVERING[scope]
    before = files(kept)
    placed = holding.place(kept.engine(), matter="M-1", reason="court", scope=meant, keys=keys)
    [plan] = plan_destruction(kept.engine(), ("cold",))
    assert (plan.due, len(plan.held)) == ((), 1)
    assert (end(kept).destroyed, end(kept).held) == (0, 1)
    assert files(kept) == before
    kept.release_long_ago(placed.hold.id)
    assert end(kept).destroyed == 1
    assert kept.findings() == []


@pytest.mark.parametrize("scope", PASSING)
def test_a_hold_on_others_does_not(kept: Any, scope: str) -> None:
    meant, keys = PASSING[scope]
    holding.place(kept.engine(), matter="M-1", reason="court", scope=meant, keys=keys)
    assert end(kept).destroyed == 1


@pytest.mark.parametrize(
    ("first", "last", "held"),
    [
        (None, date(2026, 1, 14), 0), (None, date(2026, 1, 15), 1), (date(2026, 1, 15), None, 1),
        (date(2026, 1, 16), None, 0), (date(2026, 1, 15), date(2026, 1, 15), 1),
    ],
)  # fmt: skip
def test_days_narrow_a_hold_on_copies(kept: Any, first: date | None, last: date | None, held: int) -> None:
    holding.place(kept.engine(), matter="M-1", reason="court", scope=Everything(), first_day=first, last_day=last)
    assert end(kept).held == held


def test_a_hold_placed_after_the_plan_is_read(kept: Any) -> None:
    engine = kept.engine()
    [plan] = plan_destruction(engine, ("cold",))
    holding.place(engine, matter="M-1", reason="court", scope=Everything())
    before = files(kept)
    assert (destroy(engine, plan).destroyed, files(kept)) == (0, before)


def test_a_pending_hold_refuses_and_the_next_destruction_goes_on(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = kept.engine()
    [plan] = plan_destruction(engine, ("cold",))

    def unreachable(engine: Any, source: str) -> None:
        raise SourceFailed(f"{source}: cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(holding, "_pass_fences", unreachable)
        placed = holding.place(engine, matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["31"])
    before = files(kept)
    with pytest.raises(Refused, match="is pending"):
        destroy(engine, plan)
    assert files(kept) == before
    assert kept.asked("SELECT state FROM run ORDER BY created_at DESC LIMIT 1") == [("failed",)]
    holding.confirm(engine, placed.hold.id)
    assert end(kept).destroyed == 1
    assert kept.asked("SELECT count(*) FROM run WHERE state = 'cancelled'") == [(1,)]
    assert kept.findings() == []


def test_a_hold_waits_for_the_destruction_under_way(kept: Any) -> None:
    process = kept.start_and_stop_at("destroy.after-fence", "archive", "destroy", "--yes")
    place = kept.start("hold", "place", "--matter", "M-1", "--reason", "court", "--everything")
    kept.hold_waits()
    before = files(kept)
    process.send_signal(signal.SIGCONT)
    out, said = place.communicate(timeout=60)
    assert place.returncode == 0, out + said
    after = files(kept)
    process.communicate(timeout=60)
    # it read the holds after the fence, where this one was already written down: it stands back
    assert process.returncode == 4
    assert files(kept) == after == before


@pytest.mark.parametrize("point", POINTS)
def test_a_destruction_that_was_killed_is_finished_by_the_next(kept: Any, point: str) -> None:
    died = kept.cli("archive", "destroy", "--yes", env={"RETENTION_FAILPOINTS": f"{point}=kill"})
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    if point not in ("destroy.after-fence", "destroy.after-settled"):
        [told] = kept.findings()
        assert "did not come to its end" in told
        assert "their archive copy is being destroyed by run" in explain(kept.engine(), CLASS, "30", AS_OF).outcome
        with pytest.raises(NotFound):
            restore.choose(kept.engine(), run=None, keys=["30"], where=(), address=None)
    done = kept.cli("archive", "destroy", "--yes")
    assert done.returncode == 0, done.stderr
    assert files(kept) == []
    assert kept.asked("SELECT count(*) FROM batch WHERE destroyed_at IS NULL") == [(0,)]
    assert kept.findings() == []
    assert kept.asked("SELECT count(*) FROM run WHERE state IN ('running', 'failed')") == [(0,)]


@pytest.mark.parametrize("point", POINTS[:3])
def test_what_an_interrupted_destruction_left_is_kept_by_a_hold(kept: Any, point: str) -> None:
    """Once placing a hold has returned nothing more goes, not even the rest of what was begun."""
    kept.cli("archive", "destroy", "--yes", env={"RETENTION_FAILPOINTS": f"{point}=kill"})
    scope = Keys(records=CLASS, count=1)
    placed = holding.place(kept.engine(), matter="M-1", reason="court", scope=scope, keys=["30"])
    left = files(kept)
    assert left
    assert end(kept).held == 1
    assert files(kept) == left
    kept.release_long_ago(placed.hold.id)
    assert end(kept).destroyed == 1
    assert files(kept) == []
    assert kept.findings() == []


def test_two_destructions_at_once(kept: Any) -> None:
    process = kept.start_and_stop_at("destroy.after-fence", "archive", "destroy", "--yes")
    with pytest.raises(RunTaken, match="is being worked on"):
        end(kept)
    # and one whose run was taken over meanwhile removes nothing
    kept.control("UPDATE shard SET owner = 'elsewhere:1:1'")
    before = files(kept)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "taken over by another process" in said
    assert files(kept) == before


def test_copies_that_are_out_of_sight_are_not_taken_for_destroyed(kept: Any) -> None:
    folder = kept.folder / "archive"
    folder.rename(kept.folder / "unmounted")
    with pytest.raises(ArchiveFailed, match="is not there"):
        end(kept)
    assert kept.asked("SELECT destroyed_by_run FROM batch") == [(None,)]
    (kept.folder / "unmounted").rename(folder)
    assert end(kept).destroyed == 1
    assert files(kept) == []


def test_a_lost_manifest_does_not_shake_off_a_hold(kept: Any) -> None:
    holding.place(kept.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["30"])
    [manifest] = kept.folder.glob("archive/crm/**/*.json")
    manifest.unlink()
    left = files(kept)
    with pytest.raises(ArchiveFailed, match="could not be read"):
        end(kept)
    assert files(kept) == left


def test_a_class_that_is_no_longer_declared_keeps_its_copies_while_anything_is_held(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    plain_site.run_long_ago()
    config = plain_site.config
    config.write_text(config.read_text().replace("      activities:", "      acts:"))
    for name in ("service-notes", "sales-records"):
        plain_site.policy(name, records="crm.acts")
    placed = holding.place(
        plain_site.engine(), matter="M-1", reason="court", scope=Keys(records="crm.acts", count=1), keys=["31"]
    )
    assert end(plain_site).held == 1
    plain_site.release_long_ago(placed.hold.id)
    assert end(plain_site).destroyed == 1


@pytest.mark.parametrize("dates", [False, True])
def test_a_hold_on_a_class_of_dependents_keeps_the_copies_they_lie_in(site: Any, dates: bool) -> None:
    site.fill(ROWS)
    config = site.config
    config.write_text(
        config.read_text().replace(
            "    classes:\n",
            "    classes:\n      comments: {table: activity_comments, key: id, dependents: {comment_files: {key: comment_id}}}\n",
        )
    )
    site.run_long_ago()
    day = date(2020, 1, 1) if dates else None
    scope = WholeClass(records="crm.comments")
    holding.place(site.engine(), matter="M-1", reason="court", scope=scope, first_day=day, last_day=day)
    assert end(site).held == 1


def test_copies_that_are_kept_for_ever(plain_site: Any) -> None:
    plain_site.policy("service-notes", archive="{to: cold, keep: forever}")
    plain_site.fill(ROWS)
    plain_site.run()
    assert plain_site.asked("SELECT destroy_after FROM batch") == [(None,)]
    assert end(plain_site).destroyed == 0


#: what the one record with odd values says, in each dialect, by conditions that cover it and conditions that do not
ODD = {
    "postgresql": (
        "ALTER TABLE activity_logs ADD price numeric, ADD doc jsonb, ADD ref uuid, ADD span interval, ADD code varchar(9),"
        " ADD moment timestamptz, ADD flag boolean",
        "UPDATE activity_logs SET price = 12.50, ref = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', code = 'x-1',"
        " moment = '2026-01-15 10:00:00+00', flag = true, note = 'ü', doc = '1', span = '1 day' WHERE id = 30",
        "UPDATE activity_logs SET price = 'NaN' WHERE id = 45",
    ),
    "sqlite": (
        "ALTER TABLE activity_logs ADD price NUMERIC",
        "ALTER TABLE activity_logs ADD code",
        "ALTER TABLE activity_logs ADD moment DATETIME",
        "ALTER TABLE activity_logs ADD flag BOOLEAN",
        "UPDATE activity_logs SET price = 12.5, code = 'x-1', moment = '2026-01-15 10:00:00', flag = 1, note = 'ü'"
        " WHERE id = 30",
        "UPDATE activity_logs SET code = 7, price = 'n/a' WHERE id = 45",
    ),
    "mysql": (
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "ALTER TABLE activity_logs ADD price DECIMAL(12,4), ADD code VARCHAR(9), ADD moment TIMESTAMP NULL, ADD flag BOOLEAN,"
        " ADD day DATE, ADD mood ENUM('x-1', 'x-2')",
        "UPDATE activity_logs SET price = 12.5, code = 'x-1', moment = '2026-01-15 10:00:00', flag = 1, note = 'ü',"
        " mood = 'x-2', day = '0000-00-00' WHERE id = 30",
    ),
}
WHERE = ["code=x-1", "code=x-2", "moment=2026-01-15", "moment=2026-01-16", "flag=true", "note=ü", "note=note 31",
         "price=12.5", "price=12.6", "status=open", "status=none"]  # fmt: skip


@pytest.mark.parametrize("where", WHERE)
def test_what_a_hold_covers_in_the_source_it_covers_in_the_copy(plain_site: Any, where: str) -> None:
    plain_site.fill(60)
    plain_site.run_sql(plain_site.url, *ODD[plain_site.dialect])
    config = plain_site.config
    config.write_text(config.read_text().replace("        columns: [status, amount, account_id, closed_at]\n", ""))
    scope = Matching(where=parse_where(where), records=(CLASS,))
    first = holding.place(plain_site.engine(), matter="M-1", reason="court", scope=scope)
    held = plain_site.plan().held
    with plain_site.at(datetime(2025, 1, 1, tzinfo=UTC)):
        holding.release(plain_site.engine(), first.hold.id, reason="settled")
    plain_site.run_long_ago()
    holding.place(plain_site.engine(), matter="M-2", reason="court", scope=scope)
    [plan] = plan_destruction(plain_site.engine(), ("cold",))
    assert len(plan.held) == (held > 0)


def test_a_number_that_has_no_order_in_python_is_covered(postgresql_site: Any) -> None:
    """In doubt the copy stays: no comparison holds of NaN, which PostgreSQL sorts above every number."""
    postgresql_site.fill(60)
    postgresql_site.run_sql(postgresql_site.url, "UPDATE activity_logs SET amount = 'NaN' WHERE id = 45")
    postgresql_site.run_long_ago()
    above = Compare(column="amount", operator=Operator.ABOVE, value=1000, mark=Mark(file="x"))
    scope = Matching(where=above, records=(CLASS,))
    holding.place(postgresql_site.engine(), matter="M-1", reason="court", scope=scope)
    assert end(postgresql_site).held == 1


TAG_SOURCES = {
    "rules": ("        tags: {rules: {service-note: {status: [open, closed]}, odd: {status: open}, never: {status: x}}}\n", ()),
    "table": (
        "        tags: {table: activity_tags, record: activity_id, tag: tag}\n",
        (
            "CREATE TABLE activity_tags (activity_id BIGINT NOT NULL REFERENCES activity_logs(id), tag VARCHAR(40) NOT NULL,"
            " PRIMARY KEY (activity_id, tag))",
            "INSERT INTO activity_tags SELECT id, 'service-note' FROM activity_logs WHERE id % 3 = 0",
            "INSERT INTO activity_tags SELECT id, 'odd' FROM activity_logs WHERE id = 15",
        ),
    ),
    "text": (
        "        tags: {column: labels}\n",
        (
            "ALTER TABLE activity_logs ADD labels TEXT",
            "UPDATE activity_logs SET labels = ' service-note , odd' WHERE id % 3 = 0",
        ),
    ),
    "json": (
        "        tags: {column: labels}\n",
        (
            "ALTER TABLE activity_logs ADD labels JSON",
            "UPDATE activity_logs SET labels = '[\"service-note\", \"odd\"]' WHERE id % 3 = 0",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("tags", TAG_SOURCES)
def test_a_hold_on_a_tag_finds_it_in_the_copy_wherever_it_stood(site: Any, tags: str) -> None:
    declared, statements = TAG_SOURCES[tags]
    site.fill(60)
    site.run_sql(site.url, *statements)
    config = site.config
    config.write_text(config.read_text().replace("        tags: {column: tags}\n", declared))
    if tags == "rules":
        path = site.folder / "policies" / "sales-records.yaml"
        path.write_text(path.read_text().replace("tags: [sales]", "tags: [never]"))
    assert site.run_long_ago().deleted >= 4
    other = holding.place(site.engine(), matter="M-1", reason="court", scope=Tagged(tag="never", records=(CLASS,)))
    assert len(plan_destruction(site.engine(), ("cold",))[0].due) == 1
    site.release_long_ago(other.hold.id)
    holding.place(site.engine(), matter="M-2", reason="court", scope=Tagged(tag="odd", records=(CLASS,)))
    assert plan_destruction(site.engine(), ("cold",))[0].due == ()


@pytest.mark.parametrize("now", ["rules", "table"])
def test_tags_that_stood_elsewhere_when_the_copy_was_made_keep_it(plain_site: Any, now: str) -> None:
    plain_site.fill(60)
    plain_site.run_long_ago()
    declared, statements = TAG_SOURCES[now]
    plain_site.run_sql(plain_site.url, *statements)
    config = plain_site.config
    config.write_text(config.read_text().replace("        tags: {column: tags}\n", declared))
    if now == "rules":
        plain_site.run_sql(plain_site.url, "ALTER TABLE activity_logs ADD region TEXT")
        config.write_text(
            config.read_text().replace("never: {status: x}", "never: {region: north}, sales: {status: y}")
        )
    tag = "never" if now == "rules" else "odd"
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Tagged(tag=tag, records=(CLASS,)))
    assert end(plain_site).held == 1


def test_a_class_without_tags_by_now_keeps_its_copies_while_a_tag_is_held(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.run_long_ago()
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Tagged(tag="odd", records=(CLASS,)))
    assert len(plan_destruction(plain_site.engine(), ("cold",))[0].due) == 1
    config = plain_site.config
    config.write_text(config.read_text().replace("        tags: {column: tags}\n", ""))
    for name, tag in (("service-notes", "service-note"), ("sales-records", "sales")):
        path = plain_site.folder / "policies" / f"{name}.yaml"
        path.write_text(path.read_text().replace(f"tags: [{tag}]", "all: true"))
    [plan] = plan_destruction(plain_site.engine(), ("cold",))
    assert (plan.due, len(plan.held)) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "literal", "value", "held"),
    [
        ("numeric(12,2)", "15.00", "15", 1), ("numeric(12,2)", "15.00", "15.5", 0), ("numeric(12,2)", "15.00", "x", 0),
        ("text", "'Li@Example.com'", "li@example.com ", 1), ("text", "NULL", "None", 0), ("text", "'15.0'", "15", 0),
    ],
)  # fmt: skip
def test_a_subject_is_found_however_its_name_is_written(
    plain_site: Any, kind: str, literal: str, value: str, held: int
) -> None:
    plain_site.fill(60)
    plain_site.run_sql(
        plain_site.url, f"ALTER TABLE activity_logs ADD who {kind}", f"UPDATE activity_logs SET who = {literal}"
    )
    config = plain_site.config
    config.write_text(config.read_text().replace("{customer: account_id}", "{customer: who}"))
    plain_site.run_long_ago()
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Subject(subject="customer", value=value))
    assert len(plan_destruction(plain_site.engine(), ("cold",))[0].held) == held


def test_a_copy_without_the_clock_of_a_hold_with_days_is_covered(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.policy("service-notes", retain="{for: 90 days, from: closed_at}")
    plain_site.run_sql(
        plain_site.url, "UPDATE activity_logs SET closed_at = created_at, created_at = NULL WHERE id = 15"
    )
    assert plain_site.run_long_ago().deleted == 1
    day = date(2020, 1, 1)
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Everything(), first_day=day, last_day=day)
    assert end(plain_site).held == 1


def test_a_hold_with_days_covers_every_copy_whose_clock_stands_elsewhere(plain_site: Any) -> None:
    """A copy has the record's own columns; what its parent said in one of the same name, nobody can tell any more."""
    plain_site.run_sql(
        plain_site.url,
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, closed_at TIMESTAMP)",
        *(f"INSERT INTO accounts VALUES ({one}, '2019-01-15 10:00:00')" for one in range(100)),
    )
    text = plain_site.config.read_text()
    created = "        created: account.closed_at\n        parents: {account: {table: accounts, column: account_id}}\n"
    plain_site.config.write_text(text.replace("        created: created_at\n", created, 1))
    plain_site.fill(60)
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET closed_at = '2018-06-01 10:00:00'")
    assert plain_site.run_long_ago().deleted
    day = date(2020, 1, 1)
    holding.place(plain_site.engine(), matter="M-1", reason="court", scope=Everything(), first_day=day, last_day=day)
    assert end(plain_site).held == 1
