"""Every statement that counts, reads or deletes records, by name. All SQL of the engine is built here and below.

``condition`` is always a whole predicate (`predicate.due`, say); windows of keys narrow it further and never replace it.
No DELETE has a LIMIT: a window's end is looked up first (measured: nine times slower otherwise).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from retention.holds.scope import Key
from retention.policy.dependent import Then
from retention.policy.policy_set import PolicySet
from retention.policy.tags import TagRules
from retention.sources.bound_class import BoundClass
from retention.sources.bound_dependent import (
    BoundDependent,
    Chosen,
    belongs,
    belongs_to_this,
    between,
    blocks,
    goes,
    is_last,
    refers_to,
)
from retention.sources.conditions import condition_sql
from retention.sources.keys import as_text, key_expression, key_literals, key_projection, plain_key, row_value
from retention.sources.predicate import matches
from retention.sources.sql import Bool, all_of, any_of, name, raw, string, temporary
from retention.sources.tags import readable, tag_items

#: makes a statement that yields these columns; see `read.read_rows`
Build = Callable[[Sequence[sa.ColumnElement[Any]]], sa.Executable]

#: the temporary table of the keys of one batch, where the dialect needs one
BATCH_KEYS = "retention_batch_keys"
#: the temporary tables from which records are looked up or restored
KEYS = "retention_keys"
#: the column of KEYS that numbers them, where their order matters
PLACE = "retention_place"
RESTORED = "retention_restored"


def count(bound: BoundClass, condition: Bool) -> sa.Select[Any]:
    """How many records fulfil the condition: one row."""
    return sa.select(sa.func.count()).select_from(bound.rows).where(condition)


def uncovered(bound: BoundClass, policies: PolicySet) -> sa.Select[Any]:
    """How many records no policy matches: one row."""
    covered = any_of(matches(bound, policy, policies.timezone) for policy in policies.of(bound.address))
    return count(bound, sa.not_(covered))


def due_by_tag(
    bound: BoundClass, condition: Bool, policies: PolicySet
) -> sa.Select[Any] | sa.CompoundSelect[Any] | None:
    """(tag, how many records that fulfil the condition carry it); None where the class has no tags."""
    source = bound.record_class.tags
    if source is None:
        return None
    if isinstance(source, TagRules):
        return sa.union_all(
            *(
                sa.select(string(tag).label("tag"), sa.func.count().label("records"))
                .select_from(bound.rows)
                .where(condition, condition_sql(bound, rule, policies.timezone))
                for tag, rule in source.rules
            )
        )
    items, tag, joined = tag_items(bound)
    pairs = (
        sa.select(*key_projection(bound), tag.label("tag_of_record"))
        .select_from(sa.join(bound.rows, items, joined))
        .where(condition, readable(bound))
        .distinct()
        .subquery("tagged")
    )
    counted = pairs.c[len(pairs.c) - 1]
    return sa.select(counted, sa.func.count()).select_from(pairs).group_by(counted).order_by(counted)


def count_dependents(bound: BoundClass, dependent: BoundDependent, condition: Bool) -> sa.Select[Any]:
    """How many rows of the dependent go with the records that fulfil the condition: one row."""
    where = goes(bound, dependent, _fulfilling(bound, condition))
    return sa.select(sa.func.count()).select_from(dependent.rows).where(where)


def count_blocking(bound: BoundClass, dependent: BoundDependent, key: Key) -> sa.Select[Any]:
    """How many rows of the dependent block the record of that key: one row."""
    rows = [dependent.rows, *between(dependent)]
    where = sa.and_(blocks(bound, dependent), is_key(bound, key))
    return sa.select(sa.func.count()).select_from(bound.rows, *rows).where(where)


def covers(bound: BoundClass, condition: Bool, key: Key) -> sa.Select[Any]:
    """One row if the record of that key is there and fulfils the condition."""
    return sa.select(raw("1")).select_from(bound.rows).where(is_key(bound, key), condition)


def window_end(bound: BoundClass, *, after: Key | None, rows: int) -> sa.Select[Any]:
    """The key of the last of the next ``rows`` records beyond ``after``, due or not: no row where fewer are left. The
    key's index alone answers it."""
    return (
        sa.select(*key_projection(bound))
        .select_from(bound.rows)
        .where(in_window(bound, after, None))
        .order_by(*bound.key)
        .limit(1)
        .offset(rows - 1)
    )


def in_window(bound: BoundClass, after: Key | None, until: Key | None) -> Bool:
    """``after < key <= until`` in the database's own order of keys; None is open."""
    key = row_value(list(bound.key))
    parts: list[Bool] = [sa.true()]
    if after is not None:
        limit = key_literals(bound, after)
        if bound.dialect == "mysql" and len(limit) > 1:  # no index serves its row values
            parts += [bound.key[0] >= limit[0], _beyond(bound.key, limit)]
        else:
            parts.append(key > row_value(limit))
    if until is not None:
        parts.append(key <= row_value(key_literals(bound, until)))
    return sa.and_(*parts)


def _beyond(key: Sequence[sa.ColumnElement[Any]], limit: Sequence[sa.ColumnElement[Any]]) -> Bool:
    first = key[0] > limit[0]
    return first if len(key) == 1 else sa.or_(first, sa.and_(key[0] == limit[0], _beyond(key[1:], limit[1:])))


def is_key(bound: BoundClass, key: Key) -> Bool:
    """Whether the record is the one of that key."""
    return sa.and_(*(one == value for one, value in zip(bound.key, key_literals(bound, key), strict=True)))


def select_due(
    bound: BoundClass, condition: Bool, *, after: Key | None, until: Key | None, rows: int | None = None
) -> Build:
    """Reads the records of a window that fulfil the condition, in key order; the first ``rows`` of them if that is given."""
    where = sa.and_(_by_key(bound, condition), in_window(bound, after, until))
    return lambda columns: sa.select(*columns).select_from(bound.rows).where(where).order_by(*bound.key).limit(rows)


def delete_due(bound: BoundClass, condition: Bool, *, after: Key | None, until: Key | None) -> sa.Delete:
    """Deletes the records of a window that fulfil the condition; their dependents are not touched. On MySQL only those noted
    by `batch_keys`, which were read."""
    where = _by_key(bound, condition), in_window(bound, after, until)
    if bound.dialect != "mysql":
        return sa.delete(_table(bound.rows)).where(*where)
    noted = _batch_keys(bound)
    if _reads(condition, _table(bound.rows)):
        judged = sa.select(*bound.key).select_from(bound.rows, noted).where(_is_noted(bound, noted), *where)
        of_its_own = _of_its_own(judged, "judged")
        return sa.delete(_table(bound.rows)).where(
            *(bound.column(one) == of_its_own.c[one] for one in bound.record_class.key)
        )
    # by a join, so that no record but those is looked at, and locked
    return sa.delete(_table(bound.rows)).where(_is_noted(bound, noted), _by_key(bound, condition))


def delete_due_returning(bound: BoundClass, condition: Bool, *, after: Key | None, until: Key | None) -> Build:
    """The same, yielding the deleted rows."""
    deleting = delete_due(bound, condition, after=after, until=until)
    return lambda columns: deleting.returning(*columns)


def select_dependents(
    bound: BoundClass, dependent: BoundDependent, condition: Bool, *, after: Key | None, until: Key | None
) -> Build:
    """Reads what is archived of the dependent with the records of a window that fulfil the condition."""
    chosen = _fulfilling(bound, sa.and_(condition, in_window(bound, after, until)))
    return _select(dependent, _archived(bound, dependent, chosen))


def delete_with_dependents(
    bound: BoundClass, condition: Bool, *, after: Key | None, until: Key | None
) -> sa.Select[Any]:
    """PostgreSQL: deletes the records of a window that fulfil the condition, and their dependents' rows, or detaches them,
    in one statement on one state. One row: how many records, then how many rows of each dependent."""
    needed = [bound.column(one) for one in _referred(bound)]
    records = delete_due(bound, condition, after=after, until=until).returning(*needed).cte("gone")
    gone: dict[BoundDependent | None, sa.CTE] = {None: records}
    for place, dependent in enumerate(bound.changed):
        needed = [dependent.rows.c[one] for one in _referred(bound, dependent)] or [raw("1").label("one")]
        changing = _change(dependent).where(refers_to(bound, dependent, _columns_of(gone[dependent.parent])))
        if dependent.shared:
            changing = changing.where(is_last(bound, dependent, _columns_of(records)))
        gone[dependent] = changing.returning(*needed).cte(f"gone_{place}")
    counts = (sa.select(sa.func.count()).select_from(part).scalar_subquery() for part in gone.values())
    return sa.select(*counts).add_cte(*gone.values())


def batch_keys(bound: BoundClass, condition: Bool, *, after: Key | None, rows: int) -> sa.Select[Any]:
    """SQLite and MySQL, whose DELETE deletes from one table: the keys of the first ``rows`` records beyond ``after`` that
    fulfil the condition, and what else dependents refer to. They are kept as the temporary table BATCH_KEYS
    (`Session.keep_temporary`): what follows looks them up instead of testing every record of the window again."""
    chosen = sa.select(*(bound.column(one).label(name(one)) for one in _referred(bound))).select_from(bound.rows)
    return chosen.where(_by_key(bound, condition), in_window(bound, after, None)).order_by(*bound.key).limit(rows)


def select_batch(bound: BoundClass) -> Build:
    """Reads the records noted by `batch_keys`, in key order; on MySQL as they are now, and locks them."""
    where = row_value(list(bound.key)).in_(_columns_of(_batch_keys(bound))(bound.record_class.key))
    return lambda columns: _locking(
        bound, sa.select(*columns).select_from(bound.rows).where(where).order_by(*bound.key)
    )


def select_batch_dependents(bound: BoundClass, dependent: BoundDependent) -> Build:
    """Reads what is archived of the dependent with the records noted by `batch_keys`; on MySQL as it is now, and locks it. Who
    deletes another of the records that share it, or refers anew to it, waits, or was waited for and is seen by the statements
    that follow."""
    read = _select(dependent, _archived(bound, dependent, _columns_of(_batch_keys(bound))))
    return lambda columns: _locking(bound, read(columns))


def count_batch_dependents(bound: BoundClass, dependent: BoundDependent) -> sa.Select[Any]:
    """How many rows of the dependent go with the records noted by `batch_keys`: one row."""
    where = goes(bound, dependent, _columns_of(_batch_keys(bound)))
    return sa.select(sa.func.count().label("n")).select_from(dependent.rows).where(where)


def _archived(bound: BoundClass, dependent: BoundDependent, chosen: Chosen) -> Bool:
    """What of the dependent is archived with the chosen records: all that belongs to them, so that each can be restored by
    its own copy, which its own holds protect. What is shared may go later, and what is detached is worth a copy when it is."""
    return (goes if dependent.then is Then.DETACH else belongs)(bound, dependent, chosen)


def delete_dependents(bound: BoundClass, dependent: BoundDependent) -> sa.Delete | sa.Update:
    """SQLite and MySQL: deletes, or detaches, the dependent's rows of the records noted by `batch_keys`, and by now
    deleted themselves. What is declared under the dependent goes before it, while it still says to which record that
    belongs."""
    keys = _batch_keys(bound)
    if bound.dialect != "mysql":
        return _change(dependent).where(goes(bound, dependent, _columns_of(keys)))
    # by a join, for it would look the keys up for every row of the table
    changing = _change(dependent).where(belongs_to_this(replace(bound, rows=keys), dependent))
    if dependent.shared:
        return changing.where(is_last(bound, dependent, _columns_of(keys)))
    if dependent.under is None:
        return changing
    shared = dependent.under
    going = sa.select(*shared.refers).select_from(shared.rows).where(goes(bound, shared, _columns_of(keys)))
    of_its_own = _of_its_own(going, "going")
    return changing.where(*(one == other for one, other in zip(shared.refers, of_its_own.c, strict=True)))


def _change(dependent: BoundDependent) -> sa.Delete | sa.Update:
    """What becomes of rows whose record goes; the caller says of which."""
    rows = _table(dependent.rows)
    if dependent.then is Then.DETACH:
        return sa.update(rows).values({column: sa.null() for column in dependent.refers})
    return sa.delete(rows)


def select_by_keys(bound: BoundClass) -> Build:
    """Reads the records whose keys stand in the temporary table KEYS, in key order."""
    where = _among_keys(bound)
    return lambda columns: sa.select(*columns).select_from(bound.rows).where(where).order_by(*bound.key)


def select_dependents_by_keys(bound: BoundClass, dependent: BoundDependent) -> Build:
    """Reads the dependent's rows of the records that are there and whose keys stand in the temporary table KEYS; those that
    others share as well, too."""
    return _select(dependent, belongs(bound, dependent, _fulfilling(bound, _among_keys(bound))))


def present_keys(bound: BoundClass) -> sa.Select[Any]:
    """The keys, of those in the temporary table KEYS, whose records are there."""
    return sa.select(*key_projection(bound)).select_from(bound.rows).where(_among_keys(bound)).order_by(*bound.key)


def keys_as_written(bound: BoundClass) -> sa.Select[Any]:
    """The keys in the temporary table KEYS, in the order of its column PLACE, as the database writes them."""
    keys = temporary(bound.dialect, KEYS, (*bound.record_class.key, PLACE))
    columns = [
        keys.c[one.name]
        if plain_key(one, bound.dialect)
        else as_text(bound, one, key_expression(bound, one, keys.c[one.name])).label(one.name)
        for one in bound.key_columns
    ]
    return sa.select(*columns).select_from(keys).order_by(keys.c[PLACE])


def same_keys(bound: BoundClass, wanted: Sequence[Key]) -> sa.Select[Any]:
    """One row if one of the keys in the temporary table KEYS is to the database the same as a wanted one."""
    keys = temporary(bound.dialect, KEYS, bound.record_class.key)
    columns = [key_expression(bound, one, keys.c[one.name]) for one in bound.key_columns]
    same = (
        all_of(column == value for column, value in zip(columns, key_literals(bound, key), strict=True))
        for key in wanted
    )
    return sa.select(raw("1").label("one")).select_from(keys).where(any_of(same)).limit(1)


def _among_keys(bound: BoundClass) -> Bool:
    keys = temporary(bound.dialect, KEYS, bound.record_class.key)
    columns: list[sa.ColumnElement[Any]] = [key_expression(bound, one, keys.c[one.name]) for one in bound.key_columns]
    return row_value(list(bound.key)).in_(sa.select(*columns).select_from(keys).correlate_except(keys))


def _batch_keys(bound: BoundClass) -> sa.TableClause:
    return temporary(bound.dialect, BATCH_KEYS, _referred(bound))


def _is_noted(bound: BoundClass, keys: sa.TableClause) -> Bool:
    return sa.and_(*(bound.column(one) == keys.c[one] for one in bound.record_class.key))


def _locking(bound: BoundClass, select: sa.Select[Any]) -> sa.Select[Any]:
    return select.with_for_update() if bound.dialect == "mysql" else select


def _of_its_own(select: sa.Select[Any], alias: str) -> sa.Subquery:
    """MySQL reads the table from which a statement deletes in a table of its own alone. The LIMIT, which limits nothing,
    keeps the server from merging that into the statement."""
    return select.limit(2**64 - 1).subquery(alias)


def _reads(condition: Bool, table: sa.TableClause) -> bool:
    """Whether the condition looks into the table under another name (kin of the record, see `predicate.held`)."""
    return any(
        isinstance(one, sa.Alias)
        and isinstance(one.element, sa.TableClause)
        and (one.element.schema, one.element.name) == (table.schema, table.name)
        for one in visitors.iterate(condition)
    )


def _referred(bound: BoundClass, parent: BoundDependent | None = None) -> list[str]:
    """The columns to which dependents refer: of the record, with its key, or of a dependent's rows."""
    key = bound.record_class.key if parent is None else ()
    referring = (one.of for one in bound.declared if one.parent is parent)
    return list(dict.fromkeys(itertools.chain(key, *referring)))


def _fulfilling(bound: BoundClass, condition: Bool) -> Chosen:
    """The records that fulfil the condition."""
    return lambda names: (
        sa.select(*(bound.column(one) for one in names))
        .select_from(bound.rows)
        .where(condition)
        .correlate_except(bound.rows)
    )


def _columns_of(rows: sa.FromClause) -> Chosen:
    """The records of which these rows say what is referred to."""
    return lambda names: sa.select(*(rows.c[one] for one in names)).select_from(rows).correlate_except(rows)


def _select(dependent: BoundDependent, where: Bool) -> Callable[[Sequence[sa.ColumnElement[Any]]], sa.Select[Any]]:
    return lambda columns: sa.select(*columns).select_from(dependent.rows).where(where).order_by(*dependent.refers)


def _table(rows: sa.FromClause) -> sa.TableClause:
    assert isinstance(rows, sa.TableClause), "only the table itself is deleted from, never an alias"
    return rows


def _by_key(bound: BoundClass, condition: Bool) -> Bool:
    """The condition, so that SQLite and MySQL walk the keys from one window to the next. They would take an index on the
    clock, and sort all that has expired anew for each window. A CASE is opaque to their planners, and still stops at the
    first no."""
    return condition if bound.dialect == "postgresql" else sa.case((condition, raw("1")), else_=raw("0")) == raw("1")
