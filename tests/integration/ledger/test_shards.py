from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.ledger import runs, shards
from retention.ledger.control import Control
from retention.ledger.owner import new_owner
from retention.ledger.runs import RunState, RunTaken
from retention.ledger.shards import Lease, ShardState

NOW = datetime(2026, 10, 1, 2, tzinfo=UTC)
NOBODY = "elsewhere:1:1/a"
LATER = NOW + timedelta(minutes=2)


@pytest.fixture
def connection(control: Control) -> Iterator[sa.Connection]:
    with control.write() as connection:
        yield connection


@pytest.fixture
def run_id(connection: sa.Connection) -> str:
    """A running run of three shards."""
    run = runs.create(
        connection, kind=runs.RunKind.DISPOSITION, policy="sales", policy_digest="a" * 64, set_digest="b" * 64,
        records="crm.activities", as_of=NOW, requested_by="li", plan=None, at=NOW,
    )  # fmt: skip
    shards.create(connection, run.id, [(10, "a"), (20, "客")])
    runs.move(connection, run.id, RunState.RUNNING, reason="", at=NOW)
    return run.id


def take(connection: sa.Connection, run_id: str, number: int, owner: str, at: datetime = NOW) -> Lease:
    return shards.take(connection, shards.get(connection, run_id, number), owner, at)


def test_the_ranges_meet_and_cover_everything(connection: sa.Connection, run_id: str) -> None:
    made = shards.of_run(connection, run_id)
    assert [(one.number, one.after, one.until) for one in made] == [
        (1, None, (10, "a")),
        (2, (10, "a"), (20, "客")),
        (3, (20, "客"), None),
    ]
    assert {(one.state, one.owner, one.cursor, one.attempts) for one in made} == {(ShardState.OPEN, None, None, 0)}
    with pytest.raises(NotFound, match="has no shard 4"):
        shards.get(connection, run_id, 4)


def test_a_living_owner_is_not_taken_over_and_a_silent_one_is(connection: sa.Connection, run_id: str) -> None:
    lease = take(connection, run_id, 2, NOBODY)
    with pytest.raises(RunTaken, match=f"being worked on by {NOBODY}"):
        take(connection, run_id, 2, new_owner(), LATER - timedelta(seconds=1))
    with pytest.raises(RunTaken):
        shards.take_all(connection, run_id, new_owner(), NOW)
    with pytest.raises(RunTaken):
        shards.refuse_taken(connection, run_id, NOW)
    shards.refuse_taken(connection, run_id, LATER)
    assert shards.still_leased(connection, lease)
    later = take(connection, run_id, 2, new_owner(), LATER)
    assert shards.still_leased(connection, later)
    assert not shards.still_leased(connection, lease)
    assert shards.get(connection, run_id, 2).served_at == LATER


def test_another_thread_of_the_same_process_is_somebody_else(connection: sa.Connection, run_id: str) -> None:
    take(connection, run_id, 1, new_owner())
    with pytest.raises(RunTaken):
        take(connection, run_id, 1, new_owner())


def test_a_heartbeat_keeps_what_the_owner_has_and_nothing_else(connection: sa.Connection, run_id: str) -> None:
    take(connection, run_id, 1, NOBODY)
    take(connection, run_id, 2, "elsewhere:2:2")
    assert shards.seen(connection, run_id, NOBODY, LATER)
    assert [one.owner_seen_at for one in shards.of_run(connection, run_id)] == [LATER, NOW, None]
    take(connection, run_id, 1, "third:3:3", LATER + timedelta(minutes=2))
    assert not shards.seen(connection, run_id, NOBODY, LATER)


def test_what_was_lost_can_be_changed_no_more(connection: sa.Connection, run_id: str) -> None:
    lost = take(connection, run_id, 1, NOBODY)
    take(connection, run_id, 1, "elsewhere:2:2", LATER)
    before = shards.get(connection, run_id, 1)
    for change in (
        lambda: shards.require(connection, lost),
        lambda: shards.advance(connection, lost, (3, "x")),
        lambda: shards.done(connection, lost),
        lambda: shards.failed(connection, lost, "no", not_before=LATER),
        lambda: shards.wait(connection, lost, not_before=LATER),
    ):
        with pytest.raises(RunTaken, match="taken over by another process"):
            change()
    shards.leave(connection, run_id, NOBODY)
    assert shards.get(connection, run_id, 1) == before


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_a_lease_needs_a_running_run(connection: sa.Connection, run_id: str, state: RunState) -> None:
    lease = take(connection, run_id, 1, NOBODY)
    connection.execute(sa.text("UPDATE run SET state = :state").bindparams(state=state.value))
    assert not shards.still_leased(connection, lease)


def test_a_run_that_stops_leaves_its_shards_to_nobody(connection: sa.Connection, run_id: str) -> None:
    shards.take_all(connection, run_id, NOBODY, NOW)
    runs.move(connection, run_id, RunState.CANCELLED, reason="stop", at=NOW)
    assert {one.owner for one in shards.of_run(connection, run_id)} == {None}
    with pytest.raises(Refused, match="is over: it is cancelled"):
        shards.take_all(connection, run_id, NOBODY, NOW)


def test_failures_are_counted_until_the_shard_goes_on(connection: sa.Connection, run_id: str) -> None:
    for attempt in (1, 2):
        shards.failed(connection, take(connection, run_id, 1, NOBODY), f"no {attempt}", not_before=LATER)
        found = shards.get(connection, run_id, 1)
        assert (found.attempts, found.error, found.not_before, found.owner) == (attempt, f"no {attempt}", LATER, None)
    lease = take(connection, run_id, 1, NOBODY)
    shards.advance(connection, lease, (7, "x"))
    found = shards.get(connection, run_id, 1)
    assert (found.attempts, found.error, found.not_before, found.cursor) == (0, None, None, (7, "x"))
    assert shards.still_leased(connection, lease)


def test_what_failed_too_often_is_quarantined_until_it_is_opened_again(connection: sa.Connection, run_id: str) -> None:
    shards.done(connection, take(connection, run_id, 2, NOBODY))
    shards.quarantine(
        connection, shards.failed(connection, take(connection, run_id, 1, NOBODY), "poison", not_before=LATER)
    )
    found = shards.get(connection, run_id, 1)
    assert (found.state, found.error, found.attempts) == (ShardState.QUARANTINED, "poison", 1)
    assert [lease.number for lease in shards.take_all(connection, run_id, NOBODY, NOW)] == [1, 3]
    shards.reopen(connection, run_id)
    states = [(one.state, one.attempts, one.error) for one in shards.of_run(connection, run_id)]
    assert states == [(ShardState.OPEN, 0, None), (ShardState.DONE, 0, None), (ShardState.OPEN, 0, None)]


def test_who_dies_leaves_a_failed_attempt_and_a_batch_that_is_done_forgives_it(
    connection: sa.Connection, run_id: str
) -> None:
    take(connection, run_id, 1, NOBODY)
    found = shards.died(connection, shards.get(connection, run_id, 1))
    assert (found.attempts, found.error, found.owner) == (1, "its process died", None)
    lease = take(connection, run_id, 1, NOBODY)
    shards.went_on(connection, Lease(run_id=run_id, number=1, owner="another"))
    assert shards.get(connection, run_id, 1).attempts == 1
    shards.went_on(connection, lease)
    assert (shards.get(connection, run_id, 1).attempts, shards.get(connection, run_id, 1).error) == (0, None)


def test_waiting_is_no_failure(connection: sa.Connection, run_id: str) -> None:
    shards.wait(connection, take(connection, run_id, 1, NOBODY), not_before=LATER)
    found = shards.get(connection, run_id, 1)
    assert (found.state, found.attempts, found.not_before, found.owner) == (ShardState.OPEN, 0, LATER, None)
