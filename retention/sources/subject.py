"""Whether a record belongs to a data subject, whose name a person typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa

from retention.sources.sql import Bool, raw, string
from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass


def is_subject(bound: BoundClass, column: str, value: str) -> Bool:
    """Whether the column says ``value``: the same text, or the same whole number however it is written (42, 042).

    Fails closed: where in doubt (letter case of identifiers such as UUIDs), the record belongs to the subject.
    """
    expression = bound.column(column)
    text = sa.cast(expression, sa.Text())
    same: Bool = sa.or_(text == string(value), sa.func.lower(text) == string(value.strip().lower()))
    if re.fullmatch(r"\s*[0-9]{1,18}\s*", value) and bound.described(column).kind in (Kind.INTEGER, Kind.NUMBER):
        same = sa.or_(same, expression == raw(str(int(value))))
    return sa.and_(expression.is_not(None), same)
