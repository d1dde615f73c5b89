"""Reading a record class of retention.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from retention.policy.condition import Condition, Scalar
from retention.policy.document import Block, Node, Value
from retention.policy.form import Form, kind, marks_below
from retention.policy.read_dependents import read_dependents
from retention.policy.read_where import read_where
from retention.policy.record_class import Parent, RecordClass
from retention.policy.tags import TagColumn, TagRules, TagSource, TagTable
from retention.policy.written import Format, Unit

_REQUIRED = {
    "table": "table: and the name of the table",
    "key": "key: and the column, or a list of columns, that is the key",
}
_OPTIONAL = (
    "created",
    "clocks",
    "parents",
    "timezone",
    "unit",
    "format",
    "unset",
    "tags",
    "subjects",
    "columns",
    "dependents",
)
_COLUMN = "the name of a column"
UNITS = ("s", "ms", "us")
FORMATS = ("YYYYMMDD", "YYYYMMDDHHMMSS")


def read_class(form: Form, node: Node, source: str, name: str) -> RecordClass:
    """The class. After a problem what could not be read is left empty: the file is refused, but other files' names are
    still checked against what it declares."""
    entries = form.block(node, f'the class "{source}.{name}"', required=_REQUIRED, optional=_OPTIONAL) or {}
    unit = form.choice(entries["unit"], '"unit"', UNITS) if "unit" in entries else None
    digits = form.choice(entries["format"], '"format"', FORMATS) if "format" in entries else None
    if "unit" in entries and "format" in entries:
        form.refuse(entries["format"].mark, '"format" contradicts "unit"', "keep the one that numbers are written in")
    return RecordClass(
        source=source,
        name=name,
        table=_text(form, entries, "table", "the name of the table") or "",
        key=form.columns(entries["key"], '"key"') if "key" in entries else (),
        created=_text(form, entries, "created", _COLUMN),
        clocks=_clocks(form, entries["clocks"]) if "clocks" in entries else {},
        parents=_parents(form, entries) if "parents" in entries else {},
        timezone=form.zone(entries["timezone"], '"timezone"') if "timezone" in entries else None,
        unit=cast(Unit | None, unit),
        format=cast(Format | None, digits),
        unset=_unset(form, entries) if "unset" in entries else (),
        tags=_tags(form, entries["tags"]) if "tags" in entries else None,
        subjects=_subjects(form, entries["subjects"]) if "subjects" in entries else {},
        columns=form.texts(entries["columns"], '"columns"', "the column", "a list of columns")
        if "columns" in entries
        else None,
        dependents=read_dependents(form, entries["dependents"]) if "dependents" in entries else (),
        mark=node.mark,
        marks=marks_below(node),
    )


def _text(form: Form, entries: Mapping[str, Node], key: str, example: str) -> str | None:
    """The text under ``key``; None where the key is left out, "" after a problem."""
    return (form.text(entries[key], f'"{key}"', example) or "") if key in entries else None


def _unset(form: Form, entries: Mapping[str, Node]) -> tuple[Scalar, ...]:
    """The values that mean "not set"."""
    found: dict[Scalar, None] = {}
    for item in form.items(entries["unset"], '"unset"', 'a list of values, as in [0, "1970-01-01"]'):
        what = 'a value of "unset"'
        if not isinstance(item, Value) or item.value is None or isinstance(item.value, bool):
            form.refuse(item.mark, f"{what} is {kind(item)}", "write a number, a date, a time or text")
            continue
        value = form.text(item, what, "a date, as in 1970-01-01") if isinstance(item.value, str) else item.value
        if value in found:
            form.refuse(item.mark, f"{what}, {item.text}, is given twice", "keep one of them")
        elif isinstance(value, int | float) and not {"unit", "format"} & set(entries):
            remedy = "say `unit:` or `format:`, or take it away"
            form.refuse(item.mark, f"{what} is {kind(item)}, and the class reads no number as a time", remedy)
        elif isinstance(value, datetime) and value.tzinfo is None and "timezone" not in entries:
            form.refuse(item.mark, f"{what} is {kind(item)}, without a zone", "say `timezone:` on the class, as in UTC")
        elif value is not None:
            found[value] = None
    return tuple(found)


def _tags(form: Form, node: Node) -> TagSource:
    entries = node.entries if isinstance(node, Block) else {}
    if "rules" in entries:
        form.block(node, '"tags"', required={"rules": "rules:"})
        return TagRules(rules=_rules(form, entries["rules"]))
    if {"table", "record", "tag"} & set(entries):
        required = {"table": "table: and the join table", "record": "record: and its column, or columns, that refer to the key",
                    "tag": "tag: and its column that holds the tag"}  # fmt: skip
        read = form.block(node, '"tags"', required=required) or {}
        return TagTable(
            table=_text(form, read, "table", "the name of a table") or "",
            record=form.columns(read["record"], '"record"') if "record" in read else (),
            tag=_text(form, read, "tag", _COLUMN) or "",
        )
    example = "column: and the column that holds the tags; or table, record and tag; or rules"
    read = form.block(node, '"tags"', required={"column": example}) or {}
    return TagColumn(column=_text(form, read, "column", _COLUMN) or "")


def _rules(form: Form, node: Node) -> tuple[tuple[str, Condition], ...]:
    rules: list[tuple[str, Condition]] = []
    for tag, entry in form.free_block(node, '"rules"', "a block of tags, as in {sales: {stage: won}}").items():
        if not tag or tag != tag.strip():
            form.refuse(entry.mark, f'the tag "{tag}" is empty or has white space at an end', "write the tag alone")
        condition = read_where(form, entry, f'the rule of "{tag}"', None)
        if condition is not None:
            rules.append((tag, condition))
    return tuple(rules)


def _subjects(form: Form, node: Node) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for name, entry in form.free_block(node, '"subjects"', "a block, as in {customer: account_id}").items():
        form.good_name(name, entry.mark, "the subject")
        subjects[name] = form.text(entry, f'the subject "{name}"', _COLUMN) or ""
    return subjects


def _clocks(form: Form, node: Node) -> dict[str, tuple[str, ...]]:
    clocks: dict[str, tuple[str, ...]] = {}
    example = "a block, as in {last activity: {latest of: [updated_at, closed_at]}}"
    for name, entry in form.free_block(node, '"clocks"', example).items():
        if not name or name != name.strip():
            form.refuse(entry.mark, f'the clock "{name}" is empty or has white space at an end', "write its name alone")
        required = {"latest of": "latest of: and a list of columns"}
        read = form.block(entry, f'the clock "{name}"', required=required) or {}
        if "latest of" in read:
            clocks[name] = form.texts(read["latest of"], '"latest of"', "the column", "a list of columns")
    return clocks


def _parents(form: Form, entries: Mapping[str, Node]) -> dict[str, Parent]:
    parents: dict[str, Parent] = {}
    dependents = entries.get("dependents")
    example = "a block, as in {account: {table: accounts, column: account_id}}"
    for name, entry in form.free_block(entries["parents"], '"parents"', example).items():
        form.good_name(name, entry.mark, "the parent")
        if isinstance(dependents, Block) and name in dependents.entries:
            form.refuse(entry.mark, f'the parent "{name}" bears the name of a dependent', "give it another name")
        required = {"table": "table: and the parent's table", "column": "column: and the column that refers to it"}
        read = form.block(entry, f'the parent "{name}"', required=required, optional=("key",)) or {}
        table, column = (
            _text(form, read, key, what) or "" for key, what in (("table", "a table"), ("column", _COLUMN))
        )
        parents[name] = Parent(table=table, column=column, key=_text(form, read, "key", _COLUMN), mark=entry.mark)
    return parents
