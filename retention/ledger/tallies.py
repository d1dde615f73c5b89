"""Sums over the control database for those who watch: one statement each, whatever the number of rows."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from retention.holds.hold import HoldState
from retention.ledger import tables
from retention.ledger.batches import BatchState
from retention.ledger.runs import RunKind, RunState
from retention.ledger.times import instant, stamp

_run, _batch, _hold = tables.run.c, tables.batch.c, tables.hold.c


def runs_by_state(connection: sa.Connection) -> dict[str, int]:
    """Runs of either kind, by state; every state, also where there is none."""
    counts = {state.value: 0 for state in RunState}
    rows = connection.execute(sa.select(_run.state, sa.func.count()).group_by(_run.state))
    return counts | {state: int(count) for state, count in rows}


def holds_by_state(connection: sa.Connection) -> dict[str, int]:
    """Holds by state, its words joined by underscores; every state, also where there is none."""
    counts = {_word(state.value): 0 for state in HoldState}
    rows = connection.execute(sa.select(_hold.state, sa.func.count()).group_by(_hold.state))
    return counts | {_word(state): int(count) for state, count in rows}


def _word(state: str) -> str:
    return state.replace(" ", "_")


def oldest_hold(connection: sa.Connection) -> datetime | None:
    """When the oldest hold that was not released was placed; None where there is none."""
    placed = connection.execute(sa.select(sa.func.min(_hold.placed_at)).where(_hold.released_at.is_(None))).scalar()
    return None if placed is None else instant(placed)


def last_success(connection: sa.Connection, now: datetime) -> dict[str, datetime]:
    """Policy -> when its newest run ended with everything done; one that ended after ``now`` (aware) did so by a clock that
    was ahead, and tells nothing."""
    done = (_run.kind == RunKind.DISPOSITION.value) & (_run.state == RunState.FINISHED.value)
    done &= _run.finished_at <= stamp(now)
    rows = connection.execute(sa.select(_run.policy, sa.func.max(_run.finished_at)).where(done).group_by(_run.policy))
    return {policy: instant(at) for policy, at in rows}


def deleted(connection: sa.Connection) -> dict[str, int]:
    """Policy -> records deleted in committed batches, ever."""
    query = (
        sa.select(_run.policy, sa.func.sum(_batch.rows))
        .join_from(tables.batch, tables.run, _batch.run_id == _run.id)
        .where(_batch.state == BatchState.COMMITTED.value)
        .group_by(_run.policy)
    )
    return {policy: int(rows) for policy, rows in connection.execute(query)}


def deleted_in_run(connection: sa.Connection, run_id: str, *, since: datetime | None = None) -> int:
    """Records deleted in committed batches of the run; of those settled since the aware ``since``."""
    query = sa.select(sa.func.coalesce(sa.func.sum(_batch.rows), 0)).where(
        _batch.run_id == run_id, _batch.state == BatchState.COMMITTED.value
    )
    if since is not None:
        query = query.where(_batch.resolved_at >= stamp(since))
    return int(connection.execute(query).scalar_one())


def in_doubt(connection: sa.Connection, *, before: datetime) -> int:
    """Batches that were prepared before the aware ``before`` and are not settled yet."""
    doubtful = (_batch.state == BatchState.PREPARED.value) & (_batch.prepared_at < stamp(before))
    return int(connection.execute(sa.select(sa.func.count()).select_from(tables.batch).where(doubtful)).scalar_one())


def archives_in_use(connection: sa.Connection) -> dict[str, datetime]:
    """Archives with at least one batch that was not destroyed -> since when the oldest of these is in it."""
    kept = (_batch.state == BatchState.COMMITTED.value) & _batch.destroyed_at.is_(None) & _batch.archive.is_not(None)
    oldest = sa.select(_batch.archive, sa.func.min(_batch.resolved_at)).where(kept).group_by(_batch.archive)
    return {name: instant(since) for name, since in connection.execute(oldest)}
