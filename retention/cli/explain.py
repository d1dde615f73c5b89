"""`retention explain`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits
from retention.cli.options import as_of_option, config_option, json_option, open_engine, parse_when, print_json
from retention.errors import NotFound

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from retention.disposition.archived import ArchivedRecord
    from retention.disposition.explain import Explanation
    from retention.policy.decide import Decision


@click.command(epilog=exits({2: "bad input, or there never was such a record"}))
@click.argument("address", metavar="CLASS")
@click.argument("key", metavar="KEY")
@config_option
@as_of_option
@json_option
def explain(address: str, key: str, config: Path, as_of: str | None, as_json: bool) -> int:
    """Say what happens to one record, when and why.

    CLASS is SOURCE.CLASS, such as crm.activities; KEY is the record's key (a composite one as a JSON list). For a
    deleted record it says when it went, under which policy and run, and in which archive file it lies, with the proof
    (--json prints the whole proof).
    """
    from retention.disposition.explain import explain as explain_record

    engine = open_engine(config)
    zone = engine.project.config.timezone
    found = explain_record(engine, address, key, parse_when(as_of, zone))
    if as_json:
        print_json(_facts(found))
    else:
        _tell(found, zone)
    return NotFound.exit_status if found.decision is None and not found.archived else 0


def _tell(found: Explanation, zone: ZoneInfo) -> None:
    from rich.text import Text

    from retention.cli.show import console, local

    out = console()
    judged = "" if found.decision is None else f", as of {local(found.as_of, zone)} ({zone.key})"
    out.print(Text(f"{found.records} {', '.join(map(str, found.key))}{judged}", "bold"))
    out.print(Text(found.outcome))
    if found.decision is not None:
        _tell_decision(out, found.decision, zone)
    for hold in found.holds:
        out.print(Text(f"\nHold {hold.id} covers it: {hold.matter}; {hold.reason}."))
    for one in found.archived:
        _tell_archived(out, one, zone)


def _tell_decision(out: Console, decision: Decision, zone: ZoneInfo) -> None:
    from rich.text import Text

    from retention.cli.show import grid
    from retention.holds.describe import selection_words

    out.print()
    matching = [one for one in decision.judgements if one.matched]
    if matching:
        rows = [
            (
                one.policy.name + (" (operative)" if one.policy.name == decision.operative else ""),
                str(one.policy.retain.period),
                f"{one.clock} {_day(one.moment, zone)}" if one.moment is not None else f"{one.clock}: no clock",
                _day(one.expires, zone) if one.expires is not None else "never",
                one.fate.value.replace("_", " ") if one.fate is not None else "",
            )
            for one in matching
        ]
        out.print(
            grid("matching policy", "keeps", "counts from", "may go from", "so it is", rows=rows, whole=(0, 2, 3))
        )
        out.print()
    for one in sorted(decision.judgements, key=lambda one: not one.matched):
        verb = "matches" if one.matched else "does not match"
        why = selection_words(one.policy.tags, one.policy.where)
        out.print(Text(f"It {verb} {one.policy.name}: {why}."))
    for bound in decision.minimums:
        out.print(Text(f"A legal minimum retains it: {bound.period} ({bound.mandate})."))


def _tell_archived(out: Console, one: ArchivedRecord, zone: ZoneInfo) -> None:
    from rich.text import Text

    from retention.cli.show import local

    assert one.batch.resolved_at is not None, "only committed batches are found"
    out.print(Text(f"\nArchived and deleted {local(one.batch.resolved_at, zone)} ({zone.key})"))
    lines = [("policy", one.run.policy), ("run", one.run.id), ("batch", one.batch.id)]
    if one.inclusion is not None:
        siblings = sum(len(level.siblings) for level in one.inclusion.proof.levels)
        lines += [
            ("file", f"{one.batch.archive}: {one.inclusion.path}, row {one.inclusion.row:,} (the first is 0)"),
            ("digest", one.inclusion.leaf.hex()),
            ("proof", f"{siblings} sibling digests lead from it to the Merkle root in the ledger"),
            ("root", one.inclusion.merkle_root.hex()),
        ]
    for name, text in lines:
        out.print(Text(f"  {name:<7} {text}"), soft_wrap=True)


def _day(moment: date | datetime, zone: ZoneInfo) -> str:
    from retention.cli.show import local

    return local(moment, zone) if isinstance(moment, datetime) else moment.isoformat()


def _facts(found: Explanation) -> dict[str, object]:
    from retention.holds.describe import selection_words

    decision = found.decision
    return {
        "records": found.records,
        "key": list(found.key),
        "as_of": found.as_of.isoformat(),
        "outcome": found.outcome,
        "exists": decision is not None,
        "operative": decision.operative if decision is not None else None,
        "policies": [
            {
                "policy": one.policy.name,
                "matched": one.matched,
                "selects": selection_words(one.policy.tags, one.policy.where),
                "period": str(one.policy.retain.period),
                "clock": one.clock,
                "counts_from": None if one.moment is None else one.moment.isoformat(),
                "expires": None if one.expires is None else one.expires.isoformat(),
                "expired": one.expired,
                "fate": None if one.fate is None else one.fate.value,
            }
            for one in (decision.judgements if decision is not None else ())
        ],
        "minimums": [str(bound.period) for bound in (decision.minimums if decision is not None else ())],
        "holds": [hold.id for hold in found.holds],
        "blocked_by": dict(found.blocked_by),
        "archived": [_archived(one) for one in found.archived],
    }


def _archived(one: ArchivedRecord) -> dict[str, object]:
    return {
        "deleted_at": one.batch.resolved_at.isoformat() if one.batch.resolved_at else None,
        "policy": one.run.policy,
        "run": one.run.id,
        "batch": one.batch.id,
        "archive": one.batch.archive,
        "file": one.inclusion.path if one.inclusion else None,
        "row": one.inclusion.row if one.inclusion else None,
        "leaf": one.inclusion.leaf.hex() if one.inclusion else None,
        "merkle_root": one.inclusion.merkle_root.hex() if one.inclusion else None,
        "proof": one.inclusion.proof.to_json() if one.inclusion else None,
        "values": one.values,
    }
