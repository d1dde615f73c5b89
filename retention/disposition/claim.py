"""Which work is next: a slot that is due, or an open shard of a run that a slot became.

Everything that decides stands in the control database and in the policy files, and is read in the transaction that also
claims, of which there is one at a time: so two workers never claim the same, nor more than `max_workers` on one source.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retention.ledger import pauses, runs, shards, slot_leases, slots
from retention.ledger.runs import Run, RunState
from retention.ledger.shards import Lease, Shard, ShardState
from retention.ledger.slots import Slot, SlotState
from retention.policy.policy import Policy

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from retention.disposition.engine import Engine

#: failures, one after the other, after which nobody tries again until a person says so
MOST_ATTEMPTS = 5

#: nothing waits longer than that for its next attempt; what seems to was written by a clock that was ahead
LONGEST_WAIT = timedelta(hours=3)

#: states in which a run's shards are worked on
_WORKED_ON = (RunState.RUNNING, RunState.APPROVED)


@dataclass(frozen=True, kw_only=True)
class ClaimedSlot:
    """A slot that ``owner`` is to begin."""

    slot: Slot
    owner: str


@dataclass(frozen=True, kw_only=True)
class ClaimedShard:
    """A shard that the lease's owner is to work on."""

    run: Run
    lease: Lease
    #: the slot that became the run, by its id
    slot: str


def waiting(engine: Engine, connection: Connection) -> list[Slot | Shard]:
    """What could be claimed now, the next first: of the policy that was served least recently, its least recent shard."""
    return _Survey(engine, connection).waiting()


def claim(engine: Engine, connection: Connection, owner: str) -> ClaimedSlot | ClaimedShard | None:
    """Claim what is next for ``owner``, in the caller's write transaction; None where nothing waits."""
    now = engine.now()
    survey = _Survey(engine, connection)
    for item in survey.waiting():
        if isinstance(item, Slot):
            slot = item if item.owner is None else slot_leases.died(connection, item)
            if slot.attempts < MOST_ATTEMPTS:
                slot_leases.take(connection, slot, owner, now)
                return ClaimedSlot(slot=slot, owner=owner)
            reason = f"given up after {slot.attempts} attempts: the process that began it died"
            slots.move(connection, slot, SlotState.QUARANTINED, reason=reason, at=now)
            continue
        shard = item if item.owner is None else shards.died(connection, item)
        if shard.attempts < MOST_ATTEMPTS:
            lease = shards.take(connection, shard, owner, now)
            return ClaimedShard(run=runs.get(connection, shard.run_id), lease=lease, slot=survey.slot_of[shard.run_id])
        give_up(engine, connection, shard)
    return None


def give_up(engine: Engine, connection: Connection, shard: Shard) -> None:
    """Quarantine a shard that failed too often; its run fails once no other shard of it is open."""
    shards.quarantine(connection, shard)
    if not any(one.state is ShardState.OPEN for one in shards.of_run(connection, shard.run_id)):
        fail(engine, connection, shard.run_id, given_up_reason(shard))


def fail(engine: Engine, connection: Connection, run_id: str, reason: str) -> None:
    """End a run that is worked on as failed."""
    if runs.get(connection, run_id).state is RunState.APPROVED:
        runs.move(connection, run_id, RunState.RUNNING, reason="started", at=engine.now())
    runs.move(connection, run_id, RunState.FAILED, reason=reason, at=engine.now())


def given_up_reason(shard: Shard) -> str:
    """Why the shard's run failed, for a person."""
    return f"shard {shard.number} was given up after {shard.attempts} attempts: {shard.error}"


class _Survey:
    """One state of the control database, seen by who looks for work."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._now = engine.now()
        self._config = engine.project.config
        self._policies = {policy.name: policy for policy in engine.project.policies.policies}
        self._unread = engine.project.mistake is not None and not self._policies
        self._paused = {pause.target for pause in pauses.known(connection)}
        self._runs = runs.unfinished(connection)
        #: run -> slot, by their ids
        self.slot_of = slot_leases.runs_of_slots(connection)
        self._shards = shards.of_runs(connection, [run.id for run in self._runs])
        self._slots = slots.in_state(connection, SlotState.DUE)
        self._workers: dict[str, set[str]] = defaultdict(set)
        self._served: dict[str, datetime] = {}
        for run in self._runs:
            for shard in self._shards[run.id]:
                if shard.owner is not None and shard.is_leased(self._now):
                    self._workers[_source(run.records)].add(shard.owner)
                if shard.served_at is not None:
                    before = self._served.get(run.policy, shard.served_at)
                    self._served[run.policy] = max(before, shard.served_at)
        for slot in self._slots:
            if slot.policy in self._policies and slot.owner is not None and slot_leases.is_leased(slot, self._now):
                self._workers[_source(self._policies[slot.policy].records)].add(slot.owner)

    def waiting(self) -> list[Slot | Shard]:
        """All that may be worked on now, the next first."""
        return sorted([*self._due(), *self._open()], key=self._turn)

    def _open(self) -> list[Shard]:
        """Open shards that may be worked on now, of runs that slots became; a person's own runs are the person's."""
        return [
            shard
            for run in self._runs
            if run.id in self.slot_of and run.state in _WORKED_ON and run.id not in self._paused
            if self._may_work(run.policy, run.records)
            for shard in self._shards[run.id]
            if shard.state is ShardState.OPEN
            if not shard.is_leased(self._now) and self._has_come(shard.not_before)
        ]

    def _due(self) -> list[Slot]:
        """Slots whose run may begin now: of each policy the first, unless a run of the policy is under way."""
        first = {slot.policy: slot for slot in reversed(self._slots)}
        return [
            slot
            for slot in first.values()
            if self._may_begin(slot.policy)
            if slot.due_at <= self._now and self._has_come(slot.not_before)
            if not slot_leases.is_leased(slot, self._now) and not self._under_way(slot.policy)
        ]

    def _turn(self, item: Slot | Shard) -> tuple[str, str, str, int]:
        """What waiting items are ordered by."""
        if isinstance(item, Slot):
            return (self._last(item.policy), "", item.due_at.isoformat(), 0)
        policy = next(run.policy for run in self._runs if run.id == item.run_id)
        served = "" if item.served_at is None else item.served_at.isoformat()
        return (self._last(policy), served, item.run_id, item.number)

    def _last(self, policy: str) -> str:
        return self._served[policy].isoformat() if policy in self._served else ""

    def _may_begin(self, name: str) -> bool:
        """Whether a slot of the policy may become a run. Where no policy can be read, that is for those to see who look."""
        if name in self._policies:
            return self._may_work(name, self._policies[name].records)
        return self._unread and self._may_work(name, "")

    def _may_work(self, name: str, records: str) -> bool:
        """Whether the policy is neither paused nor outside of its hours, and its source has room. A run of a policy that is
        no more is worked on: it is cancelled."""
        source = _source(records)
        if self._paused & {pauses.EVERYTHING, name}:
            return False
        if source in self._config.sources and len(self._workers[source]) >= self._config.sources[source].max_workers:
            return False
        return name not in self._policies or in_window(self._policies[name], self._now)

    def _under_way(self, policy: str) -> bool:
        """Whether a run of the policy is being done: by workers, or by a person who is there."""
        return any(
            (run.id in self.slot_of and run.state in _WORKED_ON)
            or any(shard.is_leased(self._now) for shard in self._shards[run.id])
            for run in self._runs
            if run.policy == policy
        )

    def _has_come(self, moment: datetime | None) -> bool:
        return moment is None or not self._now < moment <= self._now + LONGEST_WAIT


def in_window(policy: Policy, now: datetime) -> bool:
    """Whether scheduled runs of the policy may work at ``now`` (aware)."""
    return policy.window is None or policy.window.is_open(now.astimezone(policy.schedule.timezone))


def _source(records: str) -> str:
    return records.partition(".")[0]
