"""What `explain` says of one record is what becomes of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from retention.archive import merkle
from retention.disposition import holding, restore
from retention.disposition.explain import Explanation, explain
from retention.errors import InputError, NotFound
from retention.holds.scope import Everything, Keys
from retention.policy.decide import Fate

AS_OF = datetime(2026, 10, 1, 2, tzinfo=UTC)
CLASS = "crm.activities"


def told(site: Any, key: str, as_of: datetime = AS_OF) -> Explanation:
    return explain(site.engine(), CLASS, key, as_of)


def fates(found: Explanation) -> dict[str, Fate | None]:
    assert found.decision is not None
    return {one.policy.name: one.fate for one in found.decision.judgements if one.matched}


def due_on(site: Any, policy: str, as_of: datetime) -> int:
    return int(site.plan(policy, as_of).due)


def test_due(plain_site: Any) -> None:
    plain_site.fill(60)
    found = told(plain_site, "15")
    assert fates(found) == {"service-notes": Fate.DUE}
    assert found.outcome == "The next run of service-notes archives and deletes it."
    assert (found.key, found.holds, found.archived) == ((15,), (), ())


def test_not_expired_with_the_day_from_which_it_is(plain_site: Any) -> None:
    plain_site.fill(60)
    found = told(plain_site, "3")  # 15 September 2026, and ninety days
    assert fates(found) == {"service-notes": Fate.NOT_EXPIRED}
    day = date(2026, 12, 15)
    assert (
        found.outcome
        == f"The first run of service-notes on or after {day} archives and deletes it, if nothing changes."
    )
    every_note = len([i for i in range(1, 61) if i % 3 == 0])
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert due_on(plain_site, "service-notes", midnight - timedelta(microseconds=1)) == len(plain_site.due_ids(60))
    assert due_on(plain_site, "service-notes", midnight) == every_note
    assert told(plain_site, "3", midnight).outcome == "The next run of service-notes archives and deletes it."


def test_kept_by_another_policy_until_both_are_over(plain_site: Any) -> None:
    plain_site.fill(1000)
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET closed_at = '2024-02-29 12:00:00' WHERE id = 1000")
    found = told(plain_site, "1000")
    assert fates(found) == {"sales-records": Fate.NOT_EXPIRED, "service-notes": Fate.KEPT_BY_OTHER}
    assert "first run of sales-records on or after 2029-03-01" in found.outcome
    assert due_on(plain_site, "sales-records", datetime(2029, 2, 28, 23, 59, tzinfo=UTC)) == 0
    assert due_on(plain_site, "sales-records", datetime(2029, 3, 1, tzinfo=UTC)) == 1


def test_a_legal_minimum_is_counted_in(plain_site: Any) -> None:
    plain_site.fill(60)
    config = plain_site.config
    config.write_text(
        config.read_text()
        + "minimums:\n  - {records: crm.activities, where: {status: open}, for: 1 year, mandate: Network logs}\n"
    )
    found = told(plain_site, "15")
    assert fates(found) == {"service-notes": Fate.KEPT_BY_OTHER}
    assert "on or after 2027-01-16" in found.outcome
    open_ones = len([i for i in plain_site.due_ids(60) if i % 2])
    closed = len([i for i in range(1, 61) if i % 3 == 0 and i % 2 == 0])
    assert due_on(plain_site, "service-notes", datetime(2027, 1, 15, 23, 59, tzinfo=UTC)) == closed
    assert due_on(plain_site, "service-notes", datetime(2027, 1, 16, tzinfo=UTC)) == closed + open_ones
    plain_site.run_sql(
        plain_site.url, "UPDATE activity_logs SET closed_at = created_at, created_at = NULL WHERE id = 15"
    )
    plain_site.policy("service-notes", retain="{for: 90 days, from: closed_at}")
    assert told(plain_site, "15").outcome == "It is kept for ever: the period of a rule that covers it never ends."


def test_a_period_of_hours_ends_at_an_instant(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.policy("service-notes", retain="{for: 2400 hours}", limits="{rows: 1000}")
    ends = datetime(2026, 9, 15, 10, tzinfo=UTC) + timedelta(hours=2400)
    assert f"after {ends:%Y-%m-%d %H:%M:%S} (UTC)" in told(plain_site, "3").outcome
    assert due_on(plain_site, "service-notes", ends) == len(plain_site.due_ids(60))
    assert due_on(plain_site, "service-notes", ends + timedelta(microseconds=1)) == 20


def test_for_ever(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.policy("service-notes", retain="{for: forever}")
    assert told(plain_site, "15").outcome == "It is kept for ever: the period of a rule that covers it never ends."


def test_held_and_then_in_its_grace(plain_site: Any) -> None:
    plain_site.fill(60)
    placed = holding.place(
        plain_site.engine(), matter="M-1", reason="court", scope=Keys(records=CLASS, count=1), keys=["15"]
    ).hold
    found = told(plain_site, "15")
    assert (fates(found), [hold.id for hold in found.holds]) == ({"service-notes": Fate.HELD}, [placed.id])
    assert found.outcome == (
        f"Nothing happens to it: {placed.id} covers it until it is released, and for 30 days after."
    )
    assert told(plain_site, "30").holds == ()
    with plain_site.at(datetime(2026, 11, 1, 8, 30, tzinfo=UTC)):
        holding.release(plain_site.engine(), placed.id, reason="settled")
    with plain_site.at(datetime(2026, 11, 2, tzinfo=UTC)):
        assert told(plain_site, "15").outcome == (
            f"Nothing happens to it: {placed.id} is released and protects it until 2026-12-01 08:30 (UTC)."
        )
    with plain_site.at(datetime(2026, 12, 2, tzinfo=UTC)):
        assert fates(told(plain_site, "15")) == {"service-notes": Fate.DUE}


def test_days_and_times_are_those_of_the_projects_zone(sqlite_site: Any) -> None:
    config = sqlite_site.config
    config.write_text(config.read_text().replace("timezone: UTC\ncontrol", "timezone: Asia/Shanghai\ncontrol"))
    sqlite_site.fill(60)
    placed = holding.place(sqlite_site.engine(), matter="M-1", reason="court", scope=Everything()).hold
    with sqlite_site.at(datetime(2026, 9, 30, 20, tzinfo=UTC)):  # the first of October, four in the morning
        holding.release(sqlite_site.engine(), placed.id, reason="settled")
        assert "protects it until 2026-10-31 04:00 (Asia/Shanghai)" in told(sqlite_site, "15").outcome
    with sqlite_site.at(datetime(2026, 11, 30, 20, tzinfo=UTC)):
        sqlite_site.policy("service-notes", retain="{for: 8000 hours}")
        assert "sales-records" not in (later := told(sqlite_site, "3").outcome)
        assert "after 2027-08-15 02:00:00 (Asia/Shanghai)" in later  # 15 September 2026, 10:00 UTC, and 8,000 hours
        sqlite_site.policy("service-notes", retain="{for: 90 days}")
        sqlite_site.run()
        assert told(sqlite_site, "15").outcome.startswith("It was archived and deleted on 2026-12-01 by run")


@pytest.mark.parametrize(
    ("grace", "words"), [("36 hours", "1 day 12 hours"), ("2 hours", "2 hours"), ("1 hours", "1 hour")]
)
def test_a_grace_of_hours_is_told_as_such(sqlite_site: Any, grace: str, words: str) -> None:
    sqlite_site.fill(60)
    config = sqlite_site.config
    config.write_text(config.read_text().replace("hold_release_grace: 30 days", f"hold_release_grace: {grace}"))
    holding.place(sqlite_site.engine(), matter="M-1", reason="court", scope=Everything())
    assert f"and for {words} after" in told(sqlite_site, "15").outcome


def test_no_clock(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.run_sql(plain_site.url, "UPDATE activity_logs SET created_at = NULL WHERE id = 15")
    found = told(plain_site, "15")
    assert fates(found) == {"service-notes": Fate.NO_CLOCK}
    assert found.outcome == "It is kept: service-notes matches it, and it has no clock to count from."


def test_uncovered(plain_site: Any) -> None:
    plain_site.fill(60)
    found = told(plain_site, "16")
    assert fates(found) == {}
    assert found.outcome == "No policy matches it: it is kept, and counted as uncovered."


def test_tags_that_cannot_be_read(sqlite_site: Any) -> None:
    sqlite_site.fill(60)
    sqlite_site.run_sql(sqlite_site.url, "UPDATE activity_logs SET tags = '[broken' WHERE id = 15")
    assert told(sqlite_site, "15").outcome.startswith("It is kept: its tags cannot be read")


def test_deleted_with_its_proof(plain_site: Any) -> None:
    plain_site.fill(6000)
    run = plain_site.run()
    found = told(plain_site, "30")
    assert found.decision is None
    [one] = found.archived
    assert one.run.id == run.run
    assert found.outcome == (
        f"It was archived and deleted on {one.batch.resolved_at:%Y-%m-%d} by run {run.run} under service-notes."
    )
    assert one.values is not None and (one.values["id"], one.values["note"]) == (30, "note 30")
    proof = one.inclusion
    assert proof is not None and (plain_site.folder / "archive" / proof.path).is_file()
    # what a stranger does with the proof: against the root that the ledger has, not the one that comes with it
    [fact] = [fact for fact in plain_site.facts("batch.committed") if fact["merkle_root"] == one.batch.merkle_root]
    root = bytes.fromhex(fact["merkle_root"])
    assert merkle.check(proof.leaf, proof.proof, root)
    assert len(proof.proof.levels) > 1
    other = told(plain_site, "45").archived[0].inclusion
    assert other is not None
    assert not merkle.check(other.leaf, proof.proof, root)


def test_deleted_restored_and_there_again(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.run()
    engine = plain_site.engine()
    choice = restore.choose(engine, run=None, keys=["15"], where=(), address=None)
    [back] = restore.restore(engine, choice, reason="audit")
    found = told(plain_site, "15")
    assert [hold.id for hold in found.holds] == [back.hold]
    assert len(found.archived) == 1
    plain_site.release_long_ago(back.hold)
    plain_site.run()
    twice = told(plain_site, "15")
    assert (twice.decision, len(twice.archived)) == (None, 2)


def test_deleted_without_an_archive(plain_site: Any) -> None:
    plain_site.policy("service-notes", archive="none", mandate="Data minimisation")
    plain_site.fill(60)
    run = plain_site.run().run
    found = told(plain_site, "15")
    assert f"among those of the 4 records deleted on {plain_site.engine().now():%Y-%m-%d} by run {run}" in found.outcome
    assert "they were not archived" in found.outcome


def test_never_existed(plain_site: Any) -> None:
    plain_site.fill(60)
    plain_site.run_sql(plain_site.url, "DELETE FROM activity_logs WHERE id = 31")
    plain_site.run()
    for key in ("61", "31000", "-1", "31"):  # the last lies between keys that were archived
        found = told(plain_site, key)
        assert (found.decision, found.archived) == (None, ())
        assert found.outcome == "There is no such record, and no archive of ours holds it."


def test_what_cannot_be_asked(sqlite_site: Any) -> None:
    sqlite_site.fill(6)
    with pytest.raises(InputError, match="is no key of"):
        told(sqlite_site, "fifteen")
    with pytest.raises(NotFound, match="there is no record class"):
        explain(sqlite_site.engine(), "crm.activity", "1", AS_OF)
