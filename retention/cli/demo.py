"""`retention demo`: the main job on a sample database, told as a story."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from retention.demo.project import ProjectFacts
    from retention.disposition.engine import Engine
    from retention.disposition.plan import Plan


@click.command()
@click.option(
    "--into",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("retention-demo"),
    show_default="./retention-demo",
    help="The folder of the project that the demo makes; an earlier demo there is replaced.",
)
@click.option("--postgres", is_flag=True, help="On a PostgreSQL that the demo starts from its pip package.")
def demo(folder: Path, postgres: bool) -> None:
    """Try it: a CRM database of 200,000 records, four policies, a hold, and the quarterly clean-up.

    It leaves a working project folder behind, in which every other command runs.
    """
    from retention.cli.options import open_engine
    from retention.cli.run import clean_up
    from retention.cli.show import console
    from retention.demo.project import make_project
    from retention.disposition import holding
    from retention.disposition.plan import make_plan
    from retention.holds.scope import Subject
    from retention.ledger.control import Control

    started = time.monotonic()
    from datetime import UTC, datetime

    out = console()
    _step(out, "A CRM database to practise on")
    facts = make_project(folder, today=datetime.now(UTC), postgres=postgres)
    out.print(
        f"{facts.records:,} activities of {facts.customers:,} customers over seven years, with {facts.comments:,} comments, "
        f"in {'a PostgreSQL of its own' if postgres else 'crm.db'}."
    )
    engine = open_engine(facts.config_path)
    Control.upgrade(engine.project.config.control)

    _step(out, "Validate: what the policies say, and whether the database has what they name")
    problems = engine.problems()
    for problem in problems:
        out.print(str(problem))
    if problems:
        raise SystemExit(2)
    for policy in engine.policies():
        out.print(f"  {policy.name}: {policy.title}", highlight=False)

    _step(out, "A compliance hold, before anything is deleted")
    placed = holding.place(
        engine,
        matter=facts.hold.matter,
        reason=facts.hold.reason,
        scope=Subject(subject=facts.hold.subject, value=facts.hold.value),
    )
    out.print(
        f"{placed.hold.id} is in force: every record of {facts.hold.subject} {facts.hold.value}. {facts.hold.reason}."
    )

    _step(out, "Plan, then run the quarterly clean-up: archive, verify, delete")
    as_of = engine.now()
    before = make_plan(engine, engine.policies(), as_of)
    status = clean_up(engine, engine.policies(), as_of, yes=True, as_json=False)
    if status != 0:
        raise SystemExit(status)
    _report(out, engine, facts, before, as_of, time.monotonic() - started)


def _report(out: Console, engine: Engine, facts: ProjectFacts, before: Plan, as_of: object, seconds: float) -> None:
    from retention.cli.show import grid
    from retention.disposition.catalogue import verify_archives
    from retention.disposition.evidence import verify_ledger

    _step(out, "Report")
    rows = [
        (
            plan.policy,
            plan.due,
            plan.not_expired,
            plan.kept_by_other,
            plan.held,
            plan.no_clock,
            plan.future_clock,
            plan.matched,
        )
        for plan in before.policies
    ]
    out.print(
        grid(
            "policy",
            "went",
            "not expired",
            "kept by another",
            "held",
            "no clock",
            "future",
            "matched",
            rows=rows,
            right=range(1, 8),
        )
    )
    for address, records in before.uncovered.items():
        out.print(f"{records:,} records of {address} are covered by no policy, and were kept.")
    archive = verify_archives(engine, tuple(engine.project.config.archives))
    ledger = verify_ledger(engine)
    folder = engine.project.config.folder
    out.print(
        f"\nThe archive in {folder / 'archive'} was read back: {archive.batches:,} batches, {archive.rows:,} rows, "
        + ("everything verifies." if not archive.findings else f"{len(archive.findings)} FINDINGS.")
    )
    out.print(
        f"The ledger has {ledger.entries:,} entries, "
        + ("unbroken." if not ledger.findings else f"{len(ledger.findings)} FINDINGS.")
    )
    out.print(f"All of it took {seconds:.1f} seconds.")
    if archive.findings or ledger.findings:
        raise SystemExit(1)
    _step(out, "Look further")
    out.print(f"  cd {_shown(folder)}")
    for command, what in _commands(engine, facts):
        out.print(f"  {command:<62} {what}", soft_wrap=True)
    if facts.server is not None:
        out.print(
            f"\nPostgreSQL keeps running. Stop it:\n  {facts.server.stop}\nStart it again:\n  {facts.server.start}",
            soft_wrap=True,
        )


def _commands(engine: Engine, facts: ProjectFacts) -> list[tuple[str, str]]:
    from retention.disposition.catalogue import archived_batches, manifest_of

    deleted = manifest_of(engine, archived_batches(engine)[0].batch).key_least
    return [
        ("retention plan --as-of 2030-01-01", "what will go by then"),
        (f"retention explain crm.activities {deleted}", "a deleted record: when, why, where, with its proof"),
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
