"""What MariaDB's and MySQL's errors mean, in words that hold neither a secret nor what a row says."""

from __future__ import annotations

import pymysql.constants.CR
import pymysql.constants.ER

from retention.errors import SourceFailed
from retention.sources.source import SourceBusy

#: a lock not granted in time, a deadlock (also of named locks), a row changed meanwhile, a server that is full or stopping,
#: a statement that somebody ended
_BUSY = frozenset({1205, 1213, 3058, 1020, 1040, 1203, 1053, 1317, 1412})

_ADVICE = {
    1044: "grant this user rights in that database",
    1045: "check the user and password in the source's url",
    1049: "name an existing database at the end of the source's url",
    1054: "the table has changed: run `retention validate`",
    1139: "a tag, or another text that a policy or hold looks for, is too long for a pattern of the server",
    1142: "grant this user what it lacks on the table",
    1143: "grant this user what it lacks on the columns",
    1146: "the table is gone, or this user may not see it",
    1153: "a value is larger than the server's max_allowed_packet: raise that",
    1227: "grant this user what it lacks",
    1290: "the server is read-only: name the one that is written to",
    1301: "a value is larger than the server's max_allowed_packet: raise that",
    1451: "another table refers to the records: declare it under `dependents:`",
    1665: "set binlog_format to MIXED or ROW: with STATEMENT the server refuses to delete under READ COMMITTED",
    1698: "check the user and password in the source's url",
    1969: "the server ended a statement for max_statement_time: raise it for this user",
    2006: "is the server up? Nothing of an open batch was deleted",
    2013: "is the server up? Nothing of an open batch was deleted",
    3698: "the server gave a pattern up, which reads tags, for regexp_stack_limit: do not set that below 8000000",
    3699: "the server gave a pattern up, which reads tags, for regexp_time_limit: do not set that below 32",
    3141: "a JSON value holds a DECIMAL, a time or bytes, which its text does not say: write it as JSON's own numbers and text",
    3024: "the server ended a statement for max_execution_time: raise it for this user",
}

#: errors whose text names tables, columns, users and settings, and never a value
_TELLING = frozenset(_ADVICE) - {1139, 1153, 1301, 1451, 1665, 2006, 2013, 3141} | _BUSY

_NAMES = {
    number: name
    for module in (pymysql.constants.ER, pymysql.constants.CR)
    for name, number in vars(module).items()
    if isinstance(number, int)
}


def failure(source: str, number: int | None, text: str) -> SourceFailed:
    """The error as this project tells it; ``text`` is the server's own, which often quotes the value at fault."""
    if number is None:
        return SourceFailed(f"{source}: the answer of the server could not be read")
    if number in _TELLING:
        told = text.strip().removesuffix(".").removesuffix("; try restarting transaction")
    else:
        name = _NAMES.get(number, "").removeprefix("CR_").replace("_", " ").lower()
        told = f"the server answered with error {number}{name and f', {name}'}"
    if number in _BUSY:
        return SourceBusy(f"{source}: {told}", hint="it is tried again")
    return SourceFailed(f"{source}: {told}", hint=_ADVICE.get(number, ""))
