"""The append-only, hash-chained ledger: every entry's hash covers the entry and the hash of the one before it.

``hash = SHA-256(canonical JSON of {at, body, kind, previous, seq, subject})``. Changing, removing, adding or moving
a row breaks a link; cutting the tail off contradicts the head; `export.compare` finds a chain that was rewritten as
a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa

from retention.errors import EvidenceBroken, NotFound
from retention.ledger import tables
from retention.ledger.canonical import canonical, sha256
from retention.ledger.times import stamp

#: what the first entry has as ``previous``
GENESIS = "0" * 64

#: entries that `entries` reads at a time
_PAGE = 1000

KINDS = frozenset(
    {
        "control.created",
        "policies.changed",
        "run.planned",
        "run.awaiting-approval",
        "run.refused",
        "run.approved",
        "run.started",
        "run.finished",
        "run.failed",
        "run.cancelled",
        "batch.committed",
        "batch.aborted",
        "records.held",
        "work.paused",
        "work.resumed",
        "slot.opened",
        "slot.begun",
        "slot.skipped",
        "slot.missed",
        "slot.quarantined",
        "hold.placed",
        "hold.confirmed",
        "hold.in-force",
        "hold.released",
        "archive.restored",
        "archive.destroyed",
    }
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry exactly as it is stored, so that verification sees what stands there and not what it should be."""

    seq: int
    #: UTC, as `times.stamp` writes it
    at: str
    kind: str
    #: the run, batch, hold or policy that it is about
    subject: str
    #: canonical JSON
    body: str
    previous: str
    hash: str

    @property
    def facts(self) -> dict[str, Any]:
        """The body's members. Raises ValueError for a damaged body."""
        found = json.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("the body of an entry is a JSON object")
        return found

    def computed_hash(self) -> str | None:
        """The hash that these contents have; None where they are none that `append` could have written."""
        return hash_of(self, seq=self.seq)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where the chain ends, and how often holds changed."""

    EMPTY: ClassVar[Head]

    seq: int
    hash: str
    hold_epoch: int


Head.EMPTY = Head(seq=0, hash=GENESIS, hold_epoch=0)


def hash_of(entry: Entry, *, seq: int) -> str | None:
    """The hash that the contents would have as entry ``seq``; None for contents that nobody could have appended."""
    try:
        facts = entry.facts
        if canonical(facts) != entry.body:  # the same members written otherwise: not what was appended
            return None
        hashed = {"seq": seq, "at": entry.at, "kind": entry.kind, "subject": entry.subject, "body": facts}
        return sha256(canonical(hashed | {"previous": entry.previous}))
    except (ValueError, TypeError, RecursionError):
        return None


def append(connection: sa.Connection, *, kind: str, subject: str, body: Mapping[str, object], at: datetime) -> Entry:
    """Add an entry, in the caller's write transaction: it stands in the ledger if and only if what it tells happened.

    Raises ValueError for an unknown kind, a naive ``at`` and text that is not Unicode, TypeError for a body that JSON
    has no form for, and EvidenceBroken where the head is missing.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of ledger entry")
    head = read_head(connection)
    if head is None:
        raise EvidenceBroken("the ledger has lost its head", hint="Run `retention audit verify`.")
    text = canonical(dict(body))
    plain = Entry(seq=head.seq + 1, at=stamp(at), kind=kind, subject=subject, body=text, previous=head.hash, hash="")
    hashed = plain.computed_hash()
    if hashed is None:
        raise TypeError(f"the body of {kind} does not survive JSON: {text}")
    entry = Entry(**{**vars(plain), "hash": hashed})
    connection.execute(tables.ledger.insert(), vars(entry))
    moved = connection.execute(
        tables.head.update()
        .where(tables.head.c.id == 1, tables.head.c.seq == head.seq, tables.head.c.hash == head.hash)
        .values(seq=entry.seq, hash=entry.hash)
    )
    if moved.rowcount != 1:  # a writer outside of Control.write; this transaction is lost, the chain is not
        raise EvidenceBroken("somebody else moved the head of the ledger meanwhile", hint="Run the command again.")
    return entry


def read_head(connection: sa.Connection) -> Head | None:
    """The head, None where its row is missing."""
    row = connection.execute(tables.head.select().where(tables.head.c.id == 1)).one_or_none()
    return None if row is None else Head(seq=row.seq, hash=row.hash, hold_epoch=row.hold_epoch)


def get(connection: sa.Connection, seq: int) -> Entry:
    """The entry of that number. Raises NotFound."""
    row = connection.execute(tables.ledger.select().where(tables.ledger.c.seq == seq)).one_or_none()
    if row is None:
        raise NotFound(f"the ledger has no entry {seq}", hint="`retention audit show` lists them.")
    return Entry(**row._asdict())


def newest(connection: sa.Connection, *, last: int, kind: str | None = None, subject: str | None = None) -> list[Entry]:
    """The ``last`` newest entries of the kind and about the subject, where given; the oldest of them first."""
    query = _narrowed(kind, subject).order_by(tables.ledger.c.seq.desc()).limit(last)
    return [Entry(**row._asdict()) for row in connection.execute(query)][::-1]


def entries(
    connection: sa.Connection, after: int = 0, *, kind: str | None = None, subject: str | None = None
) -> Iterator[Entry]:
    """The entries after ``after``, in order; only those of the kind and about the subject, where given.

    Read in pages, so that memory stays small and a reader who stops early leaves nothing open. All pages show one state
    of the ledger, as `Control.read` gives it.
    """
    query = _narrowed(kind, subject).order_by(tables.ledger.c.seq).limit(_PAGE)
    while page := connection.execute(query.where(tables.ledger.c.seq > after)).all():
        for row in page:
            yield Entry(**row._asdict())
        after = page[-1].seq


def _narrowed(kind: str | None, subject: str | None) -> sa.Select[Any]:
    query = sa.select(tables.ledger)
    if kind is not None:
        query = query.where(tables.ledger.c.kind == kind)
    if subject is not None:
        query = query.where(tables.ledger.c.subject == subject)
    return query
