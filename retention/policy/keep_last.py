"""`keep_last`: the newest N records of a group stay, whatever their age.

Newer is what is strictly later by the policy's clock, as its column says it: of records that are equally old none is newer, so
that more may stay than was asked for, never fewer. Values that cannot be told apart in time by themselves (text in different
forms) are not newer than one another either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ZONE = re.compile(r".{11,}([+-][0-9]{2}:[0-9]{2})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class KeepLast:
    """The newest ``count`` of those that have the same value in the column ``per``; empty, each is a group of its own."""

    count: int
    per: str


def is_later(one: object, other: object) -> bool:
    """Whether a clock's value is surely later than another of the same column."""
    if one is None or type(one) is not type(other) or isinstance(one, bytes):
        return False
    if isinstance(one, str) and isinstance(other, str) and _form(one) != _form(other):
        return False
    later: bool = one > other  # type: ignore[operator]  # times, numbers or text, and both alike
    return later


def same_group(keep: KeepLast, one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether both records are of one group."""
    mine, theirs = one[keep.per], other[keep.per]
    return mine is not None and type(mine) is type(theirs) and mine == theirs


def _form(text: str) -> tuple[int, str, str]:
    """What two texts must have in common so that the later sorts behind the earlier."""
    zone = _ZONE.fullmatch(text)
    return len(text), text[10:11], "Z" if text.endswith("Z") else zone[1] if zone else ""
