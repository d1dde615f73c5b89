"""`retention run`, `retention approve` and `retention recover`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.options import (
    as_of_option,
    config_option,
    json_option,
    open_engine,
    parse_when,
    print_json,
    yes_option,
)
from retention.errors import InputError, RetentionError

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.disposition.plan import Plan
    from retention.disposition.run import RunResult
    from retention.ledger.runs import Run
    from retention.policy.policy import Policy


@click.command()
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@config_option
@as_of_option
@yes_option
@json_option
def run(policies: tuple[str, ...], config: Path, as_of: str | None, yes: bool, as_json: bool) -> None:
    """Archive, then delete, what is expired and not held.

    First it finishes what an interrupted run left behind; then it shows the plan, asks, and does exactly that plan. Every
    record is in the archive, read back and verified, before it leaves the database. Ctrl-C stops after the batch in
    hand; the next run goes on from there.
    """
    from retention.disposition.run import check_as_of

    if as_json and not yes:
        raise InputError("--json cannot ask for confirmation", hint="add --yes")
    engine = open_engine(config)
    when = parse_when(as_of, engine.project.config.timezone)
    check_as_of(engine, when)
    sys.exit(clean_up(engine, engine.policies(policies), when, yes=yes, as_json=as_json))


def clean_up(engine: Engine, policies: list[Policy], as_of: datetime, *, yes: bool, as_json: bool) -> int:
    """The whole of `retention run`; returns the exit status. A policy that fails does not keep the others from running."""
    from retention.cli.progress import Progress
    from retention.disposition.holding import confirm_pending
    from retention.disposition.plan import make_plan
    from retention.disposition.recover import recover
    from retention.disposition.run import begin, perform, unfinished
    from retention.ledger.runs import RunState

    for settled in recover(engine):
        click.echo(f"Batch {settled.batch.id} was in doubt; it is {settled.state.value}.", err=True)
    confirm_pending(engine)
    going_on = {policy.name: unfinished(engine, policy) for policy in policies}
    plan = make_plan(engine, [policy for policy in policies if going_on[policy.name] is None], as_of)
    if not as_json:
        _show(engine, plan, [one for one in going_on.values() if one is not None])
    if not yes and not _confirmed(plan, going_on):
        click.echo("Nothing was done.")
        return 0
    planned = {one.policy: one for one in plan.policies}
    results: list[RunResult] = []
    errors: list[tuple[str, RetentionError]] = []
    refused: list[Run] = []
    with stop_on_signals() as stop:
        for policy in policies:
            if stop.is_set():
                break
            try:
                made = going_on[policy.name] or begin(engine, policy, planned[policy.name], as_of)
                if made.state in (RunState.REFUSED, RunState.AWAITING_APPROVAL):
                    refused.append(made)
                    continue
                with Progress(policy.name, made, quiet=as_json) as progress:
                    results.append(perform(engine, made, progress=progress.batch, stop=stop))
            except RetentionError as error:
                errors.append((policy.name, error))
    if as_json:
        print_json(_document(results, refused, errors))
    else:
        _tell(results, refused, errors)
    return _status(results, refused, errors, stopped=stop.is_set())


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that the batch in hand is finished; a second one ends at once
    (which loses nothing either: recovery finds what was in doubt)."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        click.echo("\nStopping after the batch in hand. Once more ends at once.", err=True)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(engine: Engine, plan: Plan, going_on: list[Run]) -> None:
    from retention.cli.show import console, show_plan

    for one in going_on:
        click.echo(f"{one.policy}: run {one.id} was interrupted; it goes on, as of {one.as_of:%Y-%m-%d %H:%M} UTC.\n")
    show_plan(console(), plan, engine.project.config.timezone)


def _confirmed(plan: Plan, going_on: dict[str, Run | None]) -> bool:
    records = sum(one.due for one in plan.policies)
    more = " and finish what was interrupted" if any(going_on.values()) else ""
    if not sys.stdin.isatty():
        raise InputError("there is nobody to ask for confirmation", hint="add --yes to do what the plan shows")
    return click.confirm(f"Archive and delete {records:,} records{more}?")


def _tell(results: list[RunResult], refused: list[Run], errors: list[tuple[str, RetentionError]]) -> None:
    from retention.cli.main import report

    for result in results:
        rate = f", {result.deleted / result.seconds:,.0f} records a second" if result.deleted and result.seconds else ""
        ended = "" if result.state == "finished" else " so far; the next `retention run` goes on"
        click.echo(
            f"{result.policy}: {result.deleted:,} records archived and deleted"
            f" with {result.dependent_rows:,} dependent rows, {result.held:,} held{rate}{ended}. Run {result.run}."
        )
    for one in refused:
        click.echo(f"{one.policy}: {one.state.value.replace('_', ' ')}: {one.reason}. Run {one.id}.", err=True)
        if one.state.value == "awaiting_approval":
            click.echo(f"  `retention approve {one.id} --reason ...`, then `retention run {one.policy}`", err=True)
    for name, error in errors:
        click.echo(f"{name}:", err=True)
        report(error, as_json=False)


def _document(
    results: list[RunResult], refused: list[Run], errors: list[tuple[str, RetentionError]]
) -> dict[str, object]:
    return {
        "runs": [result.to_json() for result in results],
        "refused": [
            {"run": one.id, "policy": one.policy, "state": one.state.value, "reason": one.reason} for one in refused
        ],
        "errors": [
            {"policy": name, "code": error.code, "message": error.message, "hint": error.hint} for name, error in errors
        ],
    }


def _status(
    results: list[RunResult], refused: list[Run], errors: list[tuple[str, RetentionError]], *, stopped: bool
) -> int:
    if not errors and not refused:
        return 3 if stopped else 0
    if results:
        return 3
    return errors[0][1].exit_status if errors else 4


@click.command()
@click.argument("run_id", metavar="RUN")
@config_option
@click.option("--reason", required=True, help="Why the plan is right.")
def approve(run_id: str, config: Path, reason: str) -> None:
    """Approve the plan of a run whose policy says `approval: required`; the next `retention run` does it."""
    from retention.disposition.run import approve as approve_run

    approved = approve_run(open_engine(config), run_id, reason=reason)
    click.echo(f"Run {approved.id} is approved. `retention run {approved.policy}` does it.")


@click.command()
@config_option
@json_option
def recover(config: Path, as_json: bool) -> None:
    """Resolve what an interrupted run left in doubt, without starting anything. Safe to repeat."""
    from retention.disposition.recover import recover as recover_all

    settled = recover_all(open_engine(config))
    if as_json:
        print_json([{"batch": one.batch.id, "run": one.batch.run_id, "state": one.state.value} for one in settled])
    elif settled:
        for one in settled:
            click.echo(f"Batch {one.batch.id} of run {one.batch.run_id} is {one.state.value}.")
    else:
        click.echo("Nothing was in doubt.")
