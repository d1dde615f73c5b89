"""Verification of the chain: what was changed, removed, added, moved or cut off, each named by its entry's number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retention.ledger.chain import GENESIS, Entry, Head, hash_of


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it was written."""

    #: the ledger entry that it is about; None where it is about no single one
    seq: int | None
    #: a clause for a person, without a full stop
    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, kw_only=True)
class _Link:
    seq: int
    previous: str
    hash: str
    #: the hash is that of the contents
    sound: bool


def verify_chain(entries: Iterable[Entry], head: Head | None) -> list[Finding]:
    """Everything that is wrong with a whole chain, in the order of the entries; empty if it is intact.

    Whoever changes a row and computes its hash anew is betrayed by the ``previous`` of the next row, and on the last
    row by the head. Who rewrites everything from there on leaves no trace here: that is what exports are kept for.
    """
    findings: list[Finding] = []
    links: list[_Link] = []
    damaged: list[Entry] = []
    for entry in entries:
        before = links[-1].seq if links else 0
        if not isinstance(entry.seq, int) or entry.seq <= before:
            findings.append(Finding(seq=None, what=f"an entry numbered {entry.seq!r} stands after entry {before}"))
            continue
        if entry.seq > before + 1:
            findings.append(_absent(before + 1, entry.seq - 1))
        sound = entry.computed_hash() == entry.hash
        links.append(_Link(seq=entry.seq, previous=entry.previous, hash=entry.hash, sound=sound))
        if not sound:
            damaged.append(entry)
    findings += _damage(damaged, links, head)
    findings += _broken_links(links, head)
    findings.sort(key=lambda finding: (finding.seq is None, finding.seq))
    return findings + _end(links, head)


def _absent(first: int, last: int) -> Finding:
    what = f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    return Finding(seq=first, what=what)


def _damage(damaged: list[Entry], links: list[_Link], head: Head | None) -> list[Finding]:
    """Name each entry whose hash is not its own; where its contents are those of another number, say of which."""
    bearers = {link.previous: link.seq - 1 for link in links}
    if head is not None:
        bearers[head.hash] = head.seq
    sound = {link.seq for link in links if link.sound}
    findings = []
    for entry in damaged:
        # a row that took another's place, or one of a tail that was renumbered after a removal or an addition
        places = {bearers.get(entry.hash, entry.seq), entry.seq - 1, entry.seq + 1} - {entry.seq}
        written = [place for place in places if hash_of(entry, seq=place) == entry.hash]
        if not written:
            findings.append(Finding(seq=entry.seq, what=f"entry {entry.seq} was changed after it was written"))
            continue
        findings.append(Finding(seq=entry.seq, what=f"entry {entry.seq} holds what was written as entry {written[0]}"))
        if written[0] == entry.seq - 1 and written[0] in sound:
            findings.append(Finding(seq=written[0], what=f"entry {written[0]} was put in afterwards"))
    return findings


def _broken_links(links: list[_Link], head: Head | None) -> list[Finding]:
    """Name the entries that were changed together with their hash; an unsound neighbour is named already."""
    findings = []
    for index, link in enumerate(links):
        before = links[index - 1] if index else None
        if before is not None and (before.seq != link.seq - 1 or not before.sound):
            continue
        if before is None and link.seq > 1:
            continue
        if not link.sound or link.previous == (before.hash if before else GENESIS):
            continue
        # Both fit themselves and not each other. The one that does not fit its other neighbour either was changed.
        after = links[index + 1].previous if index + 1 < len(links) else None if head is None else head.hash
        changed = link.seq if before is None or after != link.hash else before.seq
        what = f"entry {changed} was changed after it was written, and its hash computed anew"
        findings.append(Finding(seq=changed, what=what))
    return findings


def _end(links: list[_Link], head: Head | None) -> list[Finding]:
    last = links[-1] if links else _Link(seq=0, previous="", hash=GENESIS, sound=True)
    if head is None:
        return [Finding(seq=None, what=f"the chain ends at {last.seq} and its head is missing")]
    if not isinstance(head.seq, int) or head.seq < 0:
        return [Finding(seq=None, what=f"the head names {head.seq!r} as the last entry, the chain ends at {last.seq}")]
    if head.seq > last.seq:
        lost = "1 entry was" if head.seq == last.seq + 1 else f"{head.seq - last.seq} entries were"
        what = f"the chain ends at {last.seq} but its head says {head.seq}: {lost} cut off"
        return [Finding(seq=last.seq + 1, what=what)]
    if head.seq < last.seq:
        what = f"the head says that the chain ends at {head.seq}, but it goes on to {last.seq}"
        return [Finding(seq=head.seq + 1, what=f"{what}: entries were put in afterwards, or the head was changed")]
    if last.sound and head.hash != last.hash:
        what = f"the head has another hash than entry {last.seq}"
        return [Finding(seq=last.seq, what=f"{what}: the head was changed, or the entry together with its hash")]
    return []
