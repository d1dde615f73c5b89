"""What a person should look at, in sentences: what is wrong, and the command or the page that helps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from retention.ledger.runs import RunState
from retention.watching.status import PolicyStatus, Status

#: past its time by more than this, a slot is late
LATE = timedelta(hours=1)


def attention(status: Status) -> Iterator[str]:
    """The sentences, the most general first; none where nothing needs a person."""
    yield from _of_processes(status)
    for policy in status.policies:
        yield from _of_slots(policy)
    yield from _of_work(status)
    yield from _of_policy_files(status)
    if status.ledger is not None and not status.ledger["ok"]:
        if status.ledger["agrees"] is False:
            compared = "`retention audit verify` with the --against or --checkpoint that found it"
            yield f"the ledger does not verify against what was kept elsewhere; {compared} says why"
        else:
            yield "the ledger does not verify; `retention audit verify` says why"
    for one in status.archives:
        if one["ok"] is False:
            name = one["archive"]
            yield f"the archive {name} does not verify; `retention archive verify {name}` says why"


def closed(policy: str, until: datetime) -> str:
    """That no slot of the policy is opened before ``until`` (aware), and what to do."""
    return (
        f"no slot of {policy} is opened before {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC: the clock was ahead, or is behind "
        f"now; until then `retention run {policy}` does its work"
    )


def _of_processes(status: Status) -> Iterator[str]:
    living = [one for one in status.workers if one["alive"]]
    if status.workers and not any(one["kind"] in ("beat", "up") for one in living):
        yield "no beat is alive: no slot is opened until one is started"
    waits = status.queue_depth or any(run.slot is not None for run in status.runs)
    if waits and not any(one["kind"] in ("worker", "up") for one in living):
        yield "work waits, and no worker is alive"


def _of_slots(policy: PolicyStatus) -> Iterator[str]:
    if policy.ahead_until is not None:
        yield closed(policy.policy, datetime.fromisoformat(policy.ahead_until))
    if policy.lateness_seconds > LATE.total_seconds():
        yield f"{policy.policy} is {timedelta(seconds=int(policy.lateness_seconds))} late"


def _of_work(status: Status) -> Iterator[str]:
    for one in status.quarantined:
        yield f"{one.get('slot') or one['run']} was given up: {one['reason']}"
    for run in status.runs:
        if run.state in (RunState.FAILED.value, RunState.AWAITING_APPROVAL.value):
            yield f"run {run.run} is {run.state.replace('_', ' ')}: {run.reason}"
    if status.batches_in_doubt:
        yield f"batches in doubt: {status.batches_in_doubt}; `retention recover` settles them"
    if status.holds["pending"]:
        yield f"holds not in force yet: {status.holds['pending']}; `retention hold confirm`"


def _of_policy_files(status: Status) -> Iterator[str]:
    load = status.policy_load
    if load is None or load["ok"]:
        return
    goes_on = "the last good set goes on" if load["in_force"] else "no run begins until it is mended"
    what = str(load["message"]).partition("\n")[0]
    yield f"the policy files have a mistake, and {goes_on}: {what}; `retention validate`"
    if load["waiting"]:
        yield f"processes that began with that mistake, and do nothing until it is mended: {load['waiting']}"
