"""What is told of the work: who is at it, runs that are not over, what waits and for how long, and what was given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from retention.ledger import runs, slots, tallies
from retention.ledger.shards import Shard, ShardState
from retention.ledger.slots import Slot, SlotState
from retention.watching.status import RunStatus

if TYPE_CHECKING:
    from retention.ledger.runs import Run
    from retention.ledger.workers import Worker
    from retention.watching.look import Look

#: over how long the rate of a run is taken
RATE = timedelta(minutes=5)


def processes(look: Look, everybody: Sequence[Worker]) -> tuple[dict[str, object], ...]:
    """Who works, or did until it was last heard of."""
    return tuple(
        {
            "name": one.name,
            "kind": one.kind,
            "alive": one.is_alive(look.now),
            "seen_seconds": look.age(one.seen_at),
            "doing": one.doing,
        }
        for one in everybody
    )


def run_status(look: Look, run: Run, every: Sequence[Shard], slot: str | None) -> RunStatus:
    """How far a run is that is not over, with ``every`` shard of it and the slot that became it."""
    planned = int((run.plan or {}).get("due", 0))
    done = tallies.deleted_in_run(look.connection, run.id)
    rate = tallies.deleted_in_run(look.connection, run.id, since=look.now - RATE) / min(
        RATE.total_seconds(), max(look.age(run.created_at), 1.0)
    )
    return RunStatus(
        run=run.id,
        policy=run.policy,
        slot=slot,
        state=run.state.value,
        reason=run.reason,
        planned=planned,
        deleted=done,
        rows_per_second=round(rate, 1),
        remaining_seconds=round(max(planned - done, 0) / rate, 1) if rate else None,
        shards={state.value: sum(one.state is state for one in every) for state in ShardState},
    )


def waited(look: Look, item: Slot | Shard) -> float:
    """For how many seconds a piece of work could have been taken."""
    if isinstance(item, Slot):
        return look.age(max(item.due_at, item.not_before or item.due_at))
    since = [moment for moment in (item.served_at, item.not_before) if moment is not None]
    return look.age(max(since)) if since else look.age(runs.get(look.connection, item.run_id).created_at)


def given_up(look: Look, unfinished: Sequence[Run], every: Mapping[str, list[Shard]]) -> tuple[dict[str, object], ...]:
    """The slots, and the shards of runs that are not over, that nobody tries again before a person says so."""
    quarantined = slots.in_state(look.connection, SlotState.QUARANTINED)
    # one that a later slot of the policy has done the work of needs nobody any more
    newest = slots.newest(look.connection, [slot.policy for slot in quarantined])
    found: list[dict[str, object]] = [
        {"slot": slot.id, "policy": slot.policy, "reason": slot.reason}
        for slot in quarantined
        if newest[slot.policy][0] == slot
    ]
    for run in unfinished:
        for shard in every[run.id]:
            if shard.state is ShardState.QUARANTINED:
                found.append({"run": run.id, "shard": shard.number, "policy": run.policy, "reason": shard.error})
    return tuple(found)
