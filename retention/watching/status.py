"""How everything stands, from the control database alone: no source and no broker is asked, so it answers while they are
away, and asking costs nothing there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from retention.disposition.claim import waiting
from retention.ledger import observations, pauses, policy_loads, runs, schedules, shards, slots, tallies, workers
from retention.ledger.observations import EVERYTHING
from retention.ledger.runs import RunState
from retention.ledger.shards import Shard, ShardState
from retention.ledger.slots import Slot, SlotState
from retention.ledger.workers import WAITS, Worker
from retention.policy.policy import Schedule
from retention.scheduling import cron
from retention.scheduling.opening import FRESH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from retention.disposition.engine import Engine
    from retention.ledger.runs import Run

#: a prepared batch is settled within moments; one that is older than this is in doubt
DOUBT = timedelta(minutes=2)
#: over how long the rate of a run is taken
RATE = timedelta(minutes=5)
#: past its time by more than this, a slot is late
LATE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class PolicyStatus:
    """One policy. Times are ISO, UTC; ages in seconds; None: there was none yet."""

    policy: str
    title: str
    last_slot: dict[str, object] | None
    next_slot: dict[str, object] | None
    #: how long the oldest slot that has not begun is past its time
    lateness_seconds: float
    last_success_at: str | None
    #: as last counted: records that are expired and still there, those of them that holds keep, for how long, and when
    overdue: dict[str, object] | None
    deleted: int


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run that is not over."""

    run: str
    policy: str
    state: str
    reason: str | None
    planned: int
    deleted: int
    #: of the last five minutes
    rows_per_second: float
    #: at that rate; None while nothing moves
    remaining_seconds: float | None
    shards: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything at one moment. ``attention`` says in sentences what a person should look at."""

    at: str
    policies: tuple[PolicyStatus, ...]
    #: what the control database knows of policies that the files no longer have: renamed, or taken away
    gone: tuple[dict[str, object], ...]
    runs: tuple[RunStatus, ...]
    runs_by_state: dict[str, int]
    queue_depth: int
    queue_oldest_seconds: float
    workers: tuple[dict[str, object], ...]
    holds: dict[str, int]
    oldest_hold_seconds: float | None
    pauses: tuple[dict[str, object], ...]
    batches_in_doubt: int
    quarantined: tuple[dict[str, object], ...]
    #: whether the files as they are now are right (``ok``), and else what is wrong, whether the last good set is ``in_force``
    #: all the same, and how many processes are ``waiting``, because they began after it. None: nobody told yet
    policy_load: dict[str, object] | None
    ledger: dict[str, object] | None
    #: ``ok``: as it was last verified; ``verified_at``: when that last found it in order; ``unverified_seconds``: for how
    #: long nobody has, since its first batch where nobody ever did. None: never verified; nothing in it
    archives: tuple[dict[str, object], ...]
    attention: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as `retention status --json` prints them."""
        return asdict(self)


def read_status(engine: Engine) -> Status:
    """Read it in one transaction. Raises ControlFailed."""
    now = engine.now()
    with engine.control.read() as connection:
        return _Reader(engine, connection, now).read()


class _Reader:
    def __init__(self, engine: Engine, connection: Connection, now: datetime) -> None:
        self._engine = engine
        self._connection = connection
        self._now = now

    def read(self) -> Status:
        connection, now = self._connection, self._now
        everybody = workers.known(connection)
        unfinished = runs.unfinished(connection)
        every = shards.of_runs(connection, [run.id for run in unfinished])
        due = waiting(self._engine, connection)
        holds = tallies.holds_by_state(connection)
        oldest = tallies.oldest_hold(connection)
        ledger = observations.read(connection, "ledger").get(EVERYTHING)
        status = Status(
            at=now.isoformat(),
            policies=self._policies(),
            gone=self._gone(),
            runs=tuple(self._run(run, every[run.id]) for run in unfinished),
            runs_by_state=tallies.runs_by_state(connection),
            queue_depth=len(due),
            queue_oldest_seconds=max((self._waited(item) for item in due), default=0.0),
            workers=tuple(
                {
                    "name": one.name,
                    "kind": one.kind,
                    "alive": one.is_alive(now),
                    "seen_seconds": self._age(one.seen_at),
                    "doing": one.doing,
                }
                for one in everybody
            ),
            holds=holds,
            oldest_hold_seconds=None if oldest is None else self._age(oldest),
            pauses=tuple(
                {"target": one.target, "by": one.by, "at": one.at.isoformat(), "reason": one.reason}
                for one in pauses.known(connection)
            ),
            batches_in_doubt=tallies.in_doubt(connection, before=now - DOUBT),
            quarantined=self._quarantined(unfinished, every),
            policy_load=self._policy_load(everybody),
            ledger=None if ledger is None else {"ok": ledger.facts["ok"], "at": ledger.at.isoformat()},
            archives=self._archives(),
        )
        return Status(**{**vars(status), "attention": tuple(self._attention(status))})

    def _policies(self) -> tuple[PolicyStatus, ...]:
        connection = self._connection
        policies = self._known()
        newest = slots.newest(connection, list(policies))
        late = slots.in_state(connection, SlotState.DUE)
        succeeded, deleted = tallies.last_success(connection), tallies.deleted(connection)
        debts = observations.read(connection, "debt")
        return tuple(
            PolicyStatus(
                policy=name,
                title=title,
                last_slot=_slot(newest[name][0]) if newest.get(name) else None,
                next_slot=None if schedule is None else self._next(schedule),
                lateness_seconds=max((self._age(slot.due_at) for slot in late if slot.policy == name), default=0.0),
                last_success_at=succeeded[name].isoformat() if name in succeeded else None,
                overdue=self._overdue(debts[name]) if name in debts else None,
                deleted=deleted.get(name, 0),
            )
            for name, (title, schedule) in sorted(policies.items())
        )

    def _known(self) -> dict[str, tuple[str, Schedule | None]]:
        """Title and schedule of each policy; where the files have a mistake and no set came before, of each that the control
        database knows: beats look at the schedules of the last good set, and no longer at those of policies that are gone."""
        project = self._engine.project
        if project.mistake is None or project.policies.policies:
            return {policy.name: (policy.title, policy.schedule) for policy in project.policies.policies}
        seen = schedules.read(self._connection)
        newest = max((one.checked_until for one in seen.values()), default=self._now)
        names = {*seen, *tallies.last_success(self._connection), *observations.read(self._connection, "debt")}
        return {
            name: (
                name,
                Schedule(cron=seen[name].cron, timezone=ZoneInfo(seen[name].zone))
                if name in seen and newest - seen[name].checked_until < 2 * FRESH
                else None,
            )
            for name in names
        }

    def _gone(self) -> tuple[dict[str, object], ...]:
        succeeded, debts = tallies.last_success(self._connection), observations.read(self._connection, "debt")
        names = {*schedules.read(self._connection), *succeeded, *debts} - self._known().keys()
        return tuple(
            {
                "policy": name,
                "last_success_at": succeeded[name].isoformat() if name in succeeded else None,
                "overdue": self._overdue(debts[name]) if name in debts else None,
            }
            for name in sorted(names)
        )

    def _next(self, schedule: Schedule) -> dict[str, object] | None:
        for slot in islice(cron.slots(schedule, after=self._now), 1):
            zone = schedule.timezone.key
            return {"local_time": slot.local_time, "zone": zone, "due_at": slot.due_at.isoformat()}
        return None

    def _policy_load(self, everybody: list[Worker]) -> dict[str, object] | None:
        """How the files are now: as who looks reads them, for maybe nobody has told yet, and as a living process told last."""
        loads = policy_loads.read(self._connection)
        newest = max(loads.values(), key=lambda load: load.at, default=None)
        alive = [one for one in everybody if one.is_alive(self._now)]
        read = self._engine.project.mistake
        mistake = newest.message if read is None and newest is not None and alive else read
        if newest is None and mistake is None:
            return None
        told = newest is not None and (newest.outcome == "good") is (mistake is None)
        return {
            "ok": mistake is None,
            "at": newest.at.isoformat() if newest is not None and told else self._now.isoformat(),
            "good_at": loads["good"].at.isoformat() if "good" in loads else None,
            "in_force": mistake is None or any(one.doing != WAITS for one in alive),
            "waiting": sum(one.doing == WAITS for one in alive),
            "message": None if mistake is None else str(mistake),
        }

    def _overdue(self, debt: observations.Observation) -> dict[str, object]:
        expired = debt.facts["oldest_expired_at"]
        return {
            "records": debt.facts["records"],
            "held": debt.facts["held"],
            "oldest_seconds": 0.0 if expired is None else self._age(datetime.fromisoformat(expired)),
            "counted_at": debt.at.isoformat(),
        }

    def _run(self, run: Run, every: list[Shard]) -> RunStatus:
        planned = int((run.plan or {}).get("due", 0))
        done = tallies.deleted_in_run(self._connection, run.id)
        rate = tallies.deleted_in_run(self._connection, run.id, since=self._now - RATE) / min(
            RATE.total_seconds(), max(self._age(run.created_at), 1.0)
        )
        return RunStatus(
            run=run.id,
            policy=run.policy,
            state=run.state.value,
            reason=run.reason,
            planned=planned,
            deleted=done,
            rows_per_second=round(rate, 1),
            remaining_seconds=round(max(planned - done, 0) / rate, 1) if rate else None,
            shards={state.value: sum(one.state is state for one in every) for state in ShardState},
        )

    def _quarantined(self, unfinished: list[Run], every: Mapping[str, list[Shard]]) -> tuple[dict[str, object], ...]:
        given_up = slots.in_state(self._connection, SlotState.QUARANTINED)
        # one that a later slot of the policy has done the work of needs nobody any more
        newest = slots.newest(self._connection, [slot.policy for slot in given_up])
        found: list[dict[str, object]] = [
            {"slot": slot.id, "policy": slot.policy, "reason": slot.reason}
            for slot in given_up
            if newest[slot.policy][0] == slot
        ]
        for run in unfinished:
            for shard in every[run.id]:
                if shard.state is ShardState.QUARANTINED:
                    found.append({"run": run.id, "shard": shard.number, "policy": run.policy, "reason": shard.error})
        return tuple(found)

    def _archives(self) -> tuple[dict[str, object], ...]:
        seen = observations.read(self._connection, "archive")
        used = tallies.archives_in_use(self._connection)
        told: list[dict[str, object]] = []
        for name in sorted({*self._engine.project.config.archives, *used}):
            good = observations.last_good(seen.get(name))
            # what was verified before its first batch came was empty
            since = None if name not in used else max(used[name], datetime.fromisoformat(good) if good else used[name])
            told.append(
                {
                    "archive": name,
                    "used": name in used,
                    "ok": seen[name].facts["ok"] if name in seen else None,
                    "verified_at": good,
                    "unverified_seconds": None if since is None else self._age(since),
                }
            )
        return tuple(told)

    def _waited(self, item: Slot | Shard) -> float:
        if isinstance(item, Slot):
            return self._age(max(item.due_at, item.not_before or item.due_at))
        since = [moment for moment in (item.served_at, item.not_before) if moment is not None]
        return self._age(max(since)) if since else self._age(runs.get(self._connection, item.run_id).created_at)

    def _age(self, moment: datetime) -> float:
        return round(max((self._now - moment).total_seconds(), 0.0), 1)

    def _attention(self, status: Status) -> list[str]:
        said: list[str] = []
        living = [one for one in status.workers if one["alive"]]
        if status.workers and not any(one["kind"] in ("beat", "up") for one in living):
            said.append("no beat is alive: no slot is opened until one is started")
        if (status.queue_depth or status.runs) and not any(one["kind"] in ("worker", "up") for one in living):
            said.append("work waits, and no worker is alive")
        for policy in status.policies:
            if policy.lateness_seconds > LATE.total_seconds():
                said.append(f"{policy.policy} is {timedelta(seconds=int(policy.lateness_seconds))} late")
        for one in status.quarantined:
            said.append(f"{one.get('slot') or one['run']} was given up: {one['reason']}")
        for run in status.runs:
            if run.state in (RunState.FAILED.value, RunState.AWAITING_APPROVAL.value):
                said.append(f"run {run.run} is {run.state.replace('_', ' ')}: {run.reason}")
        if status.batches_in_doubt:
            said.append(f"batches in doubt: {status.batches_in_doubt}; `retention recover` settles them")
        if status.holds["pending"]:
            said.append(f"holds not in force yet: {status.holds['pending']}; `retention hold confirm`")
        if status.policy_load is not None and not status.policy_load["ok"]:
            load = status.policy_load
            goes_on = "the last good set goes on" if load["in_force"] else "no run begins until it is mended"
            what = str(load["message"]).partition("\n")[0]
            said.append(f"the policy files have a mistake, and {goes_on}: {what}; `retention validate`")
            if load["waiting"]:
                said.append(
                    f"processes that began with that mistake, and do nothing until it is mended: {load['waiting']}"
                )
        if status.ledger is not None and not status.ledger["ok"]:
            said.append("the ledger does not verify; `retention audit verify`")
        for one in status.archives:
            if one["ok"] is False:
                name = one["archive"]
                said.append(f"the archive {name} does not verify; `retention archive verify {name}` says why")
        return said


def _slot(slot: Slot) -> dict[str, object]:
    return {
        "local_time": slot.local_time,
        "zone": slot.zone,
        "due_at": slot.due_at.isoformat(),
        "state": slot.state.value,
        "late_seconds": slot.late_seconds,
        "run": slot.run_id,
        "reason": slot.reason,
    }
