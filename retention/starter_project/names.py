"""What the names of tables and columns usually mean. A name only ever proposes; people decide."""

from __future__ import annotations

import re
from collections.abc import Iterable

from retention.sources.table import Column, Kind

#: last words of the names of tables that record what happened, one row each time
_LOG_WORDS = frozenset(
    (
        *("activities", "activity", "audit", "audits", "call", "calls", "chats", "deliveries", "emails", "entries"),
        *("event", "events", "histories", "history", "interactions", "journal", "log", "logbook", "logins", "logs"),
        *("mails", "messages", "notes", "notifications", "operations", "records", "requests", "sessions", "tickets"),
        *("traces", "trail", "transactions", "views", "visits"),
    )
)

#: names of the column that says when a record came into being, the likeliest first
_CREATED = (
    *("created_at", "created_on", "created", "creation_date", "creation_time", "created_date", "created_time"),
    *("date_created", "date_entered", "inserted_at", "occurred_at", "happened_at", "logged_at", "recorded_at"),
    *("event_time", "event_date", "entry_date", "log_time", "log_date", "received_at", "sent_at", "started_at"),
    *("timestamp", "time", "date", "ts"),
)

#: words of dates that do not say when a record came into being
_OTHER_DATES = frozenset(
    (
        *("birth", "birthday", "born", "deleted", "due", "end", "ended", "expires", "expiry", "last", "modified"),
        *("updated", "until", "valid", "changed", "changetime", "endtime", "modtime", "mtime", "updatetime"),
    )
)

_DATE_NAME = re.compile(
    r"(^|_)(at|on|date|time|timestamp|ts|epoch|created|ms)$"
    r"|(^|_)(create|creation|change|modify|modification|update|access|start|end|log|event|entry|[acm])d?(date|time)$"
)

#: a clock of the likeliest type first; numbers need a unit that only people know
_CLOCK_KINDS = (Kind.INSTANT, Kind.WALL, Kind.DATE, Kind.TEXT, Kind.INTEGER)

_TAG_NAMES = ("tags", "tag_list", "labels", "tag", "label", "categories", "keywords")

_SUBJECTS = (
    *("customer", "account", "client", "contact", "user", "person", "member", "subscriber", "patient", "lead"),
    *("employee", "company", "organisation", "organization", "tenant", "buyer", "guest"),
)


def words(name: str) -> list[str]:
    """The words of ``activity_logs``, ``ActivityLogs`` or ``activity-logs``, in lower case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^0-9a-z]+", spaced.lower()) if word]


def snake(name: str) -> str:
    """The name in lower case with underscores, as classes are named in policies."""
    return "_".join(words(name))


def is_log(table: str) -> bool:
    """Whether the table's name says that it records what happened."""
    return not _LOG_WORDS.isdisjoint(words(table)[-1:])


def is_part(child: str, parent: str) -> bool:
    """Whether ``order_items`` is a part of ``orders`` by its name, or ``activity_comments`` of ``activity_logs``."""
    parts = words(parent)
    if len(parts) > 1 and parts[-1] in _LOG_WORDS:
        parts = parts[:-1]
    stem = "_".join(parts)
    singular = stem[:-3] + "y" if stem.endswith("ies") else stem.removesuffix("s")
    return singular != "" and snake(child).startswith(f"{singular}_")


def clocks(columns: Iterable[Column]) -> list[Column]:
    """The columns that can be a `created` clock, the likeliest first."""
    candidates = [column for column in columns if _tells_time(column)]
    return sorted(candidates, key=_unlikely)


def _tells_time(column: Column) -> bool:
    if column.kind in (Kind.INSTANT, Kind.WALL, Kind.DATE):
        return True
    return column.kind in (Kind.TEXT, Kind.INTEGER) and _DATE_NAME.search(snake(column.name)) is not None


def _unlikely(column: Column) -> tuple[bool, int, int, str]:
    name = snake(column.name)
    other = not _OTHER_DATES.isdisjoint(words(name))
    known = _CREATED.index(name) if name in _CREATED else len(_CREATED) + ("creat" not in name)
    return (other, known, _CLOCK_KINDS.index(column.kind), column.name)


def tags(columns: Iterable[Column]) -> Column | None:
    """The column that holds several tags a row: an array, JSON or text, named for what it holds."""
    fitting = [
        column
        for column in columns
        if snake(column.name) in _TAG_NAMES and column.kind in (Kind.TEXT_ARRAY, Kind.JSON, Kind.TEXT)
    ]
    return min(fitting, key=lambda column: _TAG_NAMES.index(snake(column.name)), default=None)


def is_tag_table(table: str) -> bool:
    """Whether the table's name says that its rows are tags."""
    return words(table)[-1:] in (["tags"], ["tag"], ["labels"], ["taggings"])


def is_tag_word(column: Column) -> bool:
    """Whether the column of a tag table holds the tag itself."""
    return column.kind is Kind.TEXT and snake(column.name) in ("tag", "label", "name", "value")


def subject(column: str) -> str | None:
    """``customer`` for ``customer_id`` or ``billingCustomerNo``; None where the name is of no person or firm."""
    *parts, last = words(column) or [""]
    named = last in ("id", "uuid", "no", "number") and parts != [] and parts[-1] in _SUBJECTS
    return parts[-1] if named else None


def named_after(table: str) -> frozenset[str]:
    """What a column is called that refers to rows of ``tickets``: ticket, ticket_id, tickets_id."""
    plural = snake(table)
    singular = plural[:-3] + "y" if plural.endswith("ies") else plural.removesuffix("s")
    return frozenset({singular, *(f"{one}_{last}" for one in (singular, plural) for last in ("id", "uuid"))})


def pairs(columns: Iterable[str]) -> list[tuple[str, str]]:
    """Columns of which one names a table and the other a row in it: object_type and object_id, type and id."""
    by_name = {snake(column): column for column in columns}
    return [
        (by_name[name], by_name[key])
        for name in by_name
        if re.search(r"(^|_)type$", name) and (key := f"{name.removesuffix('type')}id") in by_name
    ]
