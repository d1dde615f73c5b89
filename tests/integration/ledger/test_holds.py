from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa

from retention.errors import EvidenceBroken, InputError, NotFound, Refused
from retention.holds.hold import HOLD_EDGES, Hold, HoldState
from retention.holds.scope import Everything, Keys, Matching, Scope, Subject
from retention.ledger import chain, holds
from retention.ledger.control import Control
from retention.ledger.tables import hold as hold_table
from retention.policy.condition import AllOf, Compare, Operator
from retention.policy.mark import Mark

NOW = datetime(2026, 10, 1, 2, 0, 30, 123456, tzinfo=UTC)
GRACE = timedelta(days=30)


def pending(hold_id: str = "H-1", scope: Scope | None = None, at: datetime = NOW) -> Hold:
    return Hold(
        id=hold_id,
        matter="Smith v. Jones",
        reason="court order 7",
        placed_by="li",
        placed_at=at,
        scope=scope if scope is not None else Everything(),
        state=HoldState.PENDING,
        first_day=date(2024, 2, 29),
        last_day=date(2025, 2, 28),
    )


def test_a_hold_comes_back_as_it_was_placed(control: Control) -> None:
    where = Compare(column="closed_at", operator=Operator.BEFORE, value=date(2024, 2, 29), mark=Mark(file="x"))
    hold = pending(scope=Matching(where=AllOf(parts=(where,)), records=("crm.activities",)))
    with control.write() as connection:
        assert holds.place(connection, hold, (), ["crm"]) == hold
    with control.read() as connection:
        assert holds.get(connection, "H-1") == hold
        assert holds.all_holds(connection) == [hold]
        assert holds.keys(connection, "H-1") == []


def test_from_pending_to_in_force_to_released(control: Control) -> None:
    with control.write() as connection:
        holds.place(connection, pending(), (), ["crm", "shop", "crm"])
        assert holds.pending_sources(connection) == {"crm", "shop"}
        assert holds.confirm(connection, "H-1", "crm", NOW).state is HoldState.PENDING
        assert holds.confirm(connection, "H-1", "crm", NOW).state is HoldState.PENDING
        assert holds.pending_sources(connection) == {"shop"}
        assert holds.unconfirmed(connection, "H-1") == ["shop"]
        assert holds.confirm(connection, "H-1", "shop", NOW).state is HoldState.IN_FORCE
        assert holds.confirm(connection, "H-1", "shop", NOW).state is HoldState.IN_FORCE
        assert holds.pending_sources(connection) == frozenset()
        released = holds.release(connection, "H-1", by="wang", reason="settled", at=NOW + GRACE)
    assert released.state is HoldState.RELEASED
    assert (released.released_by, released.released_at, released.release_reason) == ("wang", NOW + GRACE, "settled")
    with control.read() as connection:
        told = [(entry.kind, entry.subject) for entry in chain.entries(connection, 1)]
    confirmed = ("hold.confirmed", "H-1")
    assert told == [
        ("hold.placed", "H-1"),
        confirmed,  # by the one
        confirmed,  # and by the other
        ("hold.in-force", "H-1"),
        ("hold.released", "H-1"),
    ]


def test_every_edge_and_no_other(control: Control) -> None:
    for number, (before, after) in enumerate(itertools.product(HoldState, HoldState)):
        name = f"H-{number}"
        with control.write() as connection:
            holds.place(connection, pending(name), (), ["crm"])
            connection.execute(hold_table.update().where(hold_table.c.id == name).values(state=before.value))
            allowed = (before, after) in HOLD_EDGES
            if after is HoldState.RELEASED and not allowed:
                with pytest.raises(Refused, match="was released before"):
                    holds.release(connection, name, by="li", reason="", at=NOW)
                found = holds.get(connection, name)
            elif after is HoldState.RELEASED:
                found = holds.release(connection, name, by="li", reason="", at=NOW)
            elif after is HoldState.IN_FORCE:
                found = holds.confirm(connection, name, "crm", NOW)
            else:
                continue  # nothing leads back to pending
            assert found.state is (after if allowed else before)


def test_a_hold_that_was_given_up_while_pending_stays_released(control: Control) -> None:
    with control.write() as connection:
        holds.place(connection, pending(), (), ["crm"])
        holds.release(connection, "H-1", by="li", reason="typing error", at=NOW)
        assert holds.pending_sources(connection) == frozenset()
        assert holds.confirm(connection, "H-1", "crm", NOW).state is HoldState.RELEASED
        told = [entry.kind for entry in chain.entries(connection, 1)]
    assert told == ["hold.placed", "hold.released", "hold.confirmed"]


def test_active_is_what_protects(control: Control) -> None:
    with control.write() as connection:
        for number in range(4):
            holds.place(connection, pending(f"H-{number}", at=NOW + timedelta(seconds=number)), (), ["crm"])
        holds.confirm(connection, "H-1", "crm", NOW)
        holds.release(connection, "H-2", by="li", reason="r", at=NOW)
        holds.release(connection, "H-3", by="li", reason="r", at=NOW + timedelta(microseconds=1))
    with control.read() as connection:
        every = holds.all_holds(connection)
        for now in (NOW, NOW + GRACE, NOW + GRACE - timedelta(microseconds=1), NOW + GRACE + timedelta(microseconds=1)):
            assert holds.active(connection, now, GRACE) == [hold for hold in every if hold.protects(now, GRACE)]
        assert [hold.id for hold in holds.active(connection, NOW + GRACE, GRACE)] == ["H-0", "H-1", "H-3"]


def test_each_placing_and_release_counts_the_epoch_up(control: Control) -> None:
    epochs = []
    with control.write() as connection:
        epochs.append(holds.epoch(connection))
        holds.place(connection, pending("H-1"), (), ["crm"])
        epochs.append(holds.epoch(connection))
        holds.place(connection, pending("H-2"), (), ["crm"])
        epochs.append(holds.epoch(connection))
        holds.confirm(connection, "H-1", "crm", NOW)
        epochs.append(holds.epoch(connection))
        holds.release(connection, "H-1", by="li", reason="r", at=NOW)
        epochs.append(holds.epoch(connection))
        assert [entry.facts.get("epoch") for entry in chain.entries(connection, 1)] == [1, 2, None, None, 3]
    assert epochs == [0, 1, 2, 2, 3]


def test_a_hold_that_failed_counts_nothing(control: Control) -> None:
    with pytest.raises(KeyError), control.write() as connection:
        holds.place(connection, pending(), (), ["crm"])
        raise KeyError
    with control.read() as connection:
        assert (holds.epoch(connection), holds.all_holds(connection), holds.pending_sources(connection)) == (
            0,
            [],
            set(),
        )


KEYS = [
    (1, "a"),
    (1, "A"),
    (1.0, "ä"),
    (True, "客户"),
    (Decimal("1.00"), "\x00"),
    (UUID(int=7), b"\x00\xff"),
    (date(2024, 2, 29), datetime(2024, 2, 29, 12, tzinfo=UTC)),
]


def test_keys_of_every_type_come_back(control: Control) -> None:
    with control.write() as connection:
        placed = holds.place(connection, pending(scope=Keys(records="crm.a", count=99)), [*KEYS, *KEYS], ["crm"])
    assert placed.scope == Keys(records="crm.a", count=7)
    with control.read() as connection:
        found = holds.keys(connection, "H-1")
        assert sorted(map(repr, found)) == sorted(map(repr, KEYS))
        assert holds.get(connection, "H-1") == placed


def test_a_hundred_thousand_keys(control: Control) -> None:
    began = time.monotonic()
    with control.write() as connection:
        holds.place(connection, pending(scope=Keys(records="crm.a", count=0)), ((n,) for n in range(100_000)), ["crm"])
    assert time.monotonic() - began < 20
    with control.read() as connection:
        assert {key for (key,) in holds.keys(connection, "H-1")} == set(range(100_000))


@pytest.mark.parametrize(
    ("scope", "keys", "sources"),
    [
        (Keys(records="crm.a", count=0), [], ["crm"]),
        (Everything(), [(1,)], ["crm"]),
        (Everything(), [], []),
        (Keys(records="crm.a", count=1), [(object(),)], ["crm"]),
        (Subject(subject="customer", value="\ud800"), [], ["crm"]),
    ],
)
def test_what_is_no_hold(control: Control, scope: Scope, keys: list[tuple[object, ...]], sources: list[str]) -> None:
    with pytest.raises(InputError), control.write() as connection:
        holds.place(connection, pending(scope=scope), keys, sources)
    with control.read() as connection:
        assert holds.all_holds(connection) == []


@pytest.mark.parametrize("what", ["matter", "reason", "placed_by"])
def test_text_that_is_not_unicode(control: Control, what: str) -> None:
    with pytest.raises(InputError, match="not valid Unicode"), control.write() as connection:
        holds.place(connection, replace(pending(), **{what: "caf\udce9"}), (), ["crm"])


def test_an_id_that_exists(control: Control) -> None:
    with control.write() as connection:
        holds.place(connection, pending(), (), ["crm"])
        with pytest.raises(InputError, match="a hold H-1 already"):
            holds.place(connection, pending(), (), ["crm"])


def test_a_hold_begins_pending(control: Control) -> None:
    with control.write() as connection, pytest.raises(ValueError, match="begins pending"):
        holds.place(connection, replace(pending(), state=HoldState.IN_FORCE), (), ["crm"])


def test_there_is_no_such_hold_or_source(control: Control) -> None:
    with control.write() as connection:
        with pytest.raises(NotFound, match="no hold H-0"):
            holds.release(connection, "H-0", by="li", reason="r", at=NOW)
        holds.place(connection, pending(), (), ["crm"])
        with pytest.raises(NotFound, match="does not touch the source shop"):
            holds.confirm(connection, "H-1", "shop", NOW)


def test_a_new_id_is_one_that_no_hold_has(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["1f3a", "1f3a", "77aa"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))
    with control.write() as connection:
        first = holds.new_id(connection, NOW)
        assert first == "H-20261001-1f3a"
        holds.place(connection, pending(first), (), ["crm"])
        assert holds.new_id(connection, NOW) == "H-20261001-77aa"


def test_a_scope_that_was_damaged_stops_whoever_reads_the_holds(control: Control) -> None:
    with control.write() as connection:
        holds.place(connection, pending(), (), ["crm"])
        connection.execute(sa.update(hold_table).values(scope="{}"))
        with pytest.raises(EvidenceBroken, match="was damaged in the control database"):
            holds.active(connection, NOW, GRACE)
