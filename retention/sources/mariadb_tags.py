"""Tags that stand in a column of MariaDB or MySQL: told by patterns, which both servers read alike and which cannot fail on
what stands there, as their functions for JSON do. A pattern says the whole text, so nothing within a tag is taken for one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from retention.sources.table import Kind

if TYPE_CHECKING:
    from retention.sources.bound_class import BoundClass

_WS = r"[ \t\r\n]*"
#: Escapes that name no character (NUL, half a surrogate pair) do not count as readable, as on PostgreSQL.
_TEXT = (
    r'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?!0000)(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})'
    r'|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"'
)
_ITEM = rf"(?:{_TEXT}|null)"
_LIST = rf"^{_WS}\[{_WS}(?:{_ITEM}{_WS}(?:,{_WS}{_ITEM}{_WS})*)?\]{_WS}$"
_NULL = rf"^{_WS}null{_WS}$"
_BEGINS_AS_JSON = rf'^{_WS}[\[{{"]'
#: characters of the longest text whose tags are read. With several times as many MariaDB gives a pattern up (PCRE's limit
#: of 10,000,000 steps) and says "no": whether the tag is there would not be told. MySQL (regexp_time_limit) gives up on some
#: of 60,000 characters, by an error; it alone reads what stands in such a comment
_LONGEST = "500000 /*!80000 / 25 */"
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def readable(bound: BoundClass, column: str) -> str:
    """Whether the tags can be read."""
    c, u = bound.text(column), _text(bound, column)
    plain = (
        f"{u} REGEXP {bound.source.text(_NULL)}" if _is_json(bound, column) else f"NOT {_begins_as_json(bound, column)}"
    )
    return (
        f"(CASE WHEN {c} IS NULL THEN true WHEN char_length({u}) > {_LONGEST} THEN false WHEN {plain} THEN true"
        f" ELSE {_matches(bound, column, _LIST)} END)"
    )


def carries(bound: BoundClass, column: str, tag: str) -> str:
    """Whether the tag is among them; false where they cannot be read."""
    u, literal = _text(bound, column), bound.source.text(tag)
    before, after = rf"(?:{_ITEM}{_WS},{_WS})*", rf"(?:,{_WS}{_ITEM}{_WS})*"
    exact = _matches(bound, column, rf'^{_WS}\[{_WS}{before}"{_in_json(tag)}"{_WS}{after}\]{_WS}$')
    if not _is_json(bound, column):
        # a list of parts has no tag with a comma in it
        part = rf"(?:^|,){_WS}{re.escape(tag)}{_WS}(?:,|$)"
        parts = "false" if "," in tag else _matches(bound, column, part)
        exact = f"CASE WHEN {_begins_as_json(bound, column)} THEN {exact} ELSE {parts} END"
    # most rows are told without a pattern: JSON writes a tag as it is, or with a backslash somewhere
    there = f"(locate({literal}, {u}) > 0 OR locate('\\', {u}) > 0)"
    told = f"coalesce({there} AND char_length({u}) <= {_LONGEST}, false)"
    return f"(CASE WHEN {told} THEN {exact} ELSE false END)"


def compared(bound: BoundClass, column: str) -> str:
    """The column's text as its bytes."""
    return f"CAST(CONVERT({bound.text(column)} USING utf8mb4) AS BINARY)"


def _text(bound: BoundClass, column: str) -> str:
    return f"CONVERT({bound.text(column)} USING utf8mb4) COLLATE utf8mb4_bin"


def _is_json(bound: BoundClass, column: str) -> bool:
    return bound.described(column).kind is Kind.JSON


def _begins_as_json(bound: BoundClass, column: str) -> str:
    return f"{_text(bound, column)} REGEXP {bound.source.text(_BEGINS_AS_JSON)}"


def _matches(bound: BoundClass, column: str, pattern: str) -> str:
    return f"coalesce({_text(bound, column)} REGEXP {bound.source.text(pattern)}, false)"


def _in_json(tag: str) -> str:
    """The tag as JSON may write it: each character as it is, by its number, or by its letter."""
    return "".join(f"(?:{'|'.join(_ways(one))})" for one in tag)


def _ways(character: str) -> list[str]:
    units = character.encode("utf-16-be")
    numbers = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
    ways = ["".join(rf"\\u{''.join(_either_case(digit) for digit in number)}" for number in numbers)]
    if character in _SHORT:
        ways.append(rf"\\{re.escape(_SHORT[character])}")
    if character not in '"\\' and character >= " ":
        ways.append(re.escape(character))
    return ways


def _either_case(digit: str) -> str:
    return digit if digit.isdigit() else f"[{digit}{digit.upper()}]"
