"""`retention archive`: what was archived, whether it is all there, bringing it back, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import MEANINGS, exits
from retention.cli.options import (
    config_option,
    confirmed,
    json_option,
    known_class,
    must_be_asked,
    open_engine,
    print_json,
    yes_option,
)
from retention.errors import EvidenceBroken

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@click.group(epilog=exits(MEANINGS))
def archive() -> None:
    """List, show, verify, restore and destroy what was archived.

    The files are Parquet; DuckDB, pandas and Polars read them as they are.
    """


@archive.command("list", epilog=exits())
@config_option
@json_option
@click.option("--run", "run_id", metavar="RUN", help="Only what this run archived.")
@click.option("--class", "address", metavar="CLASS", help="Only this class.")
@click.option("--schema", is_flag=True, help="The columns under which batches were archived, by version.")
def list_(config: Path, as_json: bool, run_id: str | None, address: str | None, schema: bool) -> None:
    """List the archived batches, oldest first. `retention archive show BATCH` names the files of one."""
    from retention.disposition.catalogue import archived_batches

    engine = open_engine(config, policies=False)
    if schema:
        _list_schemas(engine, run_id, known_class(engine, address), as_json=as_json)
        return
    found = archived_batches(engine, run=run_id, records=known_class(engine, address))
    if as_json:
        print_json([one.to_json() for one in found])
        return
    if not found:
        click.echo("Nothing is archived.")
        return
    from retention.cli.show import console, counted, grid, local

    zone = engine.project.config.timezone
    rows = [
        (
            one.batch,
            one.rows,
            one.dependent_rows,
            local(one.deleted_at, zone),
            "destroyed" if one.destroyed_at else one.destroy_after or "for ever",
            one.archive,
        )
        for one in found
    ]
    out = console()
    names = ("batch", "records", "dependents", "deleted", "kept until", "in")
    out.print(grid(*names, rows=rows, right=(1, 2), whole=(0, 3, 4)))
    total = counted(sum(one.rows for one in found), "record")
    out.print(f"{total} in {counted(len(found), 'batch', 'batches')}; times are of {zone.key}.")


def _list_schemas(engine: Engine, run: str | None, address: str | None, *, as_json: bool) -> None:
    from retention.cli.show import counted, local
    from retention.disposition.archived_schemas import schema_versions

    found = schema_versions(engine, run=run, records=address)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    if not found:
        click.echo("Nothing is archived.")
    zone = engine.project.config.timezone
    for one in found:
        under = f"{counted(one.rows, 'row')} in {counted(one.batches, 'batch', 'batches')}"
        first, last = local(one.first_deleted_at, zone), local(one.last_deleted_at, zone)
        when = f"deleted {first}" if first == last else f"deleted {first} to {last}"
        click.echo(f"{one.table} with {one.records}, version {one.version}: {under}, {when}")
        if one.version == 1:
            click.echo(f"  {', '.join(f'{name} {kind}' for name, kind in one.columns.items())}")
        changes = [f"+ {name} {kind}" for name, kind in one.added.items()]
        changes += [f"- {name} {kind}" for name, kind in one.dropped.items()]
        changes += [f"! {name} {before}, now {kind}" for name, (before, kind) in one.retyped.items()]
        if one.version > 1 and not changes:
            changes = ["the same columns in another order"]
        for change in changes:
            click.echo(f"  {change}")


@archive.command(
    epilog=exits({4: "refused: its copy was destroyed"}), short_help="Show one batch: files, columns, digests, rule."
)
@config_option
@json_option
@click.argument("batch_id", metavar="BATCH")
def show(config: Path, as_json: bool, batch_id: str) -> None:
    """Show one batch's manifest: files, columns, digests, and the rule it went under."""
    from retention.disposition.catalogue import manifest_of

    engine = open_engine(config, policies=False)
    manifest = manifest_of(engine, batch_id)
    if as_json:
        click.echo(manifest.to_bytes().decode())
        return
    from retention.cli.show import console, counted, grid, local

    out = console()
    zone = engine.project.config.timezone
    rows = [
        ("batch", manifest.batch),
        ("run", manifest.run),
        ("class", f"{manifest.source}.{manifest.record_class}"),
        ("policy", manifest.policy),
        ("mandate", manifest.mandate or "none given"),
        ("as of", f"{local(manifest.as_of, zone)} ({zone.key})"),
        ("written", f"{local(manifest.written_at, zone)} ({zone.key})"),
    ]
    out.print(grid("", "", rows=rows, whole=(0,)))
    for file in manifest.files:
        click.echo(f"\n{file.path}")
        click.echo(f"  {counted(file.rows, 'row')} of {file.table}, {file.bytes:,} bytes, key {', '.join(file.key)}")
        click.echo(f"  SHA-256      {file.sha256}\n  Merkle root  {file.merkle_root}")
        columns = [(f"  {one.name}", one.type, one.travels) for one in file.columns]
        out.print(grid("  column", "type", "travels as", rows=columns))


@archive.command(
    epilog=exits({0: "everything is as it was written", 1: "it is not: every finding is named"}),
    short_help="Read every archived file back.",
)
@config_option
@json_option
@click.argument("archives", nargs=-1, metavar="[ARCHIVE]...")
def verify(config: Path, as_json: bool, archives: tuple[str, ...]) -> int:
    """Read every archived file back: digests, counts, Merkle roots, manifests, ledger; and look for added files."""
    from retention.cli.show import counted
    from retention.disposition.catalogue import every_archive, remember, verify_archives

    engine = open_engine(config, policies=False)
    names = archives or every_archive(engine)
    report = verify_archives(engine, names)
    remember(engine, names, report)
    if as_json:
        print_json(report.to_json())
    else:
        for finding in report.findings:
            click.echo(finding, err=True)
        batches = counted(report.batches, "batch", "batches")
        told = f"{counted(report.rows, 'row')} in {counted(report.files, 'file')} of {batches}"
        were, are = ("was", "is") if report.rows == 1 else ("were", "are")
        click.echo(f"{told} {were} to be there; not all {are}." if report.findings else f"{told} {were} read back.")
        if report.findings:
            click.echo(f"The archive is NOT what was written: {counted(len(report.findings), 'finding')}.", err=True)
        else:
            click.echo("Everything is as it was written.")
    return EvidenceBroken.exit_status if report.findings else 0


@archive.command(
    epilog=exits(
        {
            3: "restored, but for columns that the table has no more",
            4: "refused: the table cannot be handled safely",
        }
    ),
    short_help="Bring archived records back into the database.",
)
@config_option
@json_option
@yes_option
@click.option("--run", "run_id", metavar="RUN", help="Everything that this run archived.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The record with this key; may be repeated.")
@click.option("--where", "where", multiple=True, metavar="COLUMN=VALUE", help="Every such record (repeated: and).")
@click.option("--class", "address", metavar="CLASS", help="Of this class; not needed where there is one.")
@click.option("--reason", required=True, metavar="TEXT", help="Why the records are needed again.")
def restore(
    config: Path,
    as_json: bool,
    yes: bool,
    run_id: str | None,
    keys: tuple[str, ...],
    where: tuple[str, ...],
    address: str | None,
    reason: str,
) -> int:
    """Bring archived records back into the database, equal by value, with their keys, and put them under a hold.

    Say one of --run, --key or --where. Nothing that is there is overwritten: a record whose key exists is left alone and
    counted. The hold keeps the next run from taking the records again; release it when they are no longer needed.
    """
    from retention.cli.show import counted
    from retention.disposition.restore import choose
    from retention.disposition.restore import restore as restore_records

    must_be_asked(yes=yes, as_json=as_json)
    engine = open_engine(config, policies=False)
    choice = choose(engine, run=run_id, keys=keys, where=where, address=known_class(engine, address))
    chosen = f"{counted(choice.count, 'archived record')} of {', '.join(choice.classes)}"
    if not confirmed(f"Restore {chosen}?", yes=yes):
        return 0
    results = restore_records(engine, choice, reason=reason)
    status = 3 if any(one.unplaced for one in results) else 0
    if as_json:
        print_json([one.to_json() for one in results])
        return status
    for one in results:
        rows = counted(one.dependent_rows, "dependent row")
        equal = "equal in the columns that the table has" if one.unplaced else "equal"
        click.echo(f"{one.records}: {counted(one.restored, 'record')} restored with {rows}, and compared {equal}.")
        if one.already_there:
            click.echo(f"  Already there, and left alone: {one.already_there:,}.")
        if one.hold:
            click.echo(f"  Held by {one.hold}, so that the next run does not take them again.")
        if one.unplaced:
            click.echo(f"  Today's table has no column for {', '.join(one.unplaced)}: it stays in the archive.")
    return status


@archive.command(
    epilog=exits(
        {
            3: "partly done: the archive itself still keeps some copies (Object Lock)",
            4: "refused: a hold is not yet in force",
        }
    ),
    short_help="Destroy the copies whose `keep` is over.",
)
@config_option
@json_option
@yes_option
@click.argument("archives", nargs=-1, metavar="[ARCHIVE]...")
def destroy(config: Path, as_json: bool, yes: bool, archives: tuple[str, ...]) -> int:
    """Destroy the archived copies whose `keep` is over and that no hold covers; the ledger keeps the proof.

    What the archive's own lock (Object Lock on S3) still keeps is named, and stays.
    """
    from retention.cli.show import counted
    from retention.disposition.destroy import destroy as destroy_batches
    from retention.disposition.destroy import plan_destruction

    engine = open_engine(config)
    plans = plan_destruction(engine, archives or tuple(engine.project.config.archives))
    for plan in plans if not as_json else ():
        due = f"{counted(plan.rows, 'record')} in {counted(len(plan.due), 'batch', 'batches')}"
        held = f", {counted(len(plan.held), 'more batch is', 'more batches are')} held" if plan.held else ""
        click.echo(f"{plan.archive}: {due} are past their time{held}.")
    if not any(plan.due or plan.started for plan in plans):
        if as_json:
            print_json([])
        return 0
    must_be_asked(yes=yes, as_json=as_json)
    if not confirmed("Destroy these archive copies for good?", yes=yes):
        return 0
    results = [destroy_batches(engine, plan) for plan in plans]
    status = 3 if any(one.locked for one in results) else 0
    if as_json:
        print_json([one.to_json() for one in results])
        return status
    for one in results:
        destroyed = counted(one.destroyed, "batch", "batches")
        locked = f", {len(one.locked):,} locked" if one.locked else ""
        click.echo(f"{one.archive}: {destroyed} destroyed, {one.held:,} held{locked}. Run {one.run}.")
        for kept in one.locked:
            click.echo(f"  {kept}", err=True)
    return status
