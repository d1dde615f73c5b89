"""`retention archive`: what was archived, whether it is all there, bringing it back, and its end."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.options import config_option, json_option, open_engine, print_json, yes_option
from retention.errors import EvidenceBroken, InputError


@click.group()
def archive() -> None:
    """List, show, verify, restore and destroy what was archived.

    The files are Parquet; DuckDB, pandas and Polars read them as they are.
    """


@archive.command("list")
@config_option
@json_option
@click.option("--run", "run_id", help="Only this run's files.")
@click.option("--class", "address", help="Only this class's files.")
def list_(config: Path, as_json: bool, run_id: str | None, address: str | None) -> None:
    """List the archived batches, oldest first."""
    from retention.disposition.catalogue import archived_batches

    found = archived_batches(open_engine(config), run=run_id, records=address)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    if not found:
        click.echo("Nothing is archived.")
        return
    from retention.cli.show import console, grid

    rows = [
        (
            one.batch,
            one.records,
            one.policy,
            one.rows,
            one.dependent_rows,
            one.deleted_at[:16].replace("T", " "),
            (one.destroyed_at and "destroyed") or one.destroy_after or "kept for ever",
            f"{one.archive}:{one.manifest}",
        )
        for one in found
    ]
    out = console()
    out.print(
        grid(
            "batch",
            "class",
            "policy",
            "records",
            "dependents",
            "deleted (UTC)",
            "kept until",
            "manifest",
            rows=rows,
            right=(3, 4),
        ),
        soft_wrap=True,
    )
    out.print(f"{sum(one.rows for one in found):,} records in {len(found):,} batches.")


@archive.command()
@config_option
@json_option
@click.argument("batch_id", metavar="BATCH")
def show(config: Path, as_json: bool, batch_id: str) -> None:
    """Show one batch's manifest: files, columns, digests, and the rule it went under."""
    from retention.disposition.catalogue import manifest_of

    manifest = manifest_of(open_engine(config), batch_id)
    if as_json:
        click.echo(manifest.to_bytes().decode())
        return
    from retention.cli.show import console, grid

    out = console()
    rows = [
        ("batch", manifest.batch),
        ("run", manifest.run),
        ("class", f"{manifest.source}.{manifest.record_class}"),
        ("policy", manifest.policy),
        ("mandate", manifest.mandate or "none given"),
        ("as of", manifest.as_of.isoformat()),
        ("written", manifest.written_at.isoformat()),
    ]
    out.print(grid("", "", rows=rows))
    for file in manifest.files:
        out.print(f"\n{file.path}: {file.rows:,} rows of {file.table}, {file.bytes:,} bytes, key {', '.join(file.key)}")
        out.print(f"SHA-256 {file.sha256}\nMerkle root {file.merkle_root}")
        out.print(
            grid("column", "type", "travels as", rows=[(one.name, one.type, one.travels) for one in file.columns])
        )


@archive.command()
@config_option
@json_option
@click.argument("archives", nargs=-1, metavar="[ARCHIVE]...")
def verify(config: Path, as_json: bool, archives: tuple[str, ...]) -> None:
    """Read every archived file back: digests, counts, Merkle roots, manifests, ledger; and look for added files.

    Exit status 1 if anything is not as it was written.
    """
    from retention.disposition.catalogue import verify_archives

    engine = open_engine(config)
    report = verify_archives(engine, archives or tuple(engine.project.config.archives))
    if as_json:
        print_json(report.to_json())
    else:
        for finding in report.findings:
            click.echo(finding, err=True)
        click.echo(
            f"{report.batches:,} batches with {report.files:,} files and {report.rows:,} rows read back: "
            + (f"{len(report.findings):,} findings." if report.findings else "everything is as it was written.")
        )
    if report.findings:
        raise SystemExit(EvidenceBroken.exit_status)


@archive.command()
@config_option
@json_option
@yes_option
@click.option("--run", "run_id", help="Everything that this run archived.")
@click.option("--key", "keys", multiple=True, help="One record by its key; may be repeated.")
@click.option(
    "--where", "where", multiple=True, help="Records with this 'column=value' in the archive (repeated: and)."
)
@click.option("--class", "address", help="The class of --key and --where; not needed where there is only one.")
@click.option("--reason", required=True, help="Why the records are needed again.")
def restore(
    config: Path,
    as_json: bool,
    yes: bool,
    run_id: str | None,
    keys: tuple[str, ...],
    where: tuple[str, ...],
    address: str | None,
    reason: str,
) -> None:
    """Bring archived records back into the database, equal by value, with their keys, and put them under a hold.

    Nothing that is there is overwritten: a record whose key exists is left alone and counted. The hold keeps the next
    run from taking the records again; release it when they are no longer needed.
    """
    from retention.disposition.restore import choose
    from retention.disposition.restore import restore as restore_records

    engine = open_engine(config)
    choice = choose(engine, run=run_id, keys=keys, where=where, address=address)
    if not as_json:
        click.echo(f"{choice.count:,} archived records of {', '.join(choice.classes)} are chosen.")
    if not yes:
        _confirm("Restore them?")
    results = restore_records(engine, choice, reason=reason)
    if as_json:
        print_json([one.to_json() for one in results])
        return
    for one in results:
        click.echo(
            f"{one.records}: {one.restored:,} records restored with {one.dependent_rows:,} dependent rows, compared equal; "
            f"{one.already_there:,} were there already and were left alone."
        )
        if one.hold:
            click.echo(f"  They are under hold {one.hold}.")
        if one.unplaced:
            click.echo(
                f"  Today's table has no column for {', '.join(one.unplaced)}: those values stay in the archive."
            )


@archive.command()
@config_option
@json_option
@yes_option
@click.argument("archives", nargs=-1, metavar="[ARCHIVE]...")
def destroy(config: Path, as_json: bool, yes: bool, archives: tuple[str, ...]) -> None:
    """Destroy the archived copies whose `keep` is over and that no hold covers; the ledger keeps the proof."""
    from retention.disposition.destroy import destroy as destroy_batches
    from retention.disposition.destroy import plan_destruction

    engine = open_engine(config)
    plans = plan_destruction(engine, archives or tuple(engine.project.config.archives))
    if not as_json:
        for plan in plans:
            click.echo(
                f"{plan.archive}: {plan.rows:,} records in {len(plan.due):,} batches are past their time"
                f", {len(plan.held):,} more batches are held."
            )
    if not any(plan.due or plan.started for plan in plans):
        if as_json:
            print_json([])
        return
    if not yes:
        _confirm("Destroy these archive copies for good?")
    results = [destroy_batches(engine, plan) for plan in plans]
    if as_json:
        print_json([one.to_json() for one in results])
        return
    for one in results:
        click.echo(f"{one.archive}: {one.destroyed:,} batches destroyed, {one.held:,} held. Run {one.run}.")


def _confirm(question: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise InputError("there is nobody to ask for confirmation", hint="add --yes")
    click.confirm(question, abort=True)
