"""The tables of the first release; see ``retention/ledger/tables.py`` for what each column means."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from retention.ledger.text_types import KEY, NAME, PATH, TEXT

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table, and the head of an empty chain."""
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("hold_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_head")),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("matter", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("placed_by", TEXT, nullable=False),
        sa.Column("placed_at", sa.String(length=27), nullable=False),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("first_day", sa.String(length=10)),
        sa.Column("last_day", sa.String(length=10)),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("released_by", TEXT),
        sa.Column("released_at", sa.String(length=27)),
        sa.Column("release_reason", TEXT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index(op.f("ix_hold_state"), "hold", ["state"])
    op.create_table(
        "ledger",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger")),
    )
    op.create_index(op.f("ix_ledger_kind"), "ledger", ["kind"])
    op.create_index(op.f("ix_ledger_subject"), "ledger", ["subject"])
    op.create_table(
        "run",
        sa.Column("id", NAME, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("policy", TEXT, nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("set_digest", sa.String(length=64), nullable=False),
        sa.Column("records", TEXT, nullable=False),
        sa.Column("as_of", sa.String(length=27), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("requested_by", TEXT, nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("finished_at", sa.String(length=27)),
        sa.Column("plan", TEXT),
        sa.Column("result", TEXT),
        sa.Column("reason", TEXT),
        sa.Column("owner", TEXT),
        sa.Column("owner_seen_at", sa.String(length=27)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_state"), "run", ["state"])
    op.create_table(
        "batch",
        sa.Column("id", NAME, nullable=False),
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("records", NAME, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("dependent_rows", sa.BigInteger(), nullable=False),
        sa.Column("key_least", TEXT),
        sa.Column("key_greatest", TEXT),
        sa.Column("merkle_root", sa.String(length=64)),
        sa.Column("hold_epoch", sa.BigInteger(), nullable=False),
        sa.Column("source_transaction", TEXT),
        sa.Column("keys", TEXT),
        sa.Column("archive", TEXT),
        sa.Column("manifest", TEXT),
        sa.Column("manifest_sha256", sa.String(length=64)),
        sa.Column("destroy_after", sa.String(length=10)),
        sa.Column("prepared_at", sa.String(length=27), nullable=False),
        sa.Column("resolved_at", sa.String(length=27)),
        sa.Column("destroyed_at", sa.String(length=27)),
        sa.Column("destroyed_by_run", NAME),
        sa.ForeignKeyConstraint(["destroyed_by_run"], ["run.id"], name=op.f("fk_batch_destroyed_by_run")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_batch_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("run_id", "number", name=op.f("uq_batch_run_id_number")),
    )
    op.create_index(op.f("ix_batch_records"), "batch", ["records"])
    op.create_index(op.f("ix_batch_run_id"), "batch", ["run_id"])
    op.create_index(op.f("ix_batch_state"), "batch", ["state"])
    op.create_table(
        "hold_key",
        sa.Column("hold_id", sa.String(length=40), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_hold_key_hold_id")),
        sa.PrimaryKeyConstraint("hold_id", "key", name=op.f("pk_hold_key")),
    )
    op.create_table(
        "hold_source",
        sa.Column("hold_id", sa.String(length=40), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("confirmed_at", sa.String(length=27)),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_hold_source_hold_id")),
        sa.PrimaryKeyConstraint("hold_id", "source", name=op.f("pk_hold_source")),
    )
    op.create_table(
        "archive_file",
        sa.Column("archive", NAME, nullable=False),
        sa.Column("path", PATH, nullable=False),
        sa.Column("batch_id", NAME, nullable=False),
        sa.Column("table_name", TEXT, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("merkle_root", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_archive_file_batch_id")),
        sa.PrimaryKeyConstraint("archive", "path", name=op.f("pk_archive_file")),
    )
    op.create_index(op.f("ix_archive_file_batch_id"), "archive_file", ["batch_id"])
    genesis = "0" * 64
    op.execute(f"INSERT INTO head (id, seq, hash, hold_epoch) VALUES (1, 0, '{genesis}', 0)")
