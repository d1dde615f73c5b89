"""`retention demo`: the main job on a sample database, told as a story."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import exits

if TYPE_CHECKING:
    from rich.console import Console

    from retention.cli.clean_up import CleanUp
    from retention.demo.project import ProjectFacts
    from retention.disposition.engine import Engine
    from retention.holds.hold import Hold


@click.command(epilog=exits({2: "bad input, such as a folder that holds something else; nothing ran"}))
@click.option(
    "--into",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("retention-demo"),
    show_default=True,
    help="The project's folder; an earlier demo there is replaced.",
)
@click.option("--postgres", is_flag=True, help="On a PostgreSQL that the demo starts (from pip), not SQLite.")
@click.option(
    "--worker", is_flag=True, help="By the scheduled worker: beat, a broker, two workers, a clock set forward."
)
def demo(folder: Path, postgres: bool, worker: bool) -> int:
    """Try it: a CRM database of 200,000 records, four policies, a hold, and the quarterly clean-up.

    It leaves a working project folder behind, in which every other command runs.
    """
    from datetime import UTC, datetime

    from retention.cli.clean_up import clean_up
    from retention.cli.demo_worker import fire_next_slot, show_fired, show_left
    from retention.cli.options import open_engine
    from retention.cli.run import tell
    from retention.cli.show import console
    from retention.demo.project import make_project
    from retention.disposition import holding
    from retention.holds.describe import describe
    from retention.holds.scope import Subject
    from retention.ledger.control import Control

    started = time.monotonic()
    out = console()
    _step(out, "1. A CRM database to practise on")
    facts = make_project(folder, today=datetime.now(UTC), postgres=postgres)
    out.print(
        f"{facts.records:,} activities of {facts.customers:,} customers over seven years, with {facts.comments:,} comments, "
        f"in {'a PostgreSQL of its own' if postgres else 'crm.db'}."
    )
    engine = open_engine(facts.config_path)
    Control.upgrade(engine.project.config.control)

    _step(out, "2. Validate: what the policies say, and whether the database has what they name")
    problems = engine.problems()
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        return 2
    for policy in engine.policies():
        out.print(f"  {policy.name}: {policy.title}")

    _step(out, "3. A compliance hold, before anything is deleted")
    hold = holding.place(
        engine,
        matter=facts.hold.matter,
        reason=facts.hold.reason,
        scope=Subject(subject=facts.hold.subject, value=facts.hold.value),
    ).hold
    out.print(f"{hold.id} is {hold.state.value} and covers {describe(hold.scope)}.\n{hold.reason}.")

    if worker:
        _step(out, "4. The quarterly slot comes: beat opens it, two workers archive, verify and delete")
        fired = fire_next_slot(out, engine)
        _step(out, "Report")
        went = show_fired(out, fired)
        out.print(f"{went:,} of {facts.records:,} records went; one run a slot, and each record once.")
        show_left(out, engine, fired)
        return _evidence(out, engine, facts, started)

    _step(out, "4. Plan, then run the quarterly clean-up: archive, verify, delete")
    done = clean_up(engine, engine.policies(), engine.now(), yes=True, quiet=False)
    tell(done)
    if done.status != 0:
        return done.status
    return _report(out, engine, facts, hold, done, started)


def _report(out: Console, engine: Engine, facts: ProjectFacts, hold: Hold, done: CleanUp, started: float) -> int:
    _step(out, "Report")
    went = sum(one.deleted for one in done.results)
    comments = sum(one.dependent_rows for one in done.results)
    out.print(f"{went:,} of {facts.records:,} records went, with {comments:,} comments on them.")
    out.print(f"{facts.records - went:,} records stayed. Policy by policy, and why:\n")
    _table(out, done)
    out.print("A record that two policies cover is counted by each; it goes once, when both let it go.")
    out.print(f"\nHeld: {hold.id}, {hold.reason}.")
    for address, records in done.plan.uncovered.items():
        out.print(f"No policy covers {records:,} more records of {address}; what no rule names is kept.")
    return _evidence(out, engine, facts, started)


def _evidence(out: Console, engine: Engine, facts: ProjectFacts, started: float) -> int:
    from retention.cli.show import counted
    from retention.disposition.catalogue import verify_archives
    from retention.disposition.evidence import verify_ledger

    archive = verify_archives(engine, tuple(engine.project.config.archives))
    ledger = verify_ledger(engine)
    folder = engine.project.config.folder
    out.print(f"\nArchive: {_shown(folder / 'archive')}, Parquet files that DuckDB and pandas read as they are.")
    _verdict(
        out,
        f"  {counted(archive.rows, 'row')} in {counted(archive.batches, 'batch', 'batches')} were read back",
        archive.findings,
    )
    out.print(f"Ledger: {counted(ledger.entries, 'entry', 'entries')}, each chained to the one before.")
    _verdict(out, "  The chain was verified", ledger.findings)
    out.print(f"All of this took {time.monotonic() - started:.0f} seconds.")
    if archive.findings or ledger.findings:
        return 1
    _step(out, "Look further")
    commands = [(f"cd {_shown(folder)}", ""), *_commands(engine)]
    width = max(len(command) for command, _ in commands)
    for command, what in commands:
        click.echo(f"  {command:<{width}}  {what}".rstrip())
    if facts.server is not None:
        click.echo(f"\nPostgreSQL keeps running. Stop it with\n  {facts.server.stop}")
        click.echo(f"and start it again with\n  {facts.server.start}")
    return 0


def _table(out: Console, done: CleanUp) -> None:
    from retention.cli.show import grid

    went = {one.policy: one.deleted for one in done.results}
    rows = [
        (
            plan.policy,
            went[plan.policy],
            plan.not_expired,
            plan.kept_by_other,
            plan.held,
            plan.no_clock,
            plan.future_clock,
            plan.matched,
        )
        for plan in done.plan.policies
    ]
    names = ("policy", "went", "not expired", "another policy", "held", "no clock", "future clock", "matched")
    out.print(grid(*names, rows=rows, right=range(1, 8)))


def _verdict(out: Console, what: str, findings: tuple[str, ...]) -> None:
    if not findings:
        out.print(f"{what}: everything is as it was written.")
        return
    out.print(f"[bold red]{what}, and {len(findings):,} findings were made:[/]")
    for finding in findings:
        click.echo(f"  {finding}", err=True)


def _commands(engine: Engine) -> list[tuple[str, str]]:
    from retention.disposition.catalogue import archived_batches, manifest_of

    deleted = manifest_of(engine, archived_batches(engine)[0].batch).key_least
    return [
        ("retention plan --as-of 2030-01-01", "what will go by then"),
        (f"retention explain crm.activities {deleted}", "a deleted record: when, why, where, with proof"),
        ("retention hold list", "what may not be deleted"),
        ("retention archive list", "what was archived"),
        ("retention archive verify", "read it all back"),
        (f'retention archive restore --key {deleted} --reason "asked for"', "bring a record back"),
        ("retention audit show", "what was done"),
    ]


def _shown(folder: Path) -> Path:
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder


def _step(out: Console, title: str) -> None:
    out.print(f"\n[bold]{title}[/]")
