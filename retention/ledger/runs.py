"""Runs: one execution of one policy, or one destruction of an archive's old files."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.ledger import chain, tables
from retention.ledger.canonical import canonical, sha256
from retention.ledger.times import instant, maybe_instant, stamp
from retention.trace import run_ended


class RunTaken(Refused):
    """Another process works on the run. Wait until it has ended; a process that died is found out by itself."""

    code = "run-taken"


class RunKind(Enum):
    """What a run does."""

    #: archives and deletes the expired records of one policy
    DISPOSITION = "disposition"
    #: destroys the files of one archive whose `keep` is over
    DESTRUCTION = "destruction"


class RunState(Enum):
    """Literal states; the allowed edges are RUN_EDGES, all others are refused."""

    PLANNED = "planned"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    RUNNING = "running"
    FINISHED = "finished"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUN_EDGES: frozenset[tuple[RunState, RunState]] = frozenset(
    {
        (RunState.PLANNED, RunState.AWAITING_APPROVAL),  # the policy asks for approval of its plan
        (RunState.PLANNED, RunState.RUNNING),  # confirmed, or run with --yes
        (RunState.PLANNED, RunState.REFUSED),  # larger than the limits, or the schema is unsafe
        (RunState.PLANNED, RunState.CANCELLED),  # the person said no, or a newer plan took its place
        (RunState.AWAITING_APPROVAL, RunState.APPROVED),  # somebody approved, with a reason
        (RunState.AWAITING_APPROVAL, RunState.CANCELLED),  # somebody declined, or a newer plan took its place
        (RunState.APPROVED, RunState.RUNNING),  # started after the approval
        (RunState.APPROVED, RunState.CANCELLED),  # withdrawn before it started
        (RunState.RUNNING, RunState.FINISHED),  # everything due was done
        (RunState.RUNNING, RunState.FAILED),  # stopped by an error; what was committed stays done
        (RunState.RUNNING, RunState.CANCELLED),  # somebody stopped it; what was committed stays done
        (RunState.FAILED, RunState.RUNNING),  # tried again, with the same as_of
        (RunState.FAILED, RunState.CANCELLED),  # given up
    }
)

#: states that lead nowhere: the run is over
FINAL = frozenset(state for state in RunState if not any(edge[0] is state for edge in RUN_EDGES))

#: the ledger's entry for arriving in a state
ENTRY: Mapping[RunState, str] = {
    RunState.PLANNED: "run.planned",
    RunState.AWAITING_APPROVAL: "run.awaiting-approval",
    RunState.APPROVED: "run.approved",
    RunState.RUNNING: "run.started",
    RunState.FINISHED: "run.finished",
    RunState.REFUSED: "run.refused",
    RunState.FAILED: "run.failed",
    RunState.CANCELLED: "run.cancelled",
}

#: columns that never change; they stand in the entry `run.planned`
PLANNED_FACTS = (
    "kind",
    "policy",
    "policy_digest",
    "set_digest",
    "records",
    "as_of",
    "requested_by",
    "created_at",
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run. Times are aware, UTC."""

    id: str
    kind: RunKind
    #: for a destruction: the archive's name
    policy: str
    policy_digest: str
    set_digest: str
    #: SOURCE.CLASS; for a destruction: "*"
    records: str
    as_of: datetime
    state: RunState
    requested_by: str
    created_at: datetime
    finished_at: datetime | None
    plan: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    #: why it is in this state, for a person
    reason: str | None


def create(
    connection: sa.Connection,
    *,
    kind: RunKind,
    policy: str,
    policy_digest: str,
    set_digest: str,
    records: str,
    as_of: datetime,
    requested_by: str,
    plan: Mapping[str, Any] | None,
    at: datetime,
) -> Run:
    """Write a planned run down, with its ledger entry. Its id sorts by time and is unique."""
    row = {
        "id": _new_id(connection, policy, at),
        "kind": kind.value,
        "policy": policy,
        "policy_digest": policy_digest,
        "set_digest": set_digest,
        "records": records,
        "as_of": stamp(as_of),
        "state": RunState.PLANNED.value,
        "requested_by": requested_by,
        "created_at": stamp(at),
        "plan": None if plan is None else canonical(plan),
    }
    connection.execute(tables.run.insert(), row)
    chain.append(connection, kind="run.planned", subject=str(row["id"]), body=planned_facts(row), at=at)
    return get(connection, str(row["id"]))


def planned_facts(row: Mapping[str, Any]) -> dict[str, object]:
    """What the ledger keeps of a run as it was planned, from its row."""
    plan = row["plan"]
    return {name: row[name] for name in PLANNED_FACTS} | {"plan_sha256": None if plan is None else sha256(plan)}


def get(connection: sa.Connection, run_id: str) -> Run:
    """The run. Raises NotFound."""
    row = connection.execute(tables.run.select().where(tables.run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}", hint="`retention runs` lists them.")
    return _run(row._asdict())


def unfinished(
    connection: sa.Connection, policy: str | None = None, *, kind: RunKind = RunKind.DISPOSITION
) -> list[Run]:
    """Runs that are not over, oldest first: of one policy (for a destruction: one archive), or of all."""
    table = tables.run
    query = table.select().where(table.c.kind == kind.value, table.c.state.not_in([state.value for state in FINAL]))
    if policy is not None:
        query = query.where(table.c.policy == policy)
    rows = connection.execute(query.order_by(table.c.created_at, table.c.id))
    return [_run(row._asdict()) for row in rows]


def cancelled_since_one_finished(connection: sa.Connection, policy: str) -> list[Run]:
    """Runs of the policy that were cancelled after the last of its runs that finished, oldest first."""
    table = tables.run
    ours = (table.c.kind == RunKind.DISPOSITION.value) & (table.c.policy == policy)
    finished = sa.select(sa.func.max(table.c.finished_at)).where(ours, table.c.state == RunState.FINISHED.value)
    since = table.c.finished_at > sa.func.coalesce(finished.scalar_subquery(), "")
    query = table.select().where(ours, table.c.state == RunState.CANCELLED.value, since)
    return [_run(row._asdict()) for row in connection.execute(query.order_by(table.c.created_at, table.c.id))]


def recent(connection: sa.Connection, limit: int | None) -> list[Run]:
    """The newest runs of any kind, newest first; all of them without a limit."""
    query = tables.run.select().order_by(tables.run.c.created_at.desc(), tables.run.c.id.desc()).limit(limit)
    return [_run(row._asdict()) for row in connection.execute(query)]


def move(
    connection: sa.Connection,
    run_id: str,
    to: RunState,
    *,
    reason: str,
    at: datetime,
    by: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> Run:
    """Move the run along one of RUN_EDGES and say so in the ledger, in one transaction.

    The shards of a run that stops running belong to nobody: who worked on them can prepare no further batch.
    Raises Refused for every other edge, NotFound.
    """
    run = get(connection, run_id)
    if (run.state, to) not in RUN_EDGES:
        raise Refused(
            f"run {run_id} is {run.state.value} and cannot become {to.value}",
            hint=f"`retention audit show --subject {run_id}` says how it got there.",
        )
    values = {
        "state": to.value,
        "reason": reason,
        "result": None if result is None else canonical(result),
        "finished_at": stamp(at) if to in FINAL else None,
    }
    body = state_facts(values) | {"by": by}
    if to is not RunState.RUNNING:
        shard = tables.shard
        connection.execute(shard.update().where(shard.c.run_id == run_id).values(owner=None, owner_seen_at=None))
    connection.execute(tables.run.update().where(tables.run.c.id == run_id).values(values))
    chain.append(connection, kind=ENTRY[to], subject=run_id, body=body, at=at)
    if to in FINAL or to is RunState.FAILED:
        failed = to is RunState.FAILED
        run_ended(run_id, policy=run.policy, state=to.value, failed=failed, took=at - run.created_at)
    return get(connection, run_id)


def state_facts(row: Mapping[str, Any]) -> dict[str, object]:
    """What the ledger keeps of a run's state, from its row."""
    result = row["result"]
    return {
        "reason": row["reason"],
        "result": None if result is None else json.loads(result),
        "finished_at": row["finished_at"],
    }


def taken(run_id: str) -> RunTaken:
    """The error of a process that finds its run in other hands."""
    return RunTaken(
        f"run {run_id} was cancelled or taken over by another process",
        hint=f"Nothing more was deleted here. `retention audit show --subject {run_id}` says how it went on.",
    )


def _new_id(connection: sa.Connection, policy: str, at: datetime) -> str:
    minute = at.astimezone(UTC).strftime("%Y%m%d-%H%M")
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", policy)
    while True:
        run_id = f"R-{minute}-{name}-{secrets.token_hex(2)}"
        if connection.execute(sa.select(tables.run.c.id).where(tables.run.c.id == run_id)).first() is None:
            return run_id


def _run(row: Mapping[str, Any]) -> Run:
    return Run(
        id=row["id"],
        kind=RunKind(row["kind"]),
        policy=row["policy"],
        policy_digest=row["policy_digest"],
        set_digest=row["set_digest"],
        records=row["records"],
        as_of=instant(row["as_of"]),
        state=RunState(row["state"]),
        requested_by=row["requested_by"],
        created_at=instant(row["created_at"]),
        finished_at=maybe_instant(row["finished_at"]),
        plan=None if row["plan"] is None else json.loads(row["plan"]),
        result=None if row["result"] is None else json.loads(row["result"]),
        reason=row["reason"],
    )
