"""Which holds cover an archive copy. The batch is the unit: one covered record keeps all of its files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from retention.archive.find import rows_of
from retention.archive.manifest import FileEntry, Manifest
from retention.archive.store import Store
from retention.disposition.archived import read_manifest
from retention.disposition.archived_values import ArchivedValues, Unreadable, key_texts, loosely, rows_as_values
from retention.disposition.held import HoldsInEffect
from retention.disposition.holding import touched
from retention.holds.hold import Hold
from retention.holds.scope import Everything, Key, Keys, Matching, Subject, Tagged, WholeClass
from retention.ledger import batches
from retention.ledger import holds as hold_rows
from retention.ledger.batches import Batch
from retention.policy.calendar import local_day
from retention.policy.evaluate import holds_true, tags_of
from retention.policy.moment import moment_of
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn, TagTable
from retention.sources.keys import key_from_text, key_text
from retention.sources.presence import any_same, as_written

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from retention.disposition.engine import Engine
    from retention.sources.bound_class import BoundClass


def covering(engine: Engine, store: Store, batch: Batch, holds: HoldsInEffect) -> list[Hold]:
    """The holds that cover some record of the batch, or may: what cannot be told from the copy counts as covered."""
    if not holds.holds:
        return []
    with engine.control.read() as connection:
        tables = [file.table for file in batches.files(connection, batch.id)]
    near = [hold for hold in holds.holds if _may_cover(engine, batch, tables, hold)]
    if not near or batch.destroyed_by_run is not None:  # of files that may be gone already nothing more can be told
        return near
    manifest = read_manifest(store, batch)
    return [hold for hold in near if _covers(engine, store, batch, manifest, hold)]


def _may_cover(engine: Engine, batch: Batch, tables: list[str], hold: Hold) -> bool:
    """Whether the hold has to do with the batch's class, or with that of one of its dependents' tables."""
    declared = engine.project.config.classes.get(batch.records)
    if declared is None:
        return True  # the class is no longer declared, so nobody can say what its columns mean
    return batch.records in touched(engine, hold.scope) or _through_dependents(engine, declared.source, tables, hold)


def _through_dependents(engine: Engine, source: str, tables: list[str], hold: Hold) -> bool:
    """Whether the hold touches a class whose rows lie in this copy as somebody's dependents."""
    classes = engine.project.config.classes
    others = [classes[address] for address in touched(engine, hold.scope) if address in classes]
    return any(other.source == source and same_table(other.table, table) for other in others for table in tables)


def _covers(engine: Engine, store: Store, batch: Batch, manifest: Manifest, hold: Hold) -> bool:
    if batch.records not in engine.project.config.classes:
        return True
    if _through_dependents(engine, manifest.source, [file.table for file in manifest.files[1:]], hold):
        return True
    if isinstance(hold.scope, Everything | WholeClass) and hold.first_day is None and hold.last_day is None:
        return True
    return _covers_a_row(engine, store, batch, manifest, hold)


def _covers_a_row(engine: Engine, store: Store, batch: Batch, manifest: Manifest, hold: Hold) -> bool:
    zone = engine.project.policies.timezone
    declared = engine.project.config.classes[batch.records]
    root = manifest.files[0]
    keys = _held_keys(engine, batch.records, hold)
    rows = rows_of(store, root)
    own = [_plain(text, len(root.key)) for text in key_texts(rows, root)]
    if isinstance(hold.scope, Keys) and _same_to_the_database(engine, batch.records, hold, key_texts(rows, root)):
        return True
    try:
        joined = _joined_tags(store, manifest, declared, set(own)) if isinstance(hold.scope, Tagged) else {}
        return any(
            (
                key in keys
                if isinstance(hold.scope, Keys)
                else _scope_covers(hold, row, root, declared, zone, joined.get(key, []))
            )
            and _day_covers(hold, row, declared, zone)
            for key, row in zip(own, rows_as_values(rows, root), strict=True)
        )
    except (Unreadable, KeyError, ArithmeticError):  # the last: a number that Python has no place for
        return True


def _scope_covers(
    hold: Hold,
    row: ArchivedValues,
    root: FileEntry,
    declared: RecordClass,
    zone: ZoneInfo,
    joined: list[object],
) -> bool:
    """``joined``: the record's tags in a join table."""
    match hold.scope:
        case Tagged(tag=tag):
            if declared.tags is None:
                return True  # the class had tags when the hold was placed
            raw = _raw_tags(row, declared, joined)
            tags = tags_of(row, declared, raw, zone, is_json=_is_json(root, declared))
            return tags is None or tag in tags
        case Matching(where=where):
            # no comparison holds of NaN, and it may stand for any number: what the hold may mean stays
            meant = (row, row.with_nan_as(math.inf), row.with_nan_as(-math.inf))
            return any(holds_true(where, one, declared, zone) for one in meant)
        case Subject(subject=subject, value=value):
            return _names(row[declared.subjects[subject]], value)
        case _:
            return True


def _day_covers(hold: Hold, row: ArchivedValues, declared: RecordClass, zone: ZoneInfo) -> bool:
    if hold.first_day is None and hold.last_day is None:
        return True
    parts = () if declared.created is None else declared.clock_parts(declared.created)
    if any(part.kin is not None for part in parts):
        return True  # the copy has not all that the clock counts from
    moments = [moment for part in parts if (moment := moment_of(row[part.column], declared)) is not None]
    days = [local_day(moment, zone) if isinstance(moment, datetime) else moment for moment in moments]
    if not days:
        return True  # without that clock nobody can say that it lies outside
    return (hold.first_day is None or max(days) >= hold.first_day) and (
        hold.last_day is None or max(days) <= hold.last_day
    )


def _names(found: object, value: str) -> bool:
    """Whether a subject's column says ``value``, as generously as `sources.subject.is_subject` reads it."""
    if found is None:
        return False
    if str(found).strip().lower() == value.strip().lower():
        return True
    try:
        return not isinstance(found, str | bytes) and Decimal(str(found)) == Decimal(value.strip())
    except InvalidOperation:
        return False


def _held_keys(engine: Engine, address: str, hold: Hold) -> frozenset[tuple[str | None, ...]]:
    """The hold's keys, as they were written and as the database would write them, plainly."""
    if not isinstance(hold.scope, Keys):
        return frozenset()
    bound, keys = _keys_of(engine, address, hold)
    return frozenset(_plain(key_text(key), len(key)) for key in (*keys, *as_written(bound, keys)))


def _keys_of(engine: Engine, address: str, hold: Hold) -> tuple[BoundClass, list[Key]]:
    bound = engine.bound(address)
    with engine.control.read() as connection:
        return bound, [key_from_text(bound, str(key[0])) for key in hold_rows.keys(connection, hold.id)]


def _same_to_the_database(engine: Engine, address: str, hold: Hold, own: list[str]) -> bool:
    """Whether MariaDB or MySQL takes an archived key for one that is held: their collations know more letters that are the same
    than `loosely` does, each its own. Of ASCII that tells all."""
    bound, held = _keys_of(engine, address, hold)
    if bound.dialect != "mysql":
        return False
    asked = own if any(not key_text(key).isascii() for key in held) else [text for text in own if not text.isascii()]
    return any_same(bound, [key_from_text(bound, text) for text in asked], held)


def _plain(text: str, columns: int) -> tuple[str | None, ...]:
    """A key without what may not matter to the database. Keys that are the same here and not there keep a copy too many,
    never one too few."""
    return loosely([text] if columns == 1 else [str(part) for part in json.loads(text)])


def _raw_tags(row: ArchivedValues, declared: RecordClass, joined: list[object]) -> object:
    if isinstance(declared.tags, TagColumn):
        return row[declared.tags.column]
    return joined


def _joined_tags(
    store: Store, manifest: Manifest, declared: RecordClass, own: set[tuple[str | None, ...]]
) -> dict[tuple[str | None, ...], list[object]]:
    """Root key -> tags, from the join table's rows in the same copy; nothing for a class without one. Raises Unreadable
    where the copy has no such rows because the class got its tags elsewhere when it was made, and where a row is of none of
    the records by their keys (``own``): it is there for one of them, so that only the database knew which it refers to."""
    if not isinstance(declared.tags, TagTable):
        return {}
    record, found = declared.tags.record, dict[tuple[str | None, ...], list[object]]()
    for file in manifest.files[1:]:
        if same_table(declared.tags.table, file.table):
            rows = rows_of(store, file)
            texts = key_texts(rows, replace(file, key=record))
            for text, row in zip(texts, rows_as_values(rows, file), strict=True):
                found.setdefault(_plain(text, len(record)), []).append(row[declared.tags.tag])
            if not found.keys() <= own:
                raise Unreadable(declared.tags.table)
            return found
    raise Unreadable(declared.tags.table)


def _is_json(root: FileEntry, declared: RecordClass) -> bool:
    if not isinstance(declared.tags, TagColumn):
        return False
    name = declared.tags.column
    return any(entry.name == name and entry.type.lower() in ("json", "jsonb") for entry in root.columns)


def same_table(one: str, other: str) -> bool:
    """Whether two names, with or without schema, may mean one table."""
    return one == other or one.rpartition(".")[2] == other.rpartition(".")[2]
