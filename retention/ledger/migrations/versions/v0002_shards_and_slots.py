"""Shards, slots and what the scheduled worker keeps; a run's owner moves to its shards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from retention.ledger.text_types import NAME, TEXT

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables. Every run that is not over becomes one shard, with the owner that the run had."""
    op.create_table(
        "shard",
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("after", TEXT),
        sa.Column("until", TEXT),
        sa.Column("cursor", TEXT),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("owner", TEXT),
        sa.Column("owner_seen_at", sa.String(length=27)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.String(length=27)),
        sa.Column("error", TEXT),
        sa.Column("served_at", sa.String(length=27)),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_shard_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_shard")),
    )
    op.create_index(op.f("ix_shard_state"), "shard", ["state"])
    if "owner_seen_at" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("run")}:  # see resumed.py
        op.execute(
            "INSERT INTO shard (run_id, number, state, owner, owner_seen_at, attempts)"
            " SELECT id, 1, 'open', owner, owner_seen_at, 0 FROM run"
            " WHERE state IN ('awaiting_approval', 'approved', 'running', 'failed')"
            " AND NOT EXISTS (SELECT 1 FROM shard WHERE shard.run_id = run.id)"
        )
    op.drop_column("run", "owner_seen_at")
    op.drop_column("run", "owner")
    op.create_table(
        "schedule",
        sa.Column("policy", NAME, nullable=False),
        sa.Column("cron", TEXT, nullable=False),
        sa.Column("zone", TEXT, nullable=False),
        sa.Column("checked_until", sa.String(length=27), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_schedule")),
    )
    op.create_table(
        "slot",
        sa.Column("policy", NAME, nullable=False),
        sa.Column("local_time", sa.String(length=16), nullable=False),
        sa.Column("zone", TEXT, nullable=False),
        sa.Column("due_at", sa.String(length=27), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("run_id", NAME),
        sa.Column("opened_at", sa.String(length=27)),
        sa.Column("late_seconds", sa.BigInteger()),
        sa.Column("reason", TEXT),
        sa.Column("owner", TEXT),
        sa.Column("owner_seen_at", sa.String(length=27)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.String(length=27)),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_slot_run_id")),
        sa.PrimaryKeyConstraint("policy", "local_time", name=op.f("pk_slot")),
    )
    op.create_index(op.f("ix_slot_run_id"), "slot", ["run_id"])
    op.create_index(op.f("ix_slot_state"), "slot", ["state"])
    op.create_table(
        "worker",
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=False),
        sa.Column("seen_at", sa.String(length=27), nullable=False),
        sa.Column("doing", TEXT),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "pause",
        sa.Column("target", NAME, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_pause")),
    )
    op.create_table(
        "policy_load",
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("set_digest", sa.String(length=64)),
        sa.Column("message", TEXT),
        sa.PrimaryKeyConstraint("outcome", name=op.f("pk_policy_load")),
    )
    op.create_table(
        "observation",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("target", NAME, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "target", name=op.f("pk_observation")),
    )
