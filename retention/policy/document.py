"""YAML with positions, and without surprises.

Scalars follow YAML 1.2: ``NO``, ``yes``, ``0o17`` and ``1:30`` stay text. Whatever can make a file say something else
than it seems to is refused: a key given twice, merge keys, tags, anchors, a second document, control characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TypeAlias

import yaml

from retention.policy.condition import Scalar
from retention.policy.mark import Mark, Problem
from retention.policy.written import parse_iso

LARGEST_FILE = 1024 * 1024
_DEEPEST = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(?=.*[.eE])(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Value:
    """One scalar: ``text`` as it stands there, ``value`` as it is meant."""

    mark: Mark
    text: str
    value: Scalar

    @property
    def left_out(self) -> bool:
        """Whether nothing at all stands there (which is not the same as ``null``)."""
        return self.value is None and not self.text


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A mapping: every key is text, and stands there once."""

    mark: Mark
    entries: Mapping[str, Node]
    #: where each key stands
    keys: Mapping[str, Mark] = field(default_factory=dict)


Node: TypeAlias = Value | Items | Block


def scalar(text: str) -> Scalar:
    """What a plain (unquoted) YAML scalar means: null, true, false, a number, a date or time in ISO form; else text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(float(text)):
        return float(text)
    moment = parse_iso(text)
    return text if moment is None else moment


def read_document(path: Path, shown: str) -> tuple[Node | None, list[Problem]]:
    """Read one file, named ``shown`` in its problems. The node is None where the file says nothing that can be used."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        return None, [Problem(mark=Mark(file=shown), message=f"the file cannot be read: {error.strerror}",
                              remedy="make it a readable file")]  # fmt: skip
    return parse_document(data, shown)


def parse_document(data: bytes, shown: str) -> tuple[Node | None, list[Problem]]:
    """Read YAML from bytes, with every problem that can be found without knowing what the document is about."""
    whole = Mark(file=shown)
    if len(data) > LARGEST_FILE:
        return None, [
            Problem(mark=whole, message="the file is larger than 1 MiB", remedy="split it into several files")
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = _mark_at(shown, data[: error.start].decode("utf-8-sig"))
        return None, [Problem(mark=mark, message="the file is not UTF-8 text", remedy="save it as UTF-8")]
    control = _CONTROL.search(text)
    if control is not None:
        mark = _mark_at(shown, text[: control.start()])
        message = f"a control character (U+{ord(control.group()):04X}) stands here"
        return None, [Problem(mark=mark, message=message, remedy="take it out")]
    builder = _Builder(shown)
    try:
        node = builder.document(iter(yaml.parse(text, Loader=yaml.SafeLoader)))
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        mark = whole if where is None else Mark(file=shown, line=where.line + 1, column=where.column + 1)
        message = f"this is not YAML: {error.problem}"
        return None, [
            *builder.problems,
            Problem(mark=mark, message=message, remedy="check indentation, quotes, colons and brackets"),
        ]
    except yaml.reader.ReaderError as error:
        mark = _mark_at(shown, text[: error.position])
        return None, [
            Problem(
                mark=mark,
                message=f"a character that YAML forbids (U+{ord(text[error.position]):04X}) stands here",
                remedy="take it out",
            )
        ]
    except (ValueError, OverflowError):  # from chr(), of a \U escape beyond Unicode; YAML says no place for it
        return None, [
            *builder.problems,
            Problem(
                mark=whole, message="an escape in the file names no character", remedy="write the character itself"
            ),
        ]
    except _TooDeep as deep:
        message = f"lists and blocks are nested deeper than {_DEEPEST} levels"
        return None, [*builder.problems, Problem(mark=deep.mark, message=message, remedy="write it flatter")]
    return node, builder.problems


class _TooDeep(Exception):
    def __init__(self, mark: Mark) -> None:
        self.mark = mark


class _Builder:
    """Builds nodes from YAML events and notes what is refused; goes on where it can, to find every problem."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        node: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(
                        event, "a second document begins here", "write one document a file, without further ---"
                    )
                    break
                node = self._node(next(events), events, 1)
        if documents == 0 or (isinstance(node, Value) and node.left_out):
            self.problems.append(
                Problem(
                    mark=Mark(file=self.file),
                    message="the file is empty",
                    remedy="write its content, or delete the file",
                )
            )
            return None
        return node

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        mark = self._mark(event)
        if depth > _DEEPEST:
            raise _TooDeep(mark)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f'an alias ("*{event.anchor}") stands here', "write the value itself")
            return Value(mark=mark, text=f"*{event.anchor}", value=f"*{event.anchor}")
        assert isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent)
        if event.anchor is not None:
            self._refuse(
                event,
                f'an anchor ("&{event.anchor}") stands here',
                "leave it out, and write values where they are meant",
            )
        if event.tag is not None:
            self._refuse(event, f'a YAML tag ("{event.tag}") stands here', "leave it out; quotes make a value text")
        if isinstance(event, yaml.ScalarEvent):
            forbidden = _UNPRINTABLE.search(event.value)
            if forbidden is not None:
                self._refuse(event, f"an escape for U+{ord(forbidden.group()):04X} stands here", "take it out")
            text = _UNPRINTABLE.sub("?", event.value)
            plain = event.implicit[0] and event.style is None
            return Value(mark=mark, text=text, value=scalar(text) if plain else text)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(mark=mark, items=tuple(self._items(events, depth)))
        return self._block(mark, events, depth)

    def _items(self, events: Iterator[yaml.Event], depth: int) -> Iterator[Node]:
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            yield self._node(event, events, depth + 1)

    def _block(self, mark: Mark, events: Iterator[yaml.Event], depth: int) -> Block:
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Value):
                self._refuse(event, "a list or block stands here as a key", "write a word as the key")
            elif isinstance(event, yaml.ScalarEvent) and event.style is None and key.text == "<<":
                self._refuse(event, 'a merge key ("<<") stands here', "write the keys themselves")
            elif key.text in entries:
                self._refuse(
                    event,
                    f'the key "{key.text}" is given twice, first in line {keys[key.text].line}',
                    "keep one of them",
                )
            else:
                entries[key.text], keys[key.text] = value, key.mark
        return Block(mark=mark, entries=entries, keys=keys)

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        assert start is not None, "events that were read from text have a place in it"
        return Mark(file=self.file, line=start.line + 1, column=start.column + 1)

    def _refuse(self, event: yaml.Event, message: str, remedy: str) -> None:
        self.problems.append(Problem(mark=self._mark(event), message=message, remedy=remedy))


def _mark_at(file: str, before: str) -> Mark:
    """The place that follows the text ``before``."""
    return Mark(file=file, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
