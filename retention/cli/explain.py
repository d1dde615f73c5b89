"""`retention explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.options import as_of_option, config_option, json_option, open_engine, parse_when, print_json

if TYPE_CHECKING:
    from retention.disposition.archived import ArchivedRecord
    from retention.disposition.explain import Explanation


@click.command()
@click.argument("address", metavar="CLASS")
@click.argument("key", metavar="KEY")
@config_option
@as_of_option
@json_option
def explain(address: str, key: str, config: Path, as_of: str | None, as_json: bool) -> None:
    """Say what happens to one record, when and why.

    CLASS is SOURCE.CLASS, such as crm.activities; KEY is the record's key (a composite one as a JSON list). For a
    deleted record it says when it went, under which policy and run, and in which archive file it lies, with the proof
    (--json prints the whole proof). Exit status 2 if there never was such a record.
    """
    from retention.disposition.explain import explain as explain_record

    engine = open_engine(config)
    found = explain_record(engine, address, key, parse_when(as_of, engine.project.config.timezone))
    if as_json:
        print_json(_facts(found))
    else:
        _tell(found)
    if found.decision is None and not found.archived:
        raise SystemExit(2)


def _tell(found: Explanation) -> None:
    from retention.cli.show import console, grid

    out = console()
    click.echo(f"{found.records} {', '.join(map(str, found.key))}")
    click.echo(f"{found.outcome}\n")
    if found.decision is not None:
        rows = [
            (
                one.policy.name + (" (operative)" if one.policy.name == found.decision.operative else ""),
                "matches" if one.matched else "does not match",
                str(one.policy.retain.period),
                f"{one.clock} {one.moment}" if one.moment is not None else f"{one.clock} is no clock",
                str(one.expires) if one.expires is not None else "never",
                one.fate.value.replace("_", " ") if one.fate is not None else "",
            )
            for one in found.decision.judgements
        ]
        out.print(grid("policy", "", "keeps", "counts from", "expires", "so it is", rows=rows))
        for bound in found.decision.minimums:
            click.echo(f"A legal minimum retains it: {bound.period} ({bound.mandate}).")
    for hold in found.holds:
        click.echo(f"Hold {hold.id} covers it: {hold.matter}; {hold.reason}.")
    for one in found.archived:
        click.echo(
            f"Archived and deleted {one.batch.resolved_at:%Y-%m-%d %H:%M} UTC by run {one.run.id} under {one.run.policy}."
        )
        if one.inclusion is not None:
            click.echo(
                f"  {one.batch.archive}: {one.inclusion.path}, row {one.inclusion.row}\n"
                f"  row digest {one.inclusion.leaf.hex()}\n"
                f"  proven, by {_siblings(one)} sibling digests, to lie under the Merkle root of the ledger's batch\n"
                f"  {one.inclusion.merkle_root.hex()}"
            )


def _siblings(one: ArchivedRecord) -> int:
    assert one.inclusion is not None
    return sum(len(level.siblings) for level in one.inclusion.proof.levels)


def _facts(found: Explanation) -> dict[str, object]:
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
