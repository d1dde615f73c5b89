"""P1 to P6 as invariants after each step of any sequence of public operations, against a model in plain Python."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from retention import failpoint
from retention.disposition import destroy, holding, restore
from retention.disposition.clock import set_by_this_process
from retention.disposition.recover import recover
from retention.errors import NotFound, RetentionError
from retention.failpoint import FailpointError
from retention.holds.scope import Keys, Tagged
from tests.proofs.cases import fresh
from tests.proofs.commands import Commands

CLASS = "crm.activities"
IDS = range(1, 13)
GRACE = timedelta(days=30)
START = datetime(2026, 1, 10, 12, tzinfo=UTC)
#: record -> the day that it was made: every 20 days, back from the start
MADE = {i: (START - timedelta(days=20 * i)).date() for i in IDS}

PLACES = [
    "batch.after-fence@1",
    "batch.after-delete@1",
    "batch.after-files@1",
    "batch.after-prepare@1",
    "batch.before-commit@1",
    "batch.after-commit@1",
    "batch.after-settled@1",
    "store.named@1",
    "store.durable@2",
    "control.before-commit@2",
    "control.before-commit@4",
    "control.after-commit@3",
    "source.answered@9",
]


@dataclass(kw_only=True)
class Batch:
    """Records that went together, and the last day of their copies."""

    ids: frozenset[int]
    keep_until: date
    destroyed: bool = False


@dataclass(kw_only=True)
class Hold:
    """A hold, and the moment of its release."""

    id: str
    ids: frozenset[int]
    released: datetime | None = None


@dataclass(kw_only=True)
class Model:
    """What must be so."""

    now: datetime = START
    days: int = 90
    live: set[int] = field(default_factory=lambda: set(IDS))
    batches: list[Batch] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)

    def held(self) -> set[int]:
        active = [hold for hold in self.holds if hold.released is None or self.now < hold.released + GRACE]
        return {record for hold in active for record in hold.ids}

    def due(self) -> set[int]:
        today = self.now.date()
        expired = {i for i in self.live if MADE[i] + timedelta(days=self.days) < today}
        return expired - self.held()

    def went(self, ids: set[int]) -> None:
        if ids:
            day = self.now.date()
            until = day.replace(year=day.year + 1) if (day.month, day.day) != (2, 29) else date(day.year + 1, 2, 28)
            self.batches.append(Batch(ids=frozenset(ids), keep_until=until))
            self.live -= ids


class Machine(RuleBasedStateMachine):
    """The public operations, each followed by every promise."""

    def __init__(self, site: Any, commands: Commands) -> None:
        super().__init__()
        self.commands = commands
        self.site = fresh(site, 1)
        statements = ["DELETE FROM activity_logs"]
        tags = site.tags("service-note")
        statements += [
            f"INSERT INTO activity_logs VALUES ({i}, {i}, 'open', 1.5, 'note {i}', {tags}, '{day} 10:00:00', NULL)"
            for i, day in MADE.items()
        ]
        site.run_sql(site.url, *statements)
        self.model = Model()
        self.before = dict(zip(IDS, self.site.everything()["activity_logs"], strict=True))

    def teardown(self) -> None:
        failpoint.arm("")

    def _run(self) -> None:
        with self.site.at(self.model.now):
            self.site.run(as_of=self.model.now)

    @rule()
    def plan(self) -> None:
        with self.site.at(self.model.now):
            found = self.site.plan(as_of=self.model.now)
        assert found.due == len(self.model.due())

    @rule()
    def run(self) -> None:
        due = self.model.due()
        self._run()
        self.model.went(due)

    @rule(place=st.sampled_from(PLACES))
    def run_that_fails(self, place: str) -> None:
        """And is finished by the next, under the same day."""
        due = self.model.due()
        name, _, turn = place.partition("@")
        failpoint.arm(f"{name}=error@{turn}")
        try:
            self._run()
        except (RetentionError, FailpointError):
            failpoint.arm("")
            gone = self.model.live - self.site.ids()
            assert gone in (set(), due)
            self._run()
        finally:
            failpoint.arm("")
        self.model.went(due)

    @rule(place=st.sampled_from(PLACES))
    def run_that_is_killed(self, place: str) -> None:
        """A process of its own, whose clock shows what the model's does, dies; the next one finishes what it began."""
        due = self.model.due()
        name, _, turn = place.partition("@")
        # whole seconds: one more, so that it is never earlier than the model's
        clock = set_by_this_process(self.model.now - datetime.now(UTC) + timedelta(seconds=1))
        words = ("run", "service-notes", "--yes", "--as-of", self.model.now.date().isoformat())
        killed = self.commands.run(self.site.config, *words, plan=f"{name}=kill@{turn}", env=clock)
        assert killed.status in (0, -signal.SIGKILL), killed.said
        gone = self.model.live - self.site.ids()
        assert gone in (set(), due)
        if killed.status != 0:
            self._run()
        self.model.went(due)

    @rule()
    def recover(self) -> None:
        with self.site.at(self.model.now):
            assert recover(self.site.engine()) == []

    @rule(ids=st.sets(st.sampled_from(IDS), min_size=1, max_size=3))
    def hold(self, ids: set[int]) -> None:
        with self.site.at(self.model.now):
            placed = holding.place(
                self.site.engine(), matter="M", reason="R", scope=Keys(records=CLASS, count=1), keys=map(str, ids)
            )
        assert not placed.unconfirmed
        self.model.holds.append(Hold(id=placed.hold.id, ids=frozenset(ids)))

    @rule()
    def hold_all(self) -> None:
        with self.site.at(self.model.now):
            scope = Tagged(tag="service-note", records=(CLASS,))
            placed = holding.place(self.site.engine(), matter="M", reason="R", scope=scope)
        self.model.holds.append(Hold(id=placed.hold.id, ids=frozenset(IDS)))

    @precondition(lambda self: any(hold.released is None for hold in self.model.holds))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from([hold for hold in self.model.holds if hold.released is None]))
        with self.site.at(self.model.now):
            holding.release(self.site.engine(), hold.id, reason="settled")
        hold.released = self.model.now

    @rule(ids=st.sets(st.sampled_from(IDS), min_size=1, max_size=4))
    def restore(self, ids: set[int]) -> None:
        kept = {record for batch in self.model.batches if not batch.destroyed for record in batch.ids}
        with self.site.at(self.model.now):
            engine = self.site.engine()
            try:
                choice = restore.choose(engine, run=None, keys=sorted(map(str, ids)), where=(), address=CLASS)
            except NotFound:
                assert not ids & kept
                return
            [done] = restore.restore(engine, choice, reason="asked for")
        back = (ids & kept) - self.model.live
        assert done.restored == len(back)
        assert done.already_there == len(ids & kept & self.model.live)
        if back:
            assert done.hold is not None
            self.model.live |= back
            self.model.holds.append(Hold(id=done.hold, ids=frozenset(back)))

    @rule()
    def destroy(self) -> None:
        with self.site.at(self.model.now):
            engine = self.site.engine()
            for plan in destroy.plan_destruction(engine, ("cold",)):
                destroy.destroy(engine, plan)
        for batch in self.model.batches:
            if batch.keep_until < self.model.now.date() and not batch.ids & self.model.held():
                batch.destroyed = True

    @rule(days=st.sampled_from([30, 90, 200, 400]))
    def change_policy(self, days: int) -> None:
        self.model.days = days
        self.site.policy("service-notes", retain=f"{{for: {days} days}}")

    @rule(days=st.sampled_from([0, 1, 29, 30, 31, 200, 366]))
    def advance(self, days: int) -> None:
        if self.model.now.year < 2035:
            self.model.now += timedelta(days=days)

    @invariant()
    def every_promise(self) -> None:
        model = self.model
        assert self.site.ids() == model.live
        archived = Counter(record for batch in model.batches if not batch.destroyed for record in batch.ids)
        assert self.site.archived() == archived
        assert self.site.findings() == []
        rows = dict(zip(sorted(model.live), self.site.everything()["activity_logs"], strict=True))
        assert rows == {record: self.before[record] for record in model.live}


def _machine(site: Any, commands: Commands, examples: int, steps: int, first: int | None = None) -> None:
    class Seeded(Machine):
        """Hypothesis wants a class; this one knows where it runs, and with a seed what it draws."""

        def __init__(self) -> None:
            super().__init__(site, commands)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Seeded if first is None else seed(first)(Seeded),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.every_server
def test_any_sequence_of_operations(plain_site: Any, commands: Commands) -> None:
    _machine(plain_site, commands, 8 if plain_site.dialect == "sqlite" else 2, 12)


@pytest.mark.soak
def test_very_many_sequences_of_operations(
    plain_site: Any, commands: Commands, soak_seed: int, soak_count: int
) -> None:
    _machine(plain_site, commands, soak_count, 25, soak_seed)
    print(f"\nseed {soak_seed}: {soak_count} sequences of up to 25 operations")
