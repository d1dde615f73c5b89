"""What spares a source: `throttle` in retention.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from retention.policy.document import Block, Node, Value
from retention.policy.form import Form, kind

_KEYS = ("duty", "query", "below", "replica_lag")
_DUTY = re.compile(r"([0-9]{1,3})%")
_SECONDS = re.compile(r"([0-9]{1,5}) seconds?")


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """None: no such limit."""

    #: the share of the time in which each connection works, 0 < duty < 1; it rests after each batch
    duty: Fraction | None = None
    #: a statement that yields one number; work waits while it is not ``below``
    query: str | None = None
    below: float | None = None
    #: seconds; work waits while a replica is further behind (PostgreSQL)
    replica_lag: int | None = None


def read_throttle(form: Form, node: Node, *, postgresql: bool) -> Throttle:
    """The throttle; without what has a problem."""
    if isinstance(node, Block) and not node.entries:
        form.refuse(node.mark, '"throttle" is an empty block', "write {duty: 50%}, or leave it out")
    entries = form.block(node, '"throttle"', required={}, optional=_KEYS) or {}
    for one, other in (("query", "below"), ("below", "query")):
        if one in entries and other not in entries:
            form.refuse(entries[one].mark, f'"{one}" is given without "{other}"', f"write {other}: too")
    if "replica_lag" in entries and not postgresql:
        form.refuse(entries["replica_lag"].mark, '"replica_lag" is for PostgreSQL alone', "take it away")
    query = entries.get("query")
    duty = _number(form, entries, "duty", _DUTY, "a percentage from 1% to 99%, as in 50%", 99)
    return Throttle(
        duty=None if duty is None else Fraction(duty, 100),
        query=None if query is None else form.text(query, '"query"', "a statement that yields one number"),
        below=_below(form, entries.get("below")),
        replica_lag=_number(form, entries, "replica_lag", _SECONDS, "it in seconds, as in 10 seconds", 99_999),
    )


def _number(
    form: Form, entries: Mapping[str, Node], key: str, pattern: re.Pattern[str], example: str, most: int
) -> int | None:
    node = entries.get(key)
    if node is None:
        return None
    match = pattern.fullmatch(node.value) if isinstance(node, Value) and isinstance(node.value, str) else None
    if match is not None and 0 < int(match[1]) <= most:
        return int(match[1])
    form.refuse(node.mark, f'"{key}" is {kind(node)}', f"write {example}")
    return None


def _below(form: Form, node: Node | None) -> float | None:
    if node is None:
        return None
    if isinstance(node, Value) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    form.refuse(node.mark, f'"below" is {kind(node)}', "write a number")
    return None
