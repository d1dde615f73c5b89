"""Finding a record that was deleted: in which batch and file it lies, with its proof."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retention.archive.find import Inclusion, find_key, proof_for, rows_of
from retention.archive.manifest import Manifest
from retention.archive.store import Store
from retention.archive.verify import Expected, ExpectedFile
from retention.disposition.archived_values import key_texts
from retention.errors import EvidenceBroken
from retention.ledger import batches, runs
from retention.ledger.batches import Batch
from retention.ledger.runs import Run

if TYPE_CHECKING:
    import sqlalchemy as sa

    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class ArchivedRecord:
    """One deletion of one record. ``inclusion`` and ``values`` are None once the archive copy was destroyed: then the key
    lies in the range of the batch's keys, and nobody can tell any more whether the record was among them."""

    batch: Batch
    run: Run
    inclusion: Inclusion | None
    #: columns as the archive has them
    values: dict[str, Any] | None


def find_archived(engine: Engine, address: str, key: tuple[object, ...]) -> list[ArchivedRecord]:
    """Every deletion of the record that the archives still prove, oldest first (it may have been restored in between)."""
    found: list[ArchivedRecord] = []
    for batch, run in _candidates(engine, address, key):
        if batch.archive is None or batch.destroyed_by_run is not None:
            continue
        store = engine.store(batch.archive)
        manifest = read_manifest(store, batch)
        inclusion = proof_for(store, manifest, key)
        if inclusion is not None:
            row = find_key(store, manifest, key)
            found.append(ArchivedRecord(batch=batch, run=run, inclusion=inclusion, values=row[1] if row else None))
    return found


def find_unprovable(engine: Engine, address: str, key: tuple[object, ...]) -> list[ArchivedRecord]:
    """Every batch that may have deleted the record and has no archive copy (any more) that could tell, oldest first."""
    return [
        ArchivedRecord(batch=batch, run=run, inclusion=None, values=None)
        for batch, run in _candidates(engine, address, key)
        if batch.archive is None or batch.destroyed_by_run is not None
    ]


def _candidates(engine: Engine, address: str, key: tuple[object, ...]) -> list[tuple[Batch, Run]]:
    with engine.control.read() as connection:
        return [
            (batch, runs.get(connection, batch.run_id)) for batch in batches.candidates(connection, address, key[0])
        ]


def read_manifest(store: Store, batch: Batch) -> Manifest:
    """The manifest of a batch, if it is the one that was written. Raises EvidenceBroken where it was changed."""
    import hashlib

    assert batch.manifest is not None
    content = store.read(batch.manifest)
    if hashlib.sha256(content).hexdigest() != batch.manifest_sha256:
        raise EvidenceBroken(
            f"{batch.manifest} has been changed since it was written",
            hint="`retention archive verify` says what else is",
        )
    return Manifest.from_bytes(content)


def keys_of(engine: Engine, batch: Batch) -> list[str] | None:
    """The keys of the batch's records as texts; None where nothing tells them (any more). Raises ArchiveFailed, and
    EvidenceBroken where the files were changed."""
    if batch.archive is not None and batch.destroyed_by_run is None:
        store = engine.store(batch.archive)
        root = read_manifest(store, batch).files[0]
        return key_texts(rows_of(store, root), root)
    return None if batch.keys is None else [str(text) for text in json.loads(batch.keys)]


def expected(connection: sa.Connection, batch: Batch) -> Expected:
    """What the archive must hold of a batch, as the control database knows it."""
    assert batch.manifest is not None and batch.manifest_sha256 is not None
    return Expected(
        batch_id=batch.id,
        manifest_path=batch.manifest,
        manifest_sha256=batch.manifest_sha256,
        files=tuple(
            ExpectedFile(path=file.path, sha256=file.sha256, rows=file.rows, merkle_root=file.merkle_root)
            for file in batches.files(connection, batch.id)
        ),
    )
