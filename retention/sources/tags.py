"""Tags in SQL: which a record carries, and whether they can be read; the same as `policy/evaluate.py` says of the values.

Nothing here raises on what stands in a column: text that begins like JSON is tested before it is parsed, and a record
whose tags cannot be read is never due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.tags import TagColumn, TagMatch, TagRules, TagTable
from retention.sources import mariadb_tags
from retention.sources.bound_dependent import belongs_to_this
from retention.sources.conditions import condition_sql
from retention.sources.mariadb_types import text_of
from retention.sources.sql import Bool, all_of, any_of, raw, string
from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

_SPACE = "char(32, 9, 13, 10)"
_PG_SPACE = r"E' \t\r\n'"
#: A JSON array of texts and nulls, in full: PostgreSQL 15 has no other way to ask before it casts. Escapes that
#: PostgreSQL cannot turn into text (NUL, half a surrogate pair) do not count as readable.
_JSON_TEXT = (
    r'"(?:[^"\\\u0001-\u001f]|\\["\\/bfnrt]|\\u(?!0000)(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})'
    r'|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"'
)
_JSON_ITEM = rf"(?:{_JSON_TEXT}|null)"
_JSON_LIST = rf"^[ \t\r\n]*\[[ \t\r\n]*(?:{_JSON_ITEM}[ \t\r\n]*(?:,[ \t\r\n]*{_JSON_ITEM}[ \t\r\n]*)*)?\][ \t\r\n]*$"


def tags_match_sql(bound: BoundClass, match: TagMatch, zone: ZoneInfo) -> Bool:
    """Whether the record's tags are what is asked for; tags that cannot be read match nothing."""
    parts = [carries(bound, tag, zone) for tag in match.all]
    if match.any:
        parts.append(any_of(carries(bound, tag, zone) for tag in match.any))
    if not parts:  # who carries a tag has tags that can be read
        parts.append(readable(bound))
    parts += [sa.not_(carries(bound, tag, zone)) for tag in match.none]
    return all_of(parts)


def carries(bound: BoundClass, tag: str, zone: ZoneInfo) -> Bool:
    """Whether the record carries the tag; false where its tags cannot be read."""
    match bound.record_class.tags:
        case None:
            return sa.false()
        case TagRules(rules=rules):
            return any_of(condition_sql(bound, rule, zone) for name, rule in rules if name == tag)
        case TagTable(tag=column):
            join = bound.tag_table
            assert join is not None, "binding gives every tag table its rows"
            value = _compared(bound, join.rows.c[column])
            there = (
                sa.exists(raw("1"))
                .select_from(join.rows)
                .where(belongs_to_this(bound, join), value == string(tag))
                .correlate_except(join.rows)
            )
            return sa.and_(there, readable(bound))
        case TagColumn(column=column):
            told = _CARRIES[bound.dialect](bound, column, tag)
            return raw(_usually(bound, column, lambda tags: tag in tags, told))


def readable(bound: BoundClass) -> Bool:
    """Whether the record's tags can be read: none at all can, malformed JSON and JSON that is no list of texts cannot."""
    match bound.record_class.tags:
        case None | TagRules():
            return sa.true()
        case TagTable(tag=column):
            join = bound.tag_table
            assert join is not None, "binding gives every tag table its rows"
            if bound.dialect != "sqlite":  # binding made sure that the column is text
                return sa.true()
            odd = sa.func.typeof(join.rows.c[column]).not_in([string("text"), string("null")])
            return sa.not_(
                sa.exists(raw("1"))
                .select_from(join.rows)
                .where(belongs_to_this(bound, join), odd)
                .correlate_except(join.rows)
            )
        case TagColumn(column=column):
            return raw(_usually(bound, column, lambda tags: True, _READABLE[bound.dialect](bound, column)))


def tag_items(bound: BoundClass) -> tuple[sa.FromClause, sa.ColumnElement[Any], Bool]:
    """For a class whose tags stand in a column or table: what to join, the tag in it, and the join's condition.

    A tag may come twice for one record: count records, not rows. (On MySQL, whose tags in columns the census counts, of
    join tables alone.)
    """
    source = bound.record_class.tags
    if isinstance(source, TagTable):
        join = bound.tag_table
        assert join is not None, "binding gives every tag table its rows"
        return (
            join.rows,
            join.rows.c[source.tag],
            sa.and_(belongs_to_this(bound, join), join.rows.c[source.tag].is_not(None)),
        )
    assert isinstance(source, TagColumn) and bound.dialect != "mysql", "rules are counted one by one"
    if bound.dialect == "sqlite":
        items = sa.func.json_each(raw(_sqlite_list(bound, source.column))).table_valued("value", "type", name="item")
        tag = raw(_sqlite_item(bound, source.column, "item.value"))
        return (
            items,
            tag,
            sa.and_(items.c.type == string("text"), sa.or_(raw(_sqlite_json(bound, source.column)), tag != string(""))),
        )
    items = (
        sa.func.unnest(raw(_postgresql_list(bound, source.column))).table_valued("tag", name="item").render_derived()
    )
    return items, items.c.tag, items.c.tag.is_not(None)


def _usually(bound: BoundClass, column: str, says: Callable[[frozenset[str]], bool], exact: str) -> str:
    """``exact``, but what ``says`` tells of the texts whose tags are known: a comparison instead of taking them apart."""
    c, (yes, no) = bound.text(column), ("1", "0") if bound.dialect == "sqlite" else ("true", "false")
    compared = {"sqlite": f"{c} COLLATE BINARY", "postgresql": f'{c}::text COLLATE "C"'}.get(bound.dialect)
    compared = mariadb_tags.compared(bound, column) if compared is None else compared
    branches = ""
    for answer, truth in ((yes, True), (no, False)):
        texts = [bound.source.text(text) for text, tags in bound.usual_tags.items() if says(tags) is truth]
        if texts:
            branches += f" WHEN {compared} IN ({', '.join(texts)}) THEN {answer}"
    return f"(CASE{branches} ELSE {exact} END)" if branches else exact


def _compared(bound: BoundClass, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if bound.dialect == "sqlite":
        return column.collate("BINARY")
    if bound.dialect == "mysql":
        return text_of(column)
    return sa.cast(column, sa.Text()).collate("C")


def _sqlite_trimmed(bound: BoundClass, column: str) -> str:
    return f"trim({bound.text(column)}, {_SPACE})"


def _sqlite_json(bound: BoundClass, column: str) -> str:
    """Whether the text is JSON: by the column's type, or by how it begins."""
    if bound.described(column).kind is Kind.JSON:
        return "1"
    return f"(substr({_sqlite_trimmed(bound, column)}, 1, 1) IN ('[', '{{', '\"'))"


def _sqlite_list(bound: BoundClass, column: str) -> str:
    """The tags as a JSON array, readable or not. Within JSON text a comma stands for itself, so a list of parts is made
    by replacing commas."""
    c, t = bound.text(column), _sqlite_trimmed(bound, column)
    return (
        f"(CASE WHEN typeof({c}) <> 'text' THEN '[]'"
        f" WHEN {_sqlite_json(bound, column)} THEN CASE WHEN json_valid({t}) AND json_type({t}) = 'array' THEN {t} ELSE '[]' END"
        f" ELSE '[' || replace(json_quote({c}), ',', '\",\"') || ']' END)"
    )


def _sqlite_item(bound: BoundClass, column: str, value: str) -> str:
    return f"(CASE WHEN {_sqlite_json(bound, column)} THEN {value} ELSE trim({value}, {_SPACE}) END)"


def _sqlite_flat(bound: BoundClass, column: str) -> str:
    """Whether the tags are as applications write them: valid JSON, an array of nothing but texts, without an escape, with
    a comma or a comma and a space between. Told without taking the array apart."""
    c = bound.text(column)
    joined = f"replace(replace({c}, '\", \"', ''), '\",\"', '')"
    return (
        f"(typeof({c}) = 'text' AND {c} GLOB '[[]\"*\"]' AND instr({c}, '\\') = 0"
        f" AND instr(substr({joined}, 3, length({joined}) - 4), '\"') = 0 AND json_valid({c}))"
    )


def _sqlite_carries(bound: BoundClass, column: str, tag: str) -> str:
    c, literal = bound.text(column), bound.source.text(tag)
    exact = (
        f"({_sqlite_readable(bound, column)} AND EXISTS (SELECT 1 FROM json_each({_sqlite_list(bound, column)}) AS item"
        f" WHERE item.type = 'text' AND {_sqlite_item(bound, column, 'item.value')} = {literal}))"
    )
    if not {'"', "\\"} & set(tag) and tag not in (",", ", "):  # what stands between two tags of a flat array
        quoted = bound.source.text(f'"{tag}"')
        exact = f"CASE WHEN {_sqlite_flat(bound, column)} THEN instr({c}, {quoted}) > 0 ELSE {exact} END"
    # most rows are told without parsing: JSON writes a tag as it is, or with a backslash somewhere
    return f"(coalesce(instr({c}, {literal}) > 0 OR instr({c}, '\\') > 0, 0) AND {exact})"


def _sqlite_readable(bound: BoundClass, column: str) -> str:
    t = _sqlite_trimmed(bound, column)
    return (
        f"(CASE typeof({bound.text(column)}) WHEN 'null' THEN 1 WHEN 'text' THEN CASE"
        f" WHEN {_sqlite_flat(bound, column)} THEN 1 WHEN NOT {_sqlite_json(bound, column)} THEN 1"
        f" WHEN NOT json_valid({t}) THEN 0 WHEN json_type({t}) = 'null' THEN 1 WHEN json_type({t}) <> 'array' THEN 0"
        f" ELSE NOT EXISTS (SELECT 1 FROM json_each({t}) AS item WHERE item.type NOT IN ('text', 'null')) END ELSE 0 END)"
    )


def _postgresql_readable(bound: BoundClass, column: str) -> str:
    c = bound.text(column)
    match bound.described(column).kind:
        case Kind.TEXT_ARRAY:
            return f"(coalesce(array_ndims({c}), 1) = 1)"
        case Kind.JSON:
            null = rf"{c}::text ~ '^[ \t\r\n]*null[ \t\r\n]*$'"
            return f"(CASE WHEN {c} IS NULL OR {null} THEN true ELSE {c}::text ~ '{_JSON_LIST}' END)"
        case _:
            plain = f"{c} IS NULL OR NOT {_postgresql_json(bound, column)}"
            return f"(CASE WHEN {plain} THEN true ELSE {c}::text ~ '{_JSON_LIST}' END)"


def _postgresql_json(bound: BoundClass, column: str) -> str:
    if bound.described(column).kind is Kind.JSON:
        return "true"
    return f"(left(btrim({bound.text(column)}::text, {_PG_SPACE}), 1) IN ('[', '{{', '\"'))"


def _postgresql_list(bound: BoundClass, column: str) -> str:
    """The tags as text[], empty where they cannot be read."""
    c = bound.text(column)
    if bound.described(column).kind is Kind.TEXT_ARRAY:
        return f"(CASE WHEN {_postgresql_readable(bound, column)} THEN {c}::text[] END)"
    return (
        f"(CASE WHEN {c} IS NULL THEN '{{}}'::text[] WHEN NOT {_postgresql_json(bound, column)} THEN array_remove("
        rf"regexp_split_to_array(btrim({c}::text, {_PG_SPACE}), '[ \t\r\n]*,[ \t\r\n]*'), '')"
        f" WHEN {c}::text ~ '{_JSON_LIST}' THEN ARRAY(SELECT jsonb_array_elements_text({c}::jsonb)) ELSE '{{}}'::text[] END)"
    )


def _postgresql_carries(bound: BoundClass, column: str, tag: str) -> str:
    return f'coalesce({bound.source.text(tag)} COLLATE "C" = ANY ({_postgresql_list(bound, column)}), false)'


_CARRIES = {"sqlite": _sqlite_carries, "postgresql": _postgresql_carries, "mysql": mariadb_tags.carries}
_READABLE = {"sqlite": _sqlite_readable, "postgresql": _postgresql_readable, "mysql": mariadb_tags.readable}
