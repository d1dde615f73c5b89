"""Which holds cover an archive copy. The batch is the unit: one covered record keeps all of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention.archive.find import rows_of
from retention.archive.manifest import FileEntry, Manifest
from retention.archive.store import Store
from retention.disposition.archived import read_manifest
from retention.disposition.archived_values import ArchivedValues, Unreadable, key_texts, rows_as_values
from retention.disposition.held import HoldsInEffect
from retention.disposition.holding import touched
from retention.holds.hold import Hold
from retention.holds.scope import Everything, Keys, Matching, Subject, Tagged, WholeClass
from retention.ledger import holds as hold_rows
from retention.ledger.batches import Batch
from retention.policy.calendar import local_day
from retention.policy.evaluate import holds_true, tags_of
from retention.policy.moment import moment_of
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn, TagTable

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

    from retention.disposition.engine import Engine


def covering(engine: Engine, store: Store, batch: Batch, holds: HoldsInEffect) -> list[Hold]:
    """The holds that cover some record of the batch, or may: what cannot be told from the copy counts as covered."""
    if not holds.holds:
        return []
    manifest = read_manifest(store, batch)
    return [hold for hold in holds.holds if _covers(engine, store, batch, manifest, hold)]


def _covers(engine: Engine, store: Store, batch: Batch, manifest: Manifest, hold: Hold) -> bool:
    if isinstance(hold.scope, Everything | WholeClass) and hold.first_day is None and hold.last_day is None:
        return batch.records in touched(engine, hold.scope) or _through_dependents(engine, manifest, hold)
    declared = engine.project.config.classes.get(batch.records)
    if declared is None:
        return True  # the class is no longer declared, so nobody can say what its columns mean
    if _through_dependents(engine, manifest, hold):
        return True
    if batch.records not in touched(engine, hold.scope):
        return False
    return _covers_a_row(engine, store, manifest, hold, declared)


def _through_dependents(engine: Engine, manifest: Manifest, hold: Hold) -> bool:
    """Whether the hold touches a class whose rows lie in this copy as somebody's dependents."""
    classes = engine.project.config.classes
    tables = {file.table for file in manifest.files[1:]}
    return any(
        classes[address].table in tables and classes[address].source == manifest.source
        for address in touched(engine, hold.scope)
    )


def _covers_a_row(engine: Engine, store: Store, manifest: Manifest, hold: Hold, declared: RecordClass) -> bool:
    zone = engine.project.policies.timezone
    root = manifest.files[0]
    keys = _held_keys(engine, hold)
    joined = _joined_tags(store, manifest, declared)
    rows = rows_of(store, root)
    for text, row in zip(key_texts(rows, root), rows_as_values(rows, root), strict=True):
        held = text in keys if isinstance(hold.scope, Keys) else None
        try:
            if (_scope_covers(hold, row, root, declared, zone, joined) if held is None else held) and _day_covers(
                hold, row, declared, zone
            ):
                return True
        except (Unreadable, KeyError):
            return True
    return False


def _scope_covers(
    hold: Hold,
    row: ArchivedValues,
    root: FileEntry,
    declared: RecordClass,
    zone: ZoneInfo,
    joined: dict[str, list[object]] | None,
) -> bool:
    match hold.scope:
        case Tagged(tag=tag):
            tags = tags_of(
                row, declared, _raw_tags(row, root, declared, joined), zone, is_json=_is_json(root, declared)
            )
            return tags is None or tag in tags
        case Matching(where=where):
            return holds_true(where, row, declared, zone)
        case Subject(subject=subject, value=value):
            return str(row[declared.subjects[subject]]) == value
        case _:
            return True


def _day_covers(hold: Hold, row: ArchivedValues, declared: RecordClass, zone: ZoneInfo) -> bool:
    if hold.first_day is None and hold.last_day is None:
        return True
    moment = None if declared.created is None else moment_of(row[declared.created], declared)
    if moment is None:
        return True  # without that clock nobody can say that it lies outside
    from datetime import datetime

    day: date = local_day(moment, zone) if isinstance(moment, datetime) else moment
    return (hold.first_day is None or day >= hold.first_day) and (hold.last_day is None or day <= hold.last_day)


def _held_keys(engine: Engine, hold: Hold) -> frozenset[str]:
    with engine.control.read() as connection:
        return frozenset(str(key[0]) for key in hold_rows.keys(connection, hold.id))


def _raw_tags(
    row: ArchivedValues, root: FileEntry, declared: RecordClass, joined: dict[str, list[object]] | None
) -> object:
    if isinstance(declared.tags, TagColumn):
        return row[declared.tags.column]
    return None if joined is None else joined.get(str(row[root.key[0]]), [])


def _joined_tags(store: Store, manifest: Manifest, declared: RecordClass) -> dict[str, list[object]] | None:
    """Root key -> tags, from the join table's rows in the same copy."""
    if not isinstance(declared.tags, TagTable):
        return None
    found: dict[str, list[object]] = {}
    for file in manifest.files[1:]:
        if file.table == declared.tags.table:
            for row in rows_as_values(rows_of(store, file), file):
                found.setdefault(str(row[declared.tags.record]), []).append(row[declared.tags.tag])
    return found


def _is_json(root: FileEntry, declared: RecordClass) -> bool:
    if not isinstance(declared.tags, TagColumn):
        return False
    name = declared.tags.column
    return any(entry.name == name and entry.type in ("json", "jsonb") for entry in root.columns)
