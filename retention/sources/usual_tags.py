"""What stands in the tag column of most records: a handful of texts. What they mean is worked out once, in Python, instead
of by the database for each record; any other text is taken apart as ever."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from retention.policy.evaluate import tags_of
from retention.policy.tags import TagColumn
from retention.sources.sql import raw
from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

#: records to look at, texts to keep, and how long a text may be
_RECORDS, _TEXTS, _CHARACTERS = 10_000, 32, 200


def usual_tags(bound: BoundClass) -> Mapping[str, frozenset[str]]:
    """Text -> its tags, for some JSON texts of the tag column; none for other kinds of tags. Raises SourceFailed."""
    source = bound.record_class.tags
    if not isinstance(source, TagColumn) or bound.described(source.column).kind is Kind.TEXT_ARRAY:
        return {}
    column = bound.text(source.column)
    if bound.dialect == "sqlite":  # in hexadecimal, for it may not be UTF-8
        text = f"CASE WHEN typeof({column}) = 'text' THEN hex({column}) END"
    elif bound.dialect == "mysql":
        text = f"hex(convert({column} USING utf8mb4))"
    else:
        text = f"encode(convert_to({column}::text, 'UTF8'), 'hex')"
    first = sa.select(raw(text).label("tags")).select_from(bound.rows).limit(raw(str(_RECORDS))).subquery()
    session = bound.source.session()
    try:
        session.begin(write=False)
        found = session.rows(sa.select(first.c.tags).distinct().limit(raw(str(_TEXTS))))
    finally:
        session.close()
    known: dict[str, frozenset[str]] = {}
    for (digits,) in found:
        # only what begins as a JSON array: no database takes that for a number when it compares
        with suppress(UnicodeDecodeError):
            written = bytes.fromhex(digits or "").decode()
            tags = tags_of({}, bound.record_class, written, ZoneInfo("UTC"), is_json=True)
            if tags is not None and written.startswith("[") and written.isprintable() and len(written) <= _CHARACTERS:
                known[written] = tags
    return known
