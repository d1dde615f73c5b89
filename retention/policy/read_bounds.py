"""Reading `minimums` and `maximums` of retention.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from retention.policy.document import Node
from retention.policy.form import Form, shown
from retention.policy.policy import LegalBound
from retention.policy.read_tags import read_tags
from retention.policy.read_where import read_where
from retention.policy.record_class import RecordClass
from retention.policy.suggest import nearest

_REQUIRED = {
    "records": "records: SOURCE.CLASS",
    "for": "for: 6 months",
    "mandate": "mandate: and the law or rule that sets the bound",
}


def read_bounds(
    form: Form, node: Node, kind: Literal["minimum", "maximum"], classes: Mapping[str, RecordClass]
) -> tuple[LegalBound, ...]:
    """The bounds of a list; those with a problem are left out."""
    items = form.items(
        node, f'"{kind}s"', f"a list, as in {kind}s: [{{records: crm.activities, for: 6 months, mandate: ...}}]"
    )
    read = [_bound(form, item, kind, classes) for item in items]
    return tuple(bound for bound in read if bound is not None)


def _bound(
    form: Form, node: Node, kind: Literal["minimum", "maximum"], classes: Mapping[str, RecordClass]
) -> LegalBound | None:
    found = len(form.problems)
    entries = form.block(node, f"the {kind}", required=_REQUIRED, optional=("tags", "where")) or {}
    records = form.text(entries["records"], '"records"', "SOURCE.CLASS") if "records" in entries else None
    record_class = classes.get(records) if records is not None else None
    if records is not None and record_class is None:
        form.refuse(entries["records"].mark, f"there is no record class {shown(records)}", nearest(records, classes))
    if record_class is not None and record_class.created is None:
        message = f'a {kind} is counted from "created", but the class "{records}" has none'
        form.refuse(entries["records"].mark, message, "declare created: in the class")
    period = form.period(entries["for"], '"for"') if "for" in entries else None
    mandate = (
        form.text(entries["mandate"], '"mandate"', "the law or rule that sets the bound")
        if "mandate" in entries
        else None
    )
    tags = read_tags(form, entries["tags"]) if "tags" in entries else None
    if tags is not None and record_class is not None and record_class.tags is None:
        form.refuse(entries["tags"].mark, f'the class "{records}" declares no tags', "write where, or declare its tags")
    where = read_where(form, entries["where"], '"where"', None) if "where" in entries else None
    if len(form.problems) > found or records is None or period is None or mandate is None:
        return None
    return LegalBound(
        kind=kind, records=records, tags=tags, where=where, period=period, mandate=mandate, mark=node.mark
    )
