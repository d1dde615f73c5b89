"""The control database's tables. Alembic migrations in `migrations/` make the same; a test compares the two.

Times are stored as UTC text in ISO form with microseconds ("2026-10-01T00:00:00.000000Z"): the same bytes on every
database, and the same order as the instants.
"""

from __future__ import annotations

import sqlalchemy as sa

from retention.ledger.text_types import KEY, NAME, PATH, TEXT

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME = sa.String(27)

#: one execution of one policy (kind "disposition") or of one archive's destruction (kind "destruction")
run = sa.Table(
    "run",
    metadata,
    sa.Column("id", NAME, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("policy", TEXT, nullable=False),  # for a destruction: the archive's name
    sa.Column("policy_digest", sa.String(64), nullable=False),
    sa.Column("set_digest", sa.String(64), nullable=False),
    sa.Column("records", TEXT, nullable=False),  # SOURCE.CLASS; for a destruction: "*"
    sa.Column("as_of", TIME, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("requested_by", TEXT, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("finished_at", TIME),
    sa.Column("plan", TEXT),  # JSON
    sa.Column("result", TEXT),  # JSON: counts of what was done
    sa.Column("reason", TEXT),  # why it is in this state, for a person
)

#: a disjoint range of the run's keys, after < key <= until; one process at a time works on it
shard = sa.Table(
    "shard",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # from 1
    sa.Column("after", TEXT),  # JSON list of the key's values, see values.py; None = from the first
    sa.Column("until", TEXT),  # None = to the last
    sa.Column("cursor", TEXT),  # everything up to this key was dealt with
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("owner", TEXT),  # who works on it, see owner.py
    sa.Column("owner_seen_at", TIME),
    sa.Column("attempts", sa.Integer, nullable=False),  # failures since it last went on
    sa.Column("not_before", TIME),  # when it may be tried again
    sa.Column("error", TEXT),  # of the last attempt that failed
    sa.Column("served_at", TIME),  # when somebody last began to work on it: the least recent is next
)

#: the unit of exactly-once; `prepared` before the source commits, then `committed` or `aborted`
batch = sa.Table(
    "batch",
    metadata,
    sa.Column("id", NAME, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("run.id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("records", NAME, nullable=False, index=True),
    sa.Column("rows", sa.BigInteger, nullable=False),  # root rows
    sa.Column("dependent_rows", sa.BigInteger, nullable=False),
    sa.Column("key_least", TEXT),  # JSON of the first key column's least value, see values.py
    sa.Column("key_greatest", TEXT),
    sa.Column("merkle_root", sa.String(64)),  # of the root table's rows; None for `archive: none`
    sa.Column("hold_epoch", sa.BigInteger, nullable=False),
    sa.Column("source_transaction", TEXT),
    sa.Column("keys", TEXT),  # JSON; only for `archive: none` where the source has no transaction ids
    sa.Column("archive", TEXT),  # archive's name; None for `archive: none`
    sa.Column("manifest", TEXT),  # path inside the archive
    sa.Column("manifest_sha256", sa.String(64)),
    sa.Column("destroy_after", sa.String(10)),  # the last local day of `keep`, ISO; None = forever or no archive
    sa.Column("prepared_at", TIME, nullable=False),
    sa.Column("resolved_at", TIME),
    sa.Column("destroyed_at", TIME),
    sa.Column("destroyed_by_run", sa.ForeignKey("run.id")),
    sa.UniqueConstraint("run_id", "number"),
)

#: the data files of a batch: the root table's, then each dependent's
archive_file = sa.Table(
    "archive_file",
    metadata,
    sa.Column("archive", NAME, primary_key=True),
    sa.Column("path", PATH, primary_key=True),
    sa.Column("batch_id", sa.ForeignKey("batch.id"), nullable=False, index=True),
    sa.Column("table_name", TEXT, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("merkle_root", sa.String(64), nullable=False),
)

hold = sa.Table(
    "hold",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("matter", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("placed_by", TEXT, nullable=False),
    sa.Column("placed_at", TIME, nullable=False),
    sa.Column("scope", TEXT, nullable=False),  # JSON
    sa.Column("first_day", sa.String(10)),
    sa.Column("last_day", sa.String(10)),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("released_by", TEXT),
    sa.Column("released_at", TIME),
    sa.Column("release_reason", TEXT),
)

hold_key = sa.Table(
    "hold_key",
    metadata,
    sa.Column("hold_id", sa.ForeignKey("hold.id"), primary_key=True),
    sa.Column("key", KEY, primary_key=True),  # JSON list of the key columns' values, see values.py
)

#: which source has confirmed (passed the fence of) which hold
hold_source = sa.Table(
    "hold_source",
    metadata,
    sa.Column("hold_id", sa.ForeignKey("hold.id"), primary_key=True),
    sa.Column("source", NAME, primary_key=True),
    sa.Column("confirmed_at", TIME),
)

#: append-only, hash-chained: hash = SHA-256 of the canonical JSON of every other column
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False, index=True),
    sa.Column("subject", NAME, nullable=False, index=True),  # run, batch, hold or policy id
    sa.Column("body", TEXT, nullable=False),  # canonical JSON
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

#: one row: where the chain ends, and the count of hold changes; what a cut tail is found by
head = sa.Table(
    "head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # always 1
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("hold_epoch", sa.BigInteger, nullable=False),
)

#: until when each policy's schedule was looked at: slots up to then stand in `slot`
schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("policy", NAME, primary_key=True),
    sa.Column("cron", TEXT, nullable=False),
    sa.Column("zone", TEXT, nullable=False),
    sa.Column("checked_until", TIME, nullable=False),
    sa.Column("since", TIME, nullable=False),  # when this cron and zone were first seen
)

#: one scheduled time of one policy; its key decides which of several beats was first, so that it runs once
slot = sa.Table(
    "slot",
    metadata,
    sa.Column("policy", NAME, primary_key=True),
    sa.Column("local_time", sa.String(16), primary_key=True),  # wall time in the zone, "2026-10-01T02:00"
    sa.Column("zone", TEXT, nullable=False),
    sa.Column("due_at", TIME, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("run_id", sa.ForeignKey("run.id"), index=True),
    sa.Column("opened_at", TIME),  # when a beat wrote it down
    sa.Column("late_seconds", sa.BigInteger),  # of the beginning of its run, after due_at
    sa.Column("reason", TEXT),  # why it is in this state, for a person
    sa.Column("owner", TEXT),
    sa.Column("owner_seen_at", TIME),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("not_before", TIME),
)

#: processes of the scheduled worker, and when they were last heard of
worker = sa.Table(
    "worker",
    metadata,
    sa.Column("name", NAME, primary_key=True),  # host:pid:start, see owner.py
    sa.Column("kind", sa.String(20), nullable=False),  # worker | beat | up
    sa.Column("started_at", TIME, nullable=False),
    sa.Column("seen_at", TIME, nullable=False),
    sa.Column("doing", TEXT),  # for a person
)

#: what somebody has told to wait
pause = sa.Table(
    "pause",
    metadata,
    sa.Column("target", NAME, primary_key=True),  # "*" for everything, a policy's name or a run's id
    sa.Column("by", TEXT, nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
)

#: two rows: when the policy files were last read and taken, and when they were last refused
policy_load = sa.Table(
    "policy_load",
    metadata,
    sa.Column("outcome", sa.String(20), primary_key=True),  # good | bad
    sa.Column("at", TIME, nullable=False),
    sa.Column("set_digest", sa.String(64)),
    sa.Column("message", TEXT),
)

#: what was last counted or verified: kind "debt" of a policy, "archive" of an archive, "ledger" and "survey" of "*"
observation = sa.Table(
    "observation",
    metadata,
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("target", NAME, primary_key=True),
    sa.Column("at", TIME, nullable=False),
    sa.Column("body", TEXT, nullable=False),  # JSON
)
