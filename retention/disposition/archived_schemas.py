"""Which columns a table had when its rows were archived: one version for each change, as the manifests say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from retention.disposition.archived import read_manifest
from retention.ledger import batches

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.sources.column_entry import ColumnEntry


@dataclass(frozen=True, kw_only=True)
class SchemaVersion:
    """One version of a table's columns, and what was archived under it. Times are ISO, UTC."""

    #: the class with whose records the rows went
    records: str
    table: str
    #: counts from 1; columns that came back to an earlier form are that version again
    version: int
    batches: int
    rows: int
    first_deleted_at: str
    last_deleted_at: str
    #: name -> type, by the database's own name for it
    columns: Mapping[str, str]
    #: against the version before: columns that came, went (with their types), or changed their type (from, to)
    added: Mapping[str, str]
    dropped: Mapping[str, str]
    retyped: Mapping[str, tuple[str, str]]

    def to_json(self) -> dict[str, object]:
        """The fields as `archive list --schema --json` prints them."""
        return asdict(self)


def schema_versions(engine: Engine, *, run: str | None = None, records: str | None = None) -> list[SchemaVersion]:
    """Every version of every table that lies in the archives, by class and table, oldest first. Copies that were destroyed say
    nothing any more. Raises ArchiveFailed, and EvidenceBroken where a manifest was changed."""
    with engine.control.read() as connection:
        found = batches.committed(connection, records=records, run=run, not_destroyed=True)
    #: (class, table) -> columns -> the batches' times and rows
    seen: dict[tuple[str, str], dict[tuple[tuple[str, str], ...], list[tuple[str, int]]]] = {}
    for batch in found:
        if batch.archive is None or batch.resolved_at is None:
            continue
        for file in read_manifest(engine.store(batch.archive), batch).files:
            versions = seen.setdefault((batch.records, file.table), {})
            versions.setdefault(_columns(file.columns), []).append((batch.resolved_at.isoformat(), file.rows))
    return [one for (address, table), versions in sorted(seen.items()) for one in _versions(address, table, versions)]


def _columns(entries: Sequence[ColumnEntry]) -> tuple[tuple[str, str], ...]:
    return tuple((entry.name, entry.type) for entry in entries)


def _versions(
    address: str, table: str, versions: Mapping[tuple[tuple[str, str], ...], Sequence[tuple[str, int]]]
) -> list[SchemaVersion]:
    made: list[SchemaVersion] = []
    for number, (columns, under) in enumerate(versions.items(), 1):
        now = dict(columns)
        before = made[-1].columns if made else now
        made.append(
            SchemaVersion(
                records=address,
                table=table,
                version=number,
                batches=len(under),
                rows=sum(rows for _, rows in under),
                first_deleted_at=min(at for at, _ in under),
                last_deleted_at=max(at for at, _ in under),
                columns=now,
                added={name: kind for name, kind in now.items() if name not in before},
                dropped={name: kind for name, kind in before.items() if name not in now},
                retyped={
                    name: (before[name], kind) for name, kind in now.items() if name in before and before[name] != kind
                },
            )
        )
    return made
