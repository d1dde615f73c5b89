"""Bringing archived records back: under a hold first, then inserted, read back and compared, then committed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from retention.archive.find import rows_of, select
from retention.archive.manifest import FileEntry, Manifest
from retention.archive.verify import verify_batch
from retention.disposition import holding
from retention.disposition.archived import expected, read_manifest
from retention.disposition.archived_values import key_texts, loosely
from retention.disposition.put_back import Returned, absent, close_circles, compare, insert
from retention.errors import EvidenceBroken, Failed, InputError, NotFound
from retention.failpoint import failpoint
from retention.holds.scope import Keys
from retention.ledger import batches, chain, runs
from retention.ledger.batches import Batch
from retention.policy.dependent import Then
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import BoundDependent
from retention.sources.keys import key_from_text, key_text
from retention.sources.order import closings, put_back_order
from retention.sources.presence import as_written, load_keys
from retention.sources.restored import refer_restored
from retention.sources.rights import Need, refuse_without

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.sources.source import Session


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Records of one batch: positions of root rows in its file."""

    batch: Batch
    manifest: Manifest
    rows: pa.Table


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is to be restored, by batch."""

    batches: tuple[Chosen, ...]

    @property
    def count(self) -> int:
        """Records."""
        return sum(int(chosen.rows.num_rows) for chosen in self.batches)

    @property
    def classes(self) -> list[str]:
        """Their classes."""
        return sorted({chosen.batch.records for chosen in self.batches})


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came back to one class. ``already_there`` records were left exactly as they are."""

    records: str
    #: the hold that keeps the next run from taking them again; None where nothing was restored
    hold: str | None
    restored: int
    dependent_rows: int
    already_there: int
    #: archived columns that today's table does not have: their values stay in the archive alone
    unplaced: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The fields as `archive restore --json` prints them."""
        return asdict(self)


def choose(
    engine: Engine, *, run: str | None, keys: Sequence[str], where: Sequence[str], address: str | None
) -> Choice:
    """Find the archived records that are meant. Raises InputError where the words are off, NotFound where nothing fits.

    Each file that is read is verified against manifest, control database and Merkle root first (EvidenceBroken).
    """
    if sum((run is not None, bool(keys), bool(where))) != 1:
        raise InputError("which records?", hint="say exactly one of --run, --key and --where")
    classes = engine.project.config.classes
    if run is None and address is None:
        if len(classes) != 1:
            raise InputError("of which class?", hint=f"add --class with one of: {', '.join(classes)}")
        address = next(iter(classes))
    wanted = dict(_equation(text) for text in where)
    with engine.control.read() as connection:
        if run is not None:
            runs.get(connection, run)
        found = batches.committed(connection, records=address, run=run, not_destroyed=True)
    chosen: list[Chosen] = []
    unknown: NotFound | None = None
    seen: dict[str, set[str]] = {}
    for batch in reversed(found):  # the newest copy of a record that was restored and deleted again
        if batch.archive is None:
            continue
        try:
            one = _choose_from(engine, batch, keys, wanted, seen.setdefault(batch.records, set()))
        except NotFound as error:  # this file has no such column: the table got it later, or there is none
            unknown = error
            continue
        if one is not None:
            chosen.append(one)
    if not chosen and unknown is not None:
        raise unknown
    if not chosen:
        raise NotFound("no archived record is what was asked for", hint="`retention archive list` shows what there is")
    return Choice(batches=tuple(reversed(chosen)))


def restore(engine: Engine, choice: Choice, *, reason: str) -> list[Restored]:
    """Restore what was chosen, one transaction a batch. Records whose key exists are left alone and counted.

    The hold is in force before the first row is inserted, so no run can take a restored record again. Raises Failed
    where what was inserted reads back differently (that batch is rolled back), SourceFailed and what holding raises.
    """
    if not reason.strip():
        raise InputError("a restore needs a reason", hint="say --reason in words")
    results = []
    for address in choice.classes:
        chosen = [one for one in choice.batches if one.batch.records == address]
        results.append(_restore_class(engine, engine.bound(address), chosen, reason))
    return results


def _restore_class(engine: Engine, bound: BoundClass, chosen: list[Chosen], reason: str) -> Restored:
    missing = [(one, _absent(bound, one)) for one in chosen]
    keys = [text for one, rows in missing for text in key_texts(rows, one.manifest.files[0])]
    total = Restored(
        records=bound.address,
        hold=None,
        restored=0,
        dependent_rows=0,
        already_there=sum(int(one.rows.num_rows) for one in chosen) - len(keys),
        unplaced=(),
    )
    if not keys:
        return total
    refuse_without(bound.source, bound.leaving, Need.INSERT)
    if closing := {one.table.name: one.table for one in closings(bound)}:
        refuse_without(bound.source, list(closing.values()), Need.UPDATE)
    placed = holding.place(
        engine,
        matter="restored records",
        reason=reason,
        scope=Keys(records=bound.address, count=len(set(keys))),
        keys=keys,
    )
    if placed.unconfirmed:
        raise Failed(f"the hold for the restored records is not in force: {placed.unconfirmed}", hint="try again later")
    total = replace(total, hold=placed.hold.id)
    for one, rows in reversed(missing):  # what went last first: records that went before may refer to it
        if rows.num_rows:
            dependent_rows, unplaced = _restore_batch(engine, bound, one, rows, placed.hold.id, reason)
            total = replace(
                total,
                restored=total.restored + int(rows.num_rows),
                dependent_rows=total.dependent_rows + dependent_rows,
                unplaced=tuple(sorted({*total.unplaced, *unplaced})),
            )
    return total


def _equation(text: str) -> tuple[str, object]:
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise InputError(f"--where {text!r} compares nothing", hint="write it as status=closed")
    return column.strip(), value


def _choose_from(
    engine: Engine, batch: Batch, keys: Sequence[str], wanted: dict[str, object], seen: set[str]
) -> Chosen | None:
    """The chosen rows of one batch, after its files were verified; without those whose keys are in ``seen``, to which
    their keys are added."""
    assert batch.archive is not None
    store = engine.store(batch.archive)
    manifest = read_manifest(store, batch)
    root = manifest.files[0]
    rows = _with_keys(engine, batch, rows_of(store, root), root, keys) if keys else select(store, manifest, wanted)
    texts = key_texts(rows, root)
    rows = rows.filter(pa.array([text not in seen for text in texts], pa.bool_()))
    seen.update(texts)
    if rows.num_rows == 0:
        return None
    with engine.control.read() as connection:
        findings = verify_batch(store, expected(connection, batch))
    if findings:
        raise EvidenceBroken(
            f"batch {batch.id} cannot be restored: {findings[0]}", hint="`retention archive verify` names everything"
        )
    return Chosen(batch=batch, manifest=manifest, rows=rows)


def _with_keys(engine: Engine, batch: Batch, rows: pa.Table, root: FileEntry, keys: Sequence[str]) -> pa.Table:
    bound = engine.bound(batch.records)
    wanted = {key_text(key) for key in as_written(bound, [key_from_text(bound, text) for text in keys])}
    return rows.filter(pa.array([text in wanted for text in key_texts(rows, root)], pa.bool_()))


def _absent(bound: BoundClass, chosen: Chosen) -> pa.Table:
    """The chosen rows whose keys are not in the source now."""
    root = chosen.manifest.files[0]
    texts = key_texts(chosen.rows, root)
    session = bound.source.session()
    try:
        session.begin(write=False)
        load_keys(session, bound, [key_from_text(bound, text) for text in texts])
        there = {key_text(tuple(row)) for row in session.rows(statements.present_keys(bound))}
    finally:
        session.close()
    return chosen.rows.filter(pa.array([text not in there for text in texts], pa.bool_()))


def _restore_batch(
    engine: Engine, bound: BoundClass, chosen: Chosen, rows: pa.Table, hold_id: str, reason: str
) -> tuple[int, set[str]]:
    """Insert one batch's rows in one transaction; returns the dependents' rows and the columns without a place."""
    root, *others = chosen.manifest.files
    store = engine.store(chosen.manifest.archive)
    texts = key_texts(rows, root)
    dependent_rows = attached = 0
    session = bound.source.session()
    try:
        session.begin(write=True)
        load_keys(session, bound, [key_from_text(bound, text) for text in texts])
        came: dict[BoundDependent | None, tuple[FileEntry, pa.Table, pa.Table]] = {
            None: (root, rows, rows if rows.num_rows == root.rows else rows_of(store, root))
        }
        for dependent, file in _in_order(bound, others):
            archived = rows_of(store, file)
            mine = _of_rows(bound, archived, file, dependent, came.get(dependent.parent))
            if mine.num_rows < archived.num_rows and rows.num_rows == root.rows and dependent.under is None:
                raise _declared_otherwise(bound, file.table)
            if dependent.shared:
                mine = absent(session, bound, dependent, file, mine)
            came[dependent] = file, mine, archived
        back: list[Returned] = []
        for part in put_back_order(bound):
            if part not in came or came[part][1].num_rows == 0:
                continue
            file, mine, _ = came[part]
            table = bound.table if part is None else part.table
            build = (
                statements.select_by_keys(bound) if part is None else statements.select_dependents_by_keys(bound, part)
            )
            back.append(Returned(table=table, file=file, rows=mine, build=build))
            insert(session, bound, back[-1])
            dependent_rows += 0 if part is None else int(mine.num_rows)
        for part, (file, mine, _) in came.items():
            if part is not None and file.detached and mine.num_rows:
                attached += _attach(session, bound, part, file, mine)
        close_circles(session, bound, back)
        for one in back:  # last, so that what a trigger did to it when other rows came is seen as well
            compare(session, bound, one, back)
        failpoint("restore.before-commit")
        session.commit()
        failpoint("restore.after-commit")
    finally:
        session.close()
    with engine.control.write() as connection:
        body = {
            "batch": chosen.batch.id,
            "records": bound.address,
            "rows": int(rows.num_rows),
            "dependent_rows": dependent_rows,
            **({"attached": attached} if attached else {}),
            "hold": hold_id,
            "by": engine.person,
            "reason": reason,
        }
        chain.append(connection, kind="archive.restored", subject=chosen.batch.id, body=body, at=engine.now())
    return dependent_rows, {name for one in back for name in one.unplaced}


def _attach(session: Session, bound: BoundClass, dependent: BoundDependent, file: FileEntry, rows: pa.Table) -> int:
    """Let the detached rows that are still there and refer to nothing refer to their record again; returns how many."""
    session.load_temporary(statements.RESTORED, rows)
    table = dependent.table
    return session.execute(refer_restored(bound, table, table.primary_key, dependent.key, file.columns))


def _in_order(bound: BoundClass, files: Sequence[FileEntry]) -> list[tuple[BoundDependent, FileEntry]]:
    """The files of dependents, each after those whose rows its own refer to."""
    by_table = {file.table: file for file in files}
    ordered = [(one, by_table.pop(one.table.name)) for one in bound.changed if one.table.name in by_table]
    by_table.update((file.table, file) for one, file in ordered if file.detached != (one.then is Then.DETACH))
    for table in by_table:
        raise _declared_otherwise(bound, table)
    return ordered


def _declared_otherwise(bound: BoundClass, table: str) -> Failed:
    """Its archived rows have no place under today's declaration."""
    return Failed(
        f"{table} is no dependent of {bound.address} any more, or refers to it otherwise",
        hint="declare it under `dependents:` as it was when it was archived; nothing of this batch was restored",
    )


def _of_rows(
    bound: BoundClass,
    rows: pa.Table,
    file: FileEntry,
    dependent: BoundDependent,
    above: tuple[FileEntry, pa.Table, pa.Table] | None,
) -> pa.Table:
    """The dependent's rows that refer to those rows ``above``, of the records or of the dependent's parent, that come back
    (all that were archived beside them); none where that has no file. Raises Failed for a row of none of them: it was
    archived with one of them, and would be lost in silence."""
    if above is None:
        return rows.slice(0, 0)
    parent, came, archived = above
    there = set(_spelled(came, replace(parent, key=dependent.of)))
    every = set(_spelled(archived, replace(parent, key=dependent.of)))
    by_sense: dict[tuple[str | None, ...], set[tuple[str | None, ...]]] = {}
    for one in every:
        by_sense.setdefault(loosely(one), set()).add(one)
    mine: list[bool] = []
    for one in _spelled(rows, replace(file, key=dependent.key)):
        # by another spelling, as a collation may allow, it refers to the one that means the same
        meant = by_sense.get(loosely(one), set()) if dependent.shared or one not in every else {one}
        if not meant or (len(meant) > 1 and not dependent.shared):
            raise _declared_otherwise(bound, file.table)
        # what is shared comes with any that refers to it, in whatever spelling
        mine.append(not meant.isdisjoint(there))
    return rows.filter(pa.array(mine, pa.bool_()))


def _spelled(rows: pa.Table, file: FileEntry) -> list[tuple[str | None, ...]]:
    """What stands in the columns of the file's key, a number as the text that may refer to it writes it."""
    parts = ([text] if len(file.key) == 1 else json.loads(text) for text in key_texts(rows, file))
    return [tuple(part if part is None else str(part) for part in one) for one in parts]
