"""A control database of the first release keeps what it knows when it is upgraded."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from retention.ledger import shards
from retention.ledger.control import Control
from retention.ledger.engine import control_url as url_of
from retention.ledger.engine import make_engine, writing
from retention.ledger.shards import ShardState
from tests.integration.ledger.conftest import quoted

RUN = (
    "INSERT INTO run (id, kind, policy, policy_digest, set_digest, records, as_of, state, requested_by, created_at, owner,"
    " owner_seen_at) VALUES (:id, 'disposition', 'sales', 'a', 'b', 'crm.a', '2026-10-01T00:00:00.000000Z', :state, 'li',"
    " '2026-10-01T00:00:00.000000Z', :owner, '2026-10-01T00:01:00.000000Z')"
)
BATCH = (
    "INSERT INTO batch (id, run_id, number, state, records, `rows`, dependent_rows, hold_epoch, prepared_at)"
    " VALUES ('B-1', 'running', 1, 'prepared', 'crm.a', 3, 0, 0, '2026-10-01T00:01:00.000000Z')"
)


def old_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a database of revision 0001, with a run in each state."""
    from alembic import command

    real = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, to: real(config, "0001"))
        Control.upgrade(url)
    engine = make_engine(url_of(url))
    with writing(engine) as connection:
        for state in ("awaiting_approval", "approved", "running", "failed", "finished", "refused", "cancelled"):
            owner = "elsewhere:1:1" if state == "running" else None
            connection.execute(sa.text(RUN), {"id": state, "state": state, "owner": owner})
        connection.execute(sa.text(quoted(connection, BATCH)))
    engine.dispose()


@pytest.fixture
def old(control_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of revision 0001, with a run in each state."""
    old_database(control_url, monkeypatch)
    return control_url


def test_every_run_that_is_not_over_becomes_one_shard_with_its_owner(old: str) -> None:
    Control.upgrade(old)
    with Control.open(old) as control, control.read() as connection:
        made = {run: shards.of_run(connection, run) for run in ("awaiting_approval", "approved", "running", "failed")}
        assert connection.execute(sa.text("SELECT count(*) FROM shard")).scalar() == 4
        assert connection.execute(sa.text("SELECT count(*) FROM run")).scalar() == 7
        found = connection.execute(sa.text(quoted(connection, "SELECT id, run_id, `rows` FROM batch"))).all()
        assert found == [("B-1", "running", 3)]
    for run, [shard] in made.items():
        assert (shard.number, shard.after, shard.until, shard.cursor) == (1, None, None, None)
        assert shard.state is ShardState.OPEN
        assert shard.owner == ("elsewhere:1:1" if run == "running" else None)
