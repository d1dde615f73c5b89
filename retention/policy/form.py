"""Reading nodes as what they must be, and noting every problem on the way.

Each reader returns the value, or None after it has noted a problem; so a caller reads all fields before it gives up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from retention.policy.document import Block, Items, Node, Value
from retention.policy.mark import Mark, Problem
from retention.policy.period import Period, PeriodError
from retention.policy.suggest import nearest

NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")
NAME_RULE = "write a small letter, then small letters, digits, - and _, at most 60 in all"
#: names in a time zone database that are no zones that one could name in law
_NO_ZONES = re.compile(r"localtime|posixrules|Factory|(posix|right)/.*")


def shown(text: str) -> str:
    """A value for a message: in quotes, on one line, not too long."""
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f'"{line}"' if len(line) <= 60 else f'"{line[:57]}..."'


def kind(node: Node) -> str:
    """What a node is, for a message: ``a list``, ``the number 5``."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Block):
        return "a block"
    if node.left_out:
        return "left out"
    if node.value is None:
        return "null"
    if isinstance(node.value, bool):
        return f"the truth value {node.text}"
    if isinstance(node.value, int | float):
        return f"the number {node.text}"
    if isinstance(node.value, date):
        return f"the {'time' if isinstance(node.value, datetime) else 'date'} {node.text}"
    return f"the text {shown(node.text)}"


class Form:
    """The problems of one file, as they are found."""

    def __init__(self, problems: list[Problem] | None = None) -> None:
        self.problems: list[Problem] = [] if problems is None else problems

    def refuse(self, mark: Mark, message: str, remedy: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(mark=mark, message=message, remedy=remedy))

    def block(
        self, node: Node, what: str, *, required: Mapping[str, str], optional: Collection[str] = ()
    ) -> Mapping[str, Node] | None:
        """The entries of a block with these keys alone; ``required`` says what to write for each. None: no block."""
        if not isinstance(node, Block):
            self.refuse(node.mark, f"{what} is {kind(node)}", f"write a block with {', '.join([*required, *optional])}")
            return None
        known = {*required, *optional}
        for key, mark in node.keys.items():
            if key not in known:
                self.refuse(mark, f"{what} has no key {shown(key)}", nearest(key, known))
        for key, example in required.items():
            if key not in node.entries:
                self.refuse(node.mark, f'{what} lacks the key "{key}"', f"write {example}")
        return {key: entry for key, entry in node.entries.items() if key in known}

    def items(self, node: Node, what: str, example: str) -> tuple[Node, ...]:
        """The items of a list that is not empty; none after a problem."""
        if isinstance(node, Items) and node.items:
            return node.items
        self.refuse(
            node.mark, f"{what} is {'an empty list' if isinstance(node, Items) else kind(node)}", f"write {example}"
        )
        return ()

    def text(self, node: Node, what: str, example: str) -> str | None:
        """Text that is not empty and has no white space at its ends."""
        if not isinstance(node, Value) or not isinstance(node.value, str):
            remedy = f"write {example}"
            if isinstance(node, Value) and node.value is not None:
                remedy = f'write it in quotes if it is meant as text: "{node.text}"'
            self.refuse(node.mark, f"{what} is {kind(node)}", remedy)
            return None
        if not node.value.strip():
            self.refuse(node.mark, f"{what} is empty", f"write {example}")
            return None
        if node.value != node.value.strip():
            self.refuse(node.mark, f"{what} {shown(node.value)} has white space at an end", "take it away")
            return None
        return node.value

    def texts(self, node: Node, what: str, each: str, example: str) -> tuple[str, ...]:
        """A list of such texts, none of them twice."""
        found: dict[str, None] = {}
        for item in self.items(node, what, example):
            text = self.text(item, each, each.replace("the ", "a ", 1))
            if text is not None and text in found:
                self.refuse(item.mark, f"{each} {shown(text)} is given twice", "keep one of them")
            elif text is not None:
                found[text] = None
        return tuple(found)

    def columns(self, node: Node, what: str) -> tuple[str, ...]:
        """One column, or a list of columns; none after a problem."""
        if isinstance(node, Items):
            return self.texts(node, what, "the column", "a list of columns")
        column = self.text(node, what, "the name of a column")
        return () if column is None else (column,)

    def free_block(self, node: Node, what: str, example: str) -> Mapping[str, Node]:
        """The entries of a block whose keys are free; none after a problem."""
        if isinstance(node, Block) and node.entries:
            return node.entries
        told = "an empty block" if isinstance(node, Block) else kind(node)
        self.refuse(node.mark, f"{what} is {told}", f"write {example}")
        return {}

    def name(self, node: Node, what: str) -> str | None:
        """A name that may stand in addresses, files and commands."""
        text = self.text(node, what, "a name")
        return text if text is None or self.good_name(text, node.mark, what) else None

    def good_name(self, text: str, mark: Mark, what: str) -> bool:
        """Whether ``text`` is such a name."""
        if NAME.fullmatch(text):
            return True
        self.refuse(mark, f"{what} {shown(text)} is not a name", NAME_RULE)
        return False

    def choice(self, node: Node, what: str, choices: Collection[str]) -> str | None:
        """One of a few words."""
        if isinstance(node, Value) and node.value in choices and isinstance(node.value, str):
            return node.value
        if isinstance(node, Value) and isinstance(node.value, str):
            self.refuse(node.mark, f"{what} {shown(node.text)} is unknown", nearest(node.text, choices))
        else:
            self.refuse(node.mark, f"{what} is {kind(node)}", f"write one of: {', '.join(choices)}")
        return None

    def period(self, node: Node, what: str) -> Period | None:
        """A period."""
        if isinstance(node, Value) and not node.left_out and node.value is not None:
            try:
                return Period.parse(node.text)
            except PeriodError as error:
                self.refuse(node.mark, f"{what}: {error.message}", error.remedy)
                return None
        self.refuse(node.mark, f"{what} is {kind(node)}", "write a period, as in 90 days or 5 years")
        return None

    def zone(self, node: Node, what: str) -> ZoneInfo | None:
        """An IANA time zone."""
        text = self.text(node, what, "an IANA time zone, as in Asia/Shanghai")
        if text is None:
            return None
        try:
            if not _NO_ZONES.fullmatch(text):
                return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # no such file, a path instead of a name, or a folder: all are no zone, as is said below
        near = nearest(text, (zone for zone in available_timezones() if not _NO_ZONES.fullmatch(zone)))
        remedy = near if near.startswith("did") else "write an IANA time zone, as in Asia/Shanghai"
        self.refuse(node.mark, f"{what} {shown(text)} is unknown", remedy)
        return None


def marks_below(node: Node, path: str = "") -> dict[str, Mark]:
    """Where each value stands, by its dotted path ("retain.from"); what lies within lists has the list's mark."""
    if not isinstance(node, Block):
        return {}
    found: dict[str, Mark] = {}
    for key, entry in node.entries.items():
        dotted = f"{path}.{key}" if path else key
        found[dotted] = entry.mark
        found.update(marks_below(entry, dotted))
    return found
