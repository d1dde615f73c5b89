"""Reading the dependents of a record class, level by level."""

from __future__ import annotations

from collections.abc import Mapping

from retention.policy.dependent import Dependent, Then
from retention.policy.document import Items, Node
from retention.policy.form import Form
from retention.policy.read_where import read_where

_REQUIRED = {"key": "key: and the column, or a list of columns, that refers to the record"}
_OPTIONAL = ("of", "when", "then", "dependents")


def read_dependents(form: Form, node: Node) -> tuple[Dependent, ...]:
    """The dependents of one level, each with those below it. What could not be read is left empty."""
    example = "a block, as in {comments: {key: activity_id}}"
    return tuple(
        _dependent(form, entry, table)
        for table, reference in form.free_block(node, '"dependents"', example).items()
        for entry in _references(form, reference, table)
    )


def _references(form: Form, node: Node, table: str) -> tuple[Node, ...]:
    """The one reference of the table to what is above it, or each of a list of several."""
    if not isinstance(node, Items):
        return (node,)
    if not node.items:
        form.refuse(node.mark, f'the dependent "{table}" is an empty list', "write a block for each of its references")
    return node.items


def _dependent(form: Form, node: Node, table: str) -> Dependent:
    what = f'the dependent "{table}"'
    entries = form.block(node, what, required=_REQUIRED, optional=_OPTIONAL) or {}
    then = _then(form, entries)
    if then is Then.LAST:
        _read_shared(form, entries, node, what)
    if "dependents" in entries and not then.goes:
        form.refuse(
            entries["dependents"].mark,
            f'{what} has dependents of its own, and its rows stay ("then: {then.value}")',
            "leave them out: nothing happens to what refers to rows that stay",
        )
    return Dependent(
        table=table,
        key=form.columns(entries["key"], '"key"') if "key" in entries else (),
        of=form.columns(entries["of"], '"of"') if "of" in entries else None,
        when=read_where(form, entries["when"], f'"when" of {what}', None) if "when" in entries else None,
        then=then,
        dependents=read_dependents(form, entries["dependents"]) if "dependents" in entries else (),
        mark=node.mark,
    )


def _read_shared(form: Form, entries: Mapping[str, Node], node: Node, what: str) -> None:
    """What is said otherwise of rows that several records share."""
    if "of" not in entries:
        form.refuse(
            node.mark,
            f"{what} goes with the last row that refers to it, and nothing says by which column that one does",
            "write `key:` and the column of it that is referred to, `of:` and the column that refers to it",
        )
    if "when" in entries:
        form.refuse(
            entries["when"].mark,
            f'{what} has a "when", and goes with the last row that refers to it, whatever row that is',
            "leave it out",
        )


def _then(form: Form, entries: Mapping[str, Node]) -> Then:
    if "then" not in entries:
        return Then.DELETE
    # after a problem: what keeps the record, whoever would look at it
    return Then(form.choice(entries["then"], '"then"', [one.value for one in Then]) or Then.BLOCK.value)
