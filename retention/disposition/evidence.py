"""Whether the ledger is what was written, in the database or in an export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import EvidenceBroken, InputError
from retention.ledger import chain
from retention.ledger.chain import Entry
from retention.ledger.checkpoint import Checkpoint, check, sign
from retention.ledger.cross_check import cross_check
from retention.ledger.export import compare, read_export, verify_export
from retention.ledger.verify import verify_chain

if TYPE_CHECKING:
    import sqlalchemy as sa

    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """How many entries there are, the last one's hash, and everything that is wrong, each a sentence."""

    entries: int
    head: str
    findings: tuple[str, ...]


def verify_ledger(engine: Engine, against: Path | None = None, checkpoints: Sequence[Checkpoint] = ()) -> LedgerReport:
    """The chain, its head, and that runs, batches and holds in their tables say the same; that an earlier export is the
    beginning of it, and that it still is what each checkpoint signed."""
    with engine.control.read() as connection:
        head = chain.read_head(connection)
        findings = all_findings(connection)
        if against is not None:
            findings += [finding.what for finding in compare(_entries(against), chain.entries(connection))]
        for checkpoint in checkpoints:
            findings += [finding.what for finding in check(chain.entries(connection), checkpoint)]
    return LedgerReport(
        entries=0 if head is None else head.seq, head="missing" if head is None else head.hash, findings=tuple(findings)
    )


def all_findings(connection: sa.Connection) -> list[str]:
    """Everything that is wrong with the chain; where nothing is, every table that says something else."""
    findings = [finding.what for finding in verify_chain(chain.entries(connection), chain.read_head(connection))]
    if not findings:  # in a broken chain the tables would be held against what nobody vouches for
        findings += [finding.what for finding in cross_check(connection)]
    return findings


def verify_file(path: Path, against: Path | None = None, checkpoints: Sequence[Checkpoint] = ()) -> LedgerReport:
    """An export, by itself, without any database."""
    lines = _lines(path)
    findings = [finding.what for finding in verify_export(lines)]
    entries = list(read_export(lines)) if not findings else []
    if not findings:
        if against is not None:
            findings += [finding.what for finding in compare(_entries(against), entries)]
        for checkpoint in checkpoints:
            findings += [finding.what for finding in check(entries, checkpoint)]
    return LedgerReport(entries=len(entries), head=entries[-1].hash if entries else "unknown", findings=tuple(findings))


def sign_ledger(engine: Engine, key: Path) -> Checkpoint:
    """Sign where the ledger stands. Raises EvidenceBroken where it does not verify: what is broken is not vouched for."""
    with engine.control.read() as connection:
        _refuse_broken(all_findings(connection))
        return sign(chain.entries(connection), key, engine.now())


def sign_file(path: Path, key: Path, at: datetime) -> Checkpoint:
    """Sign where an export ends: so the key need never be on a machine that reaches the database. Raises as
    `sign_ledger` does."""
    lines = _lines(path)
    _refuse_broken([finding.what for finding in verify_export(lines)])
    return sign(read_export(lines), key, at)


def _refuse_broken(findings: Iterable[str]) -> None:
    for finding in findings:
        raise EvidenceBroken(
            f"nothing was signed, for the ledger does not verify: {finding}",
            hint="`retention audit verify` names everything",
        )


def recent_entries(engine: Engine, *, last: int, subject: str | None, kind: str | None) -> list[Entry]:
    """The newest entries that fit, oldest of them first. Raises InputError for a kind that there is not."""
    if kind is not None and kind not in chain.KINDS:
        raise InputError(f"there are no entries of kind {kind!r}", hint=f"kinds are: {', '.join(sorted(chain.KINDS))}")
    with engine.control.read() as connection:
        return chain.newest(connection, last=last, subject=subject, kind=kind)


def _entries(path: Path) -> list[Entry]:
    lines = _lines(path)
    if verify_export(lines):
        raise InputError(f"{path} does not verify by itself", hint=f"`retention audit verify --export {path}` says why")
    return list(read_export(lines))


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:  # text within an entry may hold other line separators
            return list(file)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            f"{path} cannot be read: {why}", hint="name a file that `retention audit export` wrote"
        ) from None
