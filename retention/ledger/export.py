"""The ledger as a file that anyone can verify without the database, and that proves later what stood there by then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import sqlalchemy as sa

from retention.errors import EvidenceBroken, InputError
from retention.ledger import chain
from retention.ledger.canonical import canonical
from retention.ledger.chain import Entry, Head
from retention.ledger.verify import Finding, verify_chain

FORMAT = "retention-ledger"
VERSION = 1

_MEMBERS = frozenset({"seq", "at", "kind", "subject", "body", "previous", "hash"})


def export(connection: sa.Connection, out: TextIO) -> Head:
    """Write the whole ledger as JSON lines: the head, then one entry a line; give it the transaction of `Control.read`.

    Raises EvidenceBroken where the head is missing or an entry cannot be written as JSON: `audit verify` names it.
    """
    head = chain.read_head(connection)
    if head is None:
        raise EvidenceBroken("the ledger has lost its head", hint="Run `retention audit verify`.")
    first = {"format": FORMAT, "version": VERSION, "head": {"seq": head.seq, "hash": head.hash}}
    out.write(canonical(first) + "\n")
    for entry in chain.entries(connection):
        try:
            out.write(canonical(vars(entry) | {"body": entry.facts}) + "\n")
        except (ValueError, TypeError, RecursionError):
            raise EvidenceBroken(
                f"entry {entry.seq} of the ledger is damaged", hint="Run `retention audit verify`."
            ) from None
    return head


def verify_export(lines: Iterable[str]) -> list[Finding]:
    """Everything that is wrong with an export. Raises InputError for a file that is none."""
    rest = iter(lines)
    head = _head(next(rest, ""))
    unreadable: list[Finding] = []
    findings = verify_chain(_entries(rest, unreadable), head)
    return unreadable + findings


def read_export(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries of an export that `verify_export` found intact. Raises InputError for a file that is none."""
    rest = iter(lines)
    _head(next(rest, ""))
    return _entries(rest, [])


def compare(earlier: Iterable[Entry], later: Iterable[Entry]) -> list[Finding]:
    """What an earlier export says otherwise than the later entries (`read_export`, or the live `chain.entries`).

    A ledger only grows, so the earlier one must be the beginning of the later one. Who rewrites a whole chain, head
    included, is found by anyone who kept an export.
    """
    before = {entry.seq: entry for entry in earlier}
    findings = [
        Finding(seq=entry.seq, what=f"entry {entry.seq} is not the one that the earlier export has")
        for entry in later
        if entry != before.pop(entry.seq, entry)
    ]
    findings += [Finding(seq=seq, what=f"entry {seq} of the earlier export is missing") for seq in before]
    return findings


def _entries(lines: Iterator[str], unreadable: list[Finding]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=2):
        found = _parse(line)
        if found is None or found.keys() != _MEMBERS:
            unreadable.append(Finding(seq=None, what=f"line {number} is not an entry as the export writes it"))
            continue
        yield Entry(**found | {"body": canonical(found["body"])})


def _head(line: str) -> Head:
    found = _parse(line)
    match found:
        case {"format": "retention-ledger", "version": 1, "head": {"seq": int(seq), "hash": str(hashed)}}:
            return Head(seq=seq, hash=hashed, hold_epoch=0)
        case {"format": "retention-ledger", "version": version}:
            raise InputError(f"this is a ledger export of version {version}", hint="Use the release that wrote it.")
    raise InputError("this is not a ledger export", hint="`retention audit export FILE` writes one.")


def _parse(line: str) -> dict[str, Any] | None:
    """The object of a line that is written exactly as `export` writes: no two readers can see two things in it."""
    text = line.removesuffix("\n")
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) and canonical(found) == text else None
    except (ValueError, RecursionError):
        return None
