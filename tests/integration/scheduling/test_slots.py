"""Opening slots in a real control database: each once, whatever beats and clocks do."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from retention.ledger import chain, schedules, slots
from retention.ledger.control import Control
from retention.ledger.owner import new_owner
from retention.ledger.slots import SLOT_EDGES, Slot, SlotState
from retention.ledger.times import stamp
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import Limits, Policy, Retain, Schedule
from retention.scheduling.coming import coming
from retention.scheduling.opening import MOST, ahead_until, next_slot, open_slots

QUARTERLY = "0 2 1 1,4,7,10 *"
JULY = datetime(2026, 7, 15, 12, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, 2, tzinfo=UTC)


def policy(cron: str = QUARTERLY, *, zone: str = "UTC", missed: str = "run once", name: str = "notes") -> Policy:
    return Policy(
        name=name,
        title=name,
        mandate=None,
        owner=None,
        records="crm.activities",
        tags=None,
        where=None,
        retain=Retain(period=Period.parse("90 days")),
        archive=None,
        schedule=Schedule(cron=cron, timezone=ZoneInfo(zone)),
        approval=False,
        limits=Limits(),
        digest="",
        mark=Mark(file="notes.yaml"),
        missed=missed,  # type: ignore[arg-type]
    )


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def control(request: pytest.FixtureRequest, tmp_path: object) -> Control:
    server = {"postgresql": "postgres_url", "mariadb": "mariadb_control_url"}
    url = (
        f"sqlite:///{tmp_path}/control.db"
        if request.param == "sqlite"
        else request.getfixturevalue(server[request.param])
    )
    Control.upgrade(url)
    opened = Control.open(url)
    request.addfinalizer(opened.close)
    return opened


def all_slots(control: Control, name: str = "notes") -> list[Slot]:
    with control.read() as connection:
        found = [slot for state in SlotState for slot in slots.in_state(connection, state, name)]
    return sorted(found, key=lambda slot: slot.due_at)


def states(control: Control, name: str = "notes") -> list[tuple[str, str]]:
    return [(slot.local_time, slot.state.value) for slot in all_slots(control, name)]


def entries(control: Control) -> list[tuple[str, str]]:
    with control.read() as connection:
        return [(entry.kind, entry.subject) for entry in chain.entries(connection) if entry.kind.startswith("slot.")]


def ticks(control: Control, one: Policy, *moments: datetime) -> None:
    for moment in moments:
        while open_slots(control, [one], moment).more:
            pass


def begin(control: Control, slot: Slot, at: datetime) -> None:
    with control.write() as connection:
        slots.move(connection, slot, SlotState.BEGUN, reason="its run was made", at=at)


def test_nothing_before_a_policy_was_first_seen_counts(control: Control) -> None:
    ticks(control, policy(), OCTOBER + timedelta(hours=1))
    assert states(control) == []


def test_a_slot_is_opened_when_its_time_comes_and_not_before(control: Control) -> None:
    ticks(control, policy(), JULY, OCTOBER - timedelta(microseconds=1))
    assert states(control) == []
    opened = open_slots(control, [policy()], OCTOBER).opened
    assert [(one.id, one.due_at, one.state, one.late_seconds) for one in opened] == [
        ("notes@2026-10-01T02:00", OCTOBER, SlotState.DUE, 0)
    ]
    assert entries(control) == [("slot.opened", "notes@2026-10-01T02:00")]


def test_a_slot_that_stands_there_is_not_opened_again(control: Control) -> None:
    ticks(control, policy(), JULY, OCTOBER, OCTOBER + timedelta(seconds=5), OCTOBER + timedelta(days=1))
    assert len(entries(control)) == 1


def test_beats_at_once_open_each_slot_once(control: Control) -> None:
    daily = policy("0 2 * * *", missed="run all")
    ticks(control, daily, JULY)
    barrier = threading.Barrier(4)
    opened: list[Slot] = []

    def beat() -> None:
        barrier.wait()
        opened.extend(open_slots(control, [daily], JULY + timedelta(days=20)).opened)

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == len({slot.id for slot in opened}) == len(all_slots(control)) == 20


def test_run_once_lets_the_newest_do_the_work_of_all(control: Control) -> None:
    monthly = policy("0 2 1 * *")
    ticks(control, monthly, JULY, OCTOBER + timedelta(days=3))
    assert states(control) == [
        ("2026-08-01T02:00", "missed"),
        ("2026-09-01T02:00", "missed"),
        ("2026-10-01T02:00", "due"),
    ]
    first, _, last = all_slots(control)
    assert first.reason == "the run of 2026-10-01T02:00 does its work"
    assert last.late_seconds == 3 * 86400


def test_run_once_also_where_beats_ran_and_workers_did_not(control: Control) -> None:
    monthly = policy("0 2 1 * *")
    ticks(control, monthly, JULY, datetime(2026, 8, 1, 2, tzinfo=UTC), datetime(2026, 9, 1, 2, tzinfo=UTC))
    assert states(control) == [("2026-08-01T02:00", "missed"), ("2026-09-01T02:00", "due")]
    assert [kind for kind, _ in entries(control)] == ["slot.opened", "slot.opened", "slot.missed"]


def test_run_once_leaves_alone_what_a_worker_has_in_hand(control: Control) -> None:
    monthly = policy("0 2 1 * *")
    august, september = datetime(2026, 8, 1, 2, tzinfo=UTC), datetime(2026, 9, 1, 2, tzinfo=UTC)
    ticks(control, monthly, JULY, august)
    own(control, new_owner(), september)
    ticks(control, monthly, september)
    assert [state for _, state in states(control)] == ["due", "due"]


def own(control: Control, owner: str, at: datetime) -> None:
    import sqlalchemy as sa

    with control.write() as connection:
        values = {"owner": owner, "at": stamp(at)}
        connection.execute(sa.text("UPDATE slot SET owner = :owner, owner_seen_at = :at"), values)


def test_skip_runs_what_is_at_most_an_hour_late(control: Control) -> None:
    daily = policy("0 2 * * *", missed="skip")
    two = datetime(2026, 7, 18, 2, tzinfo=UTC)
    ticks(control, daily, JULY, two + timedelta(hours=1))
    assert [state for _, state in states(control)] == ["skipped", "skipped", "due"]


def test_skip_skips_a_slot_that_nobody_began_for_an_hour(control: Control) -> None:
    daily = policy("0 2 * * *", missed="skip")
    two = datetime(2026, 7, 16, 2, tzinfo=UTC)
    ticks(control, daily, JULY, two, two + timedelta(hours=1))
    assert states(control) == [("2026-07-16T02:00", "due")]
    ticks(control, daily, two + timedelta(hours=1, seconds=1))
    assert states(control) == [("2026-07-16T02:00", "skipped")]


def test_run_all_runs_each(control: Control) -> None:
    ticks(control, policy("0 2 1 * *", missed="run all"), JULY, OCTOBER + timedelta(days=3))
    assert [state for _, state in states(control)] == ["due", "due", "due"]


def test_more_slots_than_a_transaction_opens(control: Control) -> None:
    often = policy("*/5 * * * *")
    later = JULY + timedelta(days=4)
    ticks(control, often, JULY, later)
    found = states(control)
    assert len(found) == 4 * 24 * 12 > 2 * MOST
    assert [state for _, state in found].count("due") == 1 and found[-1][1] == "due"


def test_a_clock_set_back_opens_nothing_twice_and_is_told(control: Control) -> None:
    daily = policy("0 2 * * *", missed="run all")
    ticks(control, daily, JULY, JULY + timedelta(days=2))
    before = states(control)
    looked = open_slots(control, [daily], JULY)
    assert looked.ahead == (("notes", JULY + timedelta(days=2)),)
    ticks(control, daily, JULY, JULY + timedelta(days=1), JULY + timedelta(days=2))
    assert states(control) == before
    ticks(control, daily, JULY + timedelta(days=3))
    assert len(states(control)) == len(before) + 1


def times(control: Control, one: Policy, now: datetime, count: int = 2) -> list[str]:
    with control.read() as connection:
        found = coming(connection, one.name, one.schedule, now)
        return [slot.local_time for slot in islice(found, count)]


def test_a_policy_that_a_clock_saw_first_that_was_ahead_has_its_first_slot_after_that(control: Control) -> None:
    daily = policy("0 2 * * *")
    ticks(control, daily, JULY + timedelta(days=3), JULY, JULY + timedelta(days=1))
    assert states(control) == []
    assert times(control, daily, JULY) == ["2026-07-19T02:00", "2026-07-20T02:00"]


def test_after_a_clock_was_ahead_only_what_nobody_has_begun_comes_before_its_time(control: Control) -> None:
    daily = policy("0 2 * * *", missed="run all")
    assert times(control, daily, JULY) == ["2026-07-16T02:00", "2026-07-17T02:00"], "nobody has looked yet"
    ticks(control, daily, JULY, JULY + timedelta(days=3))
    first, second, _ = all_slots(control)
    for slot in (first, second):
        begin(control, slot, JULY + timedelta(days=3))
    assert times(control, daily, JULY, 3) == ["2026-07-18T02:00", "2026-07-19T02:00", "2026-07-20T02:00"]
    with control.read() as connection:
        seen = schedules.read(connection)["notes"]
    ends = JULY + timedelta(days=3)
    assert ahead_until(seen, JULY) == ends and ahead_until(seen, ends - timedelta(seconds=61)) == ends
    assert ahead_until(seen, ends - timedelta(minutes=1)) is None, "clocks of two machines differ by so much"


def test_a_new_cron_counts_from_when_it_was_seen_and_the_old_one_until_then(control: Control) -> None:
    ticks(control, policy("0 2 * * *"), JULY)
    ticks(control, policy("0 3 * * *"), JULY + timedelta(hours=16))  # 16 July, 04:00
    assert states(control) == [("2026-07-16T02:00", "due")]
    ticks(control, policy("0 3 * * *"), JULY + timedelta(hours=39))
    assert [name for name, _ in states(control)] == ["2026-07-16T02:00", "2026-07-17T03:00"]


def test_a_new_zone_to_the_east_leaves_no_day_out(control: Control) -> None:
    """At 21:00 in Berlin it is 03:00 of the next day in Shanghai: its 02:00 has passed, and is due at once."""
    ticks(control, policy("0 2 * * *", zone="Europe/Berlin"), datetime(2026, 7, 15, 12, tzinfo=UTC))
    ticks(control, policy("0 2 * * *", zone="Asia/Shanghai"), datetime(2026, 7, 15, 19, tzinfo=UTC))
    assert [(slot.local_time, slot.zone) for slot in all_slots(control)] == [("2026-07-16T02:00", "Asia/Shanghai")]


def test_a_new_zone_to_the_west_brings_no_day_twice(control: Control) -> None:
    east = policy("0 2 * * *", zone="Asia/Shanghai")
    ticks(control, east, datetime(2026, 7, 15, 12, tzinfo=UTC), datetime(2026, 7, 15, 18, tzinfo=UTC))
    [slot] = all_slots(control)
    begin(control, slot, datetime(2026, 7, 15, 18, 1, tzinfo=UTC))
    west = policy("0 2 * * *", zone="Europe/Berlin")
    ticks(control, west, datetime(2026, 7, 15, 19, tzinfo=UTC))
    assert times(control, west, datetime(2026, 7, 15, 19, tzinfo=UTC)) == ["2026-07-17T02:00", "2026-07-18T02:00"]
    ticks(control, west, datetime(2026, 7, 16, 1, tzinfo=UTC))
    assert states(control) == [("2026-07-16T02:00", "begun")]
    assert [kind for kind, _ in entries(control)] == ["slot.opened", "slot.begun"]
    ticks(control, west, datetime(2026, 7, 17, 1, tzinfo=UTC))
    assert [name for name, _ in states(control)] == ["2026-07-16T02:00", "2026-07-17T02:00"]


def test_a_renamed_policy_begins_anew(control: Control) -> None:
    ticks(control, policy("0 2 * * *"), JULY, JULY + timedelta(days=1))
    ticks(control, policy("0 2 * * *", name="other"), JULY + timedelta(days=1))
    assert len(states(control)) == 1
    assert states(control, "other") == []


def test_a_policy_s_row_moves_once_a_minute_and_not_with_each_tick(control: Control) -> None:
    """A tick that finds nothing writes nothing."""
    ticks(control, policy(), JULY, JULY + timedelta(seconds=59))
    with control.read() as connection:
        assert schedules.read(connection)["notes"].checked_until == JULY
    ticks(control, policy(), JULY + timedelta(seconds=60))
    with control.read() as connection:
        assert schedules.read(connection)["notes"].checked_until == JULY + timedelta(seconds=60)


def test_a_beat_wakes_for_the_next_slot() -> None:
    assert next_slot([policy(), policy("0 3 * * *", name="other")], JULY) == datetime(2026, 7, 16, 3, tzinfo=UTC)
    assert next_slot([], JULY) is None


@pytest.mark.parametrize("state", list(SlotState))
@pytest.mark.parametrize("to", list(SlotState))
def test_only_the_edges_of_the_table_may_be_taken(tmp_path: object, state: SlotState, to: SlotState) -> None:
    import sqlalchemy as sa

    from retention.errors import Refused

    url = f"sqlite:///{tmp_path}/control.db"
    Control.upgrade(url)
    with Control.open(url) as control:
        ticks(control, policy(), JULY, OCTOBER)
        with control.write() as connection:
            connection.execute(sa.text("UPDATE slot SET state = :state"), {"state": state.value})
        [slot] = all_slots(control)
        with control.write() as connection:
            if (state, to) in SLOT_EDGES:
                assert slots.move(connection, slot, to, reason="so", at=OCTOBER).state is to
            else:
                with pytest.raises(Refused, match="cannot become"):
                    slots.move(connection, slot, to, reason="so", at=OCTOBER)
