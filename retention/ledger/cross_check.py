"""Whether runs, batches and holds in their own tables say what the ledger says, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from retention.holds.hold import HoldState
from retention.ledger import batches, chain, holds, runs, tables
from retention.ledger.batches import BatchState
from retention.ledger.canonical import canonical, sha256
from retention.ledger.verify import Finding

#: stands for a run's last entry, whatever its kind: what the run's row must agree with
_STATE = "state"

_SETTLED = (*batches.FACTS, "policy", "policy_digest", "keys_sha256", "files")

#: the members of each kind's body that a table repeats
_REPEATED: Mapping[str, tuple[str, ...]] = {
    "run.planned": (*runs.PLANNED_FACTS, "plan_sha256"),
    _STATE: ("entry", "reason", "result", "finished_at"),
    "batch.committed": _SETTLED,
    "batch.aborted": _SETTLED,
    "archive.destroyed": batches.DESTROYED_FACTS,
    "hold.placed": (*holds.PLACED_FACTS, "keys_sha256", "sources"),
    "hold.confirmed": ("confirmed",),
    "hold.in-force": ("state",),
    "hold.released": holds.RELEASED_FACTS,
}


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of a table: the entries that the ledger must have about it, with what they must say."""

    id: str
    expected: Mapping[str, Mapping[str, object]]
    #: kinds that the ledger may have about it
    possible: frozenset[str] = frozenset()


def cross_check(connection: sa.Connection) -> list[Finding]:
    """Every disagreement between the ledger and the tables; give it the transaction of `Control.read`.

    It takes the ledger's word, so verify the chain too: who changes a table is found here, who changes that, there.
    """
    told: dict[str, dict[str, tuple[int, str]]] = {}  # subject -> kind -> number and digest of its last entry
    changes = 0
    for entry in chain.entries(connection):
        changes += entry.kind in ("hold.placed", "hold.released")
        for kind in (entry.kind, _STATE) if entry.kind.startswith("run.") else (entry.kind,):
            if kind in _REPEATED:
                told.setdefault(entry.subject, {})[kind] = (entry.seq, _digest(kind, _body(entry)))
    findings: list[Finding] = []
    known: set[str] = set()
    for what, rows in (("run", _runs(connection)), ("batch", _batches(connection)), ("hold", _holds(connection))):
        for row in rows:
            known.add(row.id)
            findings += _compare(connection, what, row, told.get(row.id, {}))
    for subject in told.keys() - known:
        kind, (seq, _) = min(told[subject].items(), key=lambda item: item[1][0])
        what = f"{subject} stands in the ledger (entry {seq}, {kind}) and is missing from its table"
        findings.append(Finding(seq=seq, what=what))
    findings += _unplanned_destructions(connection)
    head = chain.read_head(connection)
    if head is not None and head.hold_epoch != changes:
        what = f"the head counts {head.hold_epoch} changes of holds, the ledger has {changes}"
        findings.append(Finding(seq=None, what=what))
    return findings


def check_holds(connection: sa.Connection) -> list[Finding]:
    """Every disagreement between the ledger and the holds' tables: asked before anything is deleted, for a hold that was
    lost, narrowed or released in the tables alone would protect nothing any more."""
    told: dict[str, dict[str, tuple[int, str]]] = {}
    for kind in ("hold.placed", "hold.confirmed", "hold.in-force", "hold.released"):
        for entry in chain.entries(connection, kind=kind):
            told.setdefault(entry.subject, {})[kind] = (entry.seq, _digest(kind, _body(entry)))
    rows = {row.id: row for row in _holds(connection)}
    findings = [found for row in rows.values() for found in _compare(connection, "hold", row, told.get(row.id, {}))]
    for subject in told.keys() - rows.keys():
        seq = min(seq for seq, _ in told[subject].values())
        findings.append(Finding(seq=seq, what=f"hold {subject} stands in the ledger and is missing from its table"))
    return findings


def _compare(connection: sa.Connection, what: str, row: _Row, told: Mapping[str, tuple[int, str]]) -> Iterator[Finding]:
    for kind, facts in row.expected.items():
        if kind not in told:
            yield Finding(seq=None, what=f"{what} {row.id} stands in its table, but the ledger has no {kind} of it")
        elif told[kind][1] != _digest(kind, facts):
            seq = told[kind][0]
            said = _body(chain.get(connection, seq))
            for name in _REPEATED[kind]:
                if facts.get(name) != said.get(name):
                    yield Finding(
                        seq=seq,
                        what=f"{what} {row.id} has {name} {facts.get(name)!r} in its table,"
                        f" entry {seq} of the ledger says {said.get(name)!r}",
                    )
    for kind in told.keys() - row.expected.keys() - row.possible:
        seq = told[kind][0]
        yield Finding(seq=seq, what=f"{what} {row.id}: entry {seq} of the ledger says {kind}, its table does not")


def _runs(connection: sa.Connection) -> Iterator[_Row]:
    entry = {state.value: kind for state, kind in runs.ENTRY.items()}
    for row in _stream(connection, tables.run.select()):
        state = {"entry": entry.get(row["state"], row["state"])}
        try:
            state |= runs.state_facts(row)
        except ValueError:
            state |= row  # a result that is no JSON differs from every entry, as it stands
        yield _Row(id=row["id"], expected={"run.planned": runs.planned_facts(row), _STATE: state})


def _batches(connection: sa.Connection) -> Iterator[_Row]:
    file = tables.archive_file
    query = (
        batches.with_policy()
        .add_columns(*(file.c[name].label(f"file_{name}") for name in batches.FILE_FACTS))
        .outerjoin(file, file.c.batch_id == tables.batch.c.id)
        .order_by(tables.batch.c.id)
    )
    for batch_id, group in groupby(_stream(connection, query), key=lambda row: row["id"]):
        joined = list(group)
        row = joined[0]
        files = [{name: one[f"file_{name}"] for name in batches.FILE_FACTS} for one in joined]
        files = sorted((one for one in files if one["path"] is not None), key=lambda one: str(one["path"]))
        expected = {}
        if row["state"] != BatchState.PREPARED.value:
            expected[f"batch.{row['state']}"] = batches.facts(row, files)
        if row["destroyed_at"] is not None:  # a destruction that is under way names its run alone
            expected["archive.destroyed"] = batches.destroyed_facts(row)
        yield _Row(id=batch_id, expected=expected)


def _unplanned_destructions(connection: sa.Connection) -> Iterator[Finding]:
    """Batches whose destruction is said to be under way, by a run that never planned it: their files would be missed by
    nobody."""
    batch, run = tables.batch, tables.run
    query = (
        sa.select(batch.c.id, batch.c.archive, batch.c.destroyed_by_run, run.c.policy, run.c.plan)
        .outerjoin(run, sa.and_(run.c.id == batch.c.destroyed_by_run, run.c.kind == runs.RunKind.DESTRUCTION.value))
        .where(batch.c.destroyed_by_run.is_not(None))
    )
    for row in _stream(connection, query):
        if row["policy"] != row["archive"] or row["id"] not in _planned(row["plan"]):
            what = f"batch {row['id']} names run {row['destroyed_by_run']} as its destruction, which did not plan that"
            yield Finding(seq=None, what=what)


def _planned(plan: object) -> Sequence[object]:
    """The batches of a destruction's plan; none where it is no such plan (the run's own check names it)."""
    try:
        found = json.loads(str(plan))["batches"]
    except (ValueError, KeyError, TypeError):
        return ()
    return found if isinstance(found, list) else ()


def _holds(connection: sa.Connection) -> Iterator[_Row]:
    for row in _stream(connection, tables.hold.select()):
        key = tables.hold_key
        keys = sorted(map(str, connection.scalars(sa.select(key.c.key).where(key.c.hold_id == row["id"]))))
        stored = holds.confirmations(connection, row["id"])
        confirmed = {str(_plain(source)): _plain(at) for source, at in stored.items()}
        expected: dict[str, Mapping[str, object]] = {"hold.placed": holds.placed_facts(row, keys, sorted(confirmed))}
        if any(at is not None for at in confirmed.values()):
            expected["hold.confirmed"] = {"confirmed": confirmed}
        released = holds.released_facts(row)
        if any(value is not None for value in released.values()):
            expected["hold.released"] = released
        if row["state"] != HoldState.PENDING.value:
            expected.setdefault(f"hold.{row['state'].replace(' ', '-')}", released | {"state": row["state"]})
        elif not holds.unconfirmed(connection, row["id"]):
            expected["hold.in-force"] = {"state": row["state"]}  # which it contradicts
        # a released hold may have been in force before
        possible = {"hold.in-force"} if "hold.released" in expected else set()
        yield _Row(id=row["id"], expected=expected, possible=frozenset(possible))


def _stream(connection: sa.Connection, query: sa.Select[Any]) -> Iterable[dict[str, Any]]:
    rows = connection.execute(query.execution_options(yield_per=1000))
    return ({name: _plain(value) for name, value in row._asdict().items()} for row in rows)


def _plain(value: object) -> object:
    """The value as a finding can show it: SQLite lets anybody store bytes or damaged text in any column."""
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="backslashreplace").decode()
    return repr(value) if isinstance(value, bytes) else value


def _body(entry: chain.Entry) -> dict[str, Any]:
    """The body with the entry's kind; without members where it is damaged, which `verify_chain` names."""
    try:
        return entry.facts | {"entry": entry.kind}
    except (ValueError, TypeError):
        return {}


def _digest(kind: str, facts: Mapping[str, object]) -> str:
    try:
        return sha256(canonical({name: facts.get(name) for name in _REPEATED[kind]}))
    except (TypeError, ValueError):
        return f"what no ledger entry holds: {facts!r}"
