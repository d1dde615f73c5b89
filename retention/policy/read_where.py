"""Reading `where`: blocks of ``column: value`` and ``column: {comparison: value}``, joined by `any` and `none`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date

from retention.errors import InputError
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, Scalar
from retention.policy.document import Block, Items, Node, Value, parse_document, scalar
from retention.policy.form import Form, kind, shown
from retention.policy.mark import Mark
from retention.policy.suggest import nearest

_GROUPS: dict[str, Callable[..., Condition]] = {"any": AnyOf, "none": NoneOf}
_LISTS = (Operator.IN, Operator.NOT_IN)
_NUMBERS = (Operator.BELOW, Operator.ABOVE, Operator.AT_LEAST, Operator.AT_MOST)
_TIMES = (Operator.BEFORE, Operator.AFTER)
_TEXTS = (Operator.CONTAINS, Operator.STARTS_WITH)
_EXAMPLE = "as in {status: closed}"
_ASSIGNMENT = re.compile(r"\s*([^\W\d][\w ]*?)\s*=\s*(.*?)\s*", re.DOTALL)


def read_where(form: Form, node: Node, what: str, columns: Collection[str] | None) -> Condition | None:
    """The condition of a `where` block; None after a problem. ``columns`` are those that may be named; None is all."""
    found = len(form.problems)
    condition = _Reader(form=form, what=what, columns=columns).block(node)
    return condition if len(form.problems) == found else None


def parse_where(text: str) -> Condition:
    """The condition of ``column=value``, or of a `where` block as a policy would say it (``{amount: {above: 100}}``).

    The value is read as in YAML: ``customer=42`` is a number, ``customer="42"`` text, ``customer=null`` null. Times
    without an offset stand in the policies' time zone. Raises InputError.
    """
    form = Form()
    node = _node(form, text)
    condition = None if node is None else read_where(form, node, "the condition", None)
    if condition is None or form.problems:
        first = form.problems[0]
        raise InputError(f"{shown(text)} is not a condition: {first.message}", hint=first.remedy)
    return condition


def _node(form: Form, text: str) -> Node | None:
    mark = Mark(file="--where")
    assignment = _ASSIGNMENT.fullmatch(text)
    if assignment is None:
        node, problems = parse_document(text.encode(errors="replace"), mark.file)
        form.problems.extend(problems)
        if isinstance(node, Value):
            form.refuse(mark, f"it is {kind(node)}", "write status=closed, or a block, as in '{amount: {at least: 5}}'")
        return node
    column, value = assignment.groups()
    meant: Node | None = Value(mark=mark, text=value, value=scalar(value))
    if value.startswith(("'", '"')):
        meant, problems = parse_document(value.encode(errors="replace"), mark.file)
        form.problems.extend(problems)
    elif value.startswith("="):
        form.refuse(mark, f"two = follow {column}", f"write {column}={value.lstrip('= ')}")
    elif value.startswith(("[", "{")):
        form.refuse(mark, f"a list or block follows {column}=", f"write it as a block: '{{{column}: {value}}}'")
    return None if meant is None else Block(mark=mark, entries={column: meant}, keys={column: mark})


@dataclass(frozen=True, kw_only=True)
class _Reader:
    form: Form
    what: str
    columns: Collection[str] | None

    def block(self, node: Node) -> Condition | None:
        if not isinstance(node, Block):
            self.form.refuse(node.mark, f"{self.what} is {kind(node)}", f"write a block of columns, {_EXAMPLE}")
            return None
        if not node.entries:
            self.form.refuse(node.mark, f"{self.what} is an empty block", f"write a column and its value, {_EXAMPLE}")
            return None
        parts: list[Condition] = []
        for key, entry in node.entries.items():
            if key in _GROUPS:
                parts.extend(self._group(key, entry))
            elif self._offered(key, node.keys[key]):
                parts.extend(self._column(key, node.keys[key], entry))
        return _all(parts)

    def _group(self, key: str, node: Node) -> list[Condition]:
        blocks = self.form.items(
            node, f'"{key}" in {self.what}', f"a list of blocks, as in {key}: [{{status: closed}}]"
        )
        parts = [self.block(block) for block in blocks]
        return [_GROUPS[key](parts=tuple(part for part in parts if part is not None))]

    def _offered(self, column: str, mark: Mark) -> bool:
        if self.columns is None and column.strip():
            return True
        if self.columns is not None and column in self.columns:
            return True
        self.form.refuse(mark, f"the class offers no column {shown(column)}", nearest(column, self.columns or ()))
        return False

    def _column(self, column: str, mark: Mark, node: Node) -> list[Condition]:
        if isinstance(node, Value):
            return self._compare(column, Operator.IS, mark, node)
        if isinstance(node, Items):
            return self._compare(column, Operator.IN, mark, node)
        if not node.entries:
            self.form.refuse(node.mark, f'"{column}" has an empty block', "write a comparison, as in {above: 100}")
        found: list[Condition] = []
        words = {operator.value: operator for operator in Operator}
        for word, entry in node.entries.items():
            if word in words:
                found.extend(self._compare(column, words[word], mark, entry))
            else:
                self.form.refuse(node.keys[word], f"{shown(word)} is not a comparison", nearest(word, words))
        return found

    def _compare(self, column: str, operator: Operator, mark: Mark, node: Node) -> list[Condition]:
        what = f'"{column}"' if operator in (Operator.IS, Operator.IN) else f'"{column}: {operator.value}"'
        if operator in _LISTS:
            values = self._values(node, what, operator)
            return [Compare(column=column, operator=operator, value=values, mark=mark)]
        if not isinstance(node, Value) or node.left_out:
            self.form.refuse(node.mark, f"{what} is {kind(node)}", _one_value(node, operator))
            return []
        remedy = _wrong(operator, node)
        if remedy is not None:
            self.form.refuse(node.mark, f"{what} is {kind(node)}", remedy)
        return [Compare(column=column, operator=operator, value=node.value, mark=mark)]

    def _values(self, node: Node, what: str, operator: Operator) -> tuple[Scalar, ...]:
        values: list[Scalar] = []
        kinds: set[str] = set()
        for item in self.form.items(node, what, "a list of values, as in [closed, lost]"):
            if not isinstance(item, Value) or item.left_out:
                self.form.refuse(item.mark, f"a value in {what} is {kind(item)}", "write one value")
                continue
            values.append(item.value)
            if item.value is not None:
                kinds.add(_kind_of(item.value))
                if len(kinds) == 2:
                    self.form.refuse(
                        item.mark, f"{what} mixes values of different kinds: {kind(item)}", "write values of one kind"
                    )
        return tuple(values)


def _all(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else AllOf(parts=tuple(parts))


def _kind_of(value: Scalar) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "number" if isinstance(value, int | float) else "time" if isinstance(value, date) else "text"


def _one_value(node: Node, operator: Operator) -> str:
    if isinstance(node, Value):
        return "write the value; null if none is meant"
    other = {Operator.IS: Operator.IN, Operator.NOT: Operator.NOT_IN}.get(operator)
    return f'write one value, or "{other.value}" for a list' if other and isinstance(node, Items) else "write one value"


def _wrong(operator: Operator, node: Value) -> str | None:
    """What to write instead, where the value is of a kind that the comparison does not take."""
    value = node.value
    if operator in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        return 'write a number; for dates and times there are "before" and "after"'
    if operator in _TIMES and not isinstance(value, date):
        return "write a date or a time, as in 2026-01-31 or 2026-01-31T09:00:00+08:00, without quotes"
    if operator in _TEXTS and (not isinstance(value, str) or not value):
        return "write text; in quotes where it looks like something else"
    return None
