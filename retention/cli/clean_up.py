"""The whole of a clean-up: recover, plan, ask, run policy by policy. `retention run` and the demo do it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from retention.cli.options import confirmed
from retention.cli.progress import Progress
from retention.cli.show import console, counted, local, show_plan
from retention.disposition.holding import confirm_pending
from retention.disposition.plan import Plan, make_plan
from retention.disposition.recover import recover
from retention.disposition.run import RunResult, begin, perform, unfinished
from retention.errors import InDoubt, InputError, RetentionError
from retention.ledger.runs import Run, RunState
from retention.trace import doing

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.policy.policy import Policy


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """What was planned, and what became of it."""

    plan: Plan
    results: tuple[RunResult, ...]
    #: runs that a limit refused, or that wait for approval
    refused: tuple[Run, ...]
    #: policy and error; such a policy does not keep the others from running
    errors: tuple[tuple[str, RetentionError], ...]
    #: somebody stopped it
    stopped: bool

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.errors and not self.refused:
            return 3 if self.stopped else 0
        if self.results:
            return 3
        return self.errors[0][1].exit_status if self.errors else 4

    def to_json(self) -> dict[str, object]:
        """The fields as `run --json` prints them."""
        return {
            "runs": [result.to_json() for result in self.results],
            "refused": [
                {"run": one.id, "policy": one.policy, "state": one.state.value, "reason": one.reason}
                for one in self.refused
            ],
            "errors": [
                {"policy": name, "code": error.code, "message": error.message, "hint": error.hint}
                for name, error in self.errors
            ],
            "stopped": self.stopped,
        }


def clean_up(engine: Engine, policies: Sequence[Policy], as_of: datetime, *, yes: bool, quiet: bool) -> CleanUp:
    """Recover, plan as of ``as_of`` (aware), show the plan and ask, then run. ``quiet`` shows nothing and needs ``yes``.

    A policy whose table, database or run stands still does not keep the others from running. Raises InputError where a
    file does not fit its database: then nothing runs, because the policy that cannot be read may be the one that retains.
    """
    _settle(engine)
    confirm_pending(engine)
    errors: dict[str, RetentionError] = {}
    going_on: dict[str, Run] = {}
    for policy in policies:
        try:
            run = unfinished(engine, policy)
        except RetentionError as error:
            errors[policy.name] = error
        else:
            going_on |= {} if run is None else {policy.name: run}
    plan = _plan(
        engine, [one for one in policies if one.name not in errors and one.name not in going_on], as_of, errors
    )
    if not quiet:
        _show(engine, plan, list(going_on.values()))
    agreed = _agreed(plan, policies, going_on, yes=yes)
    results: list[RunResult] = []
    refused: list[Run] = []
    with stop_on_signals() as stop:
        for policy in policies if agreed else ():
            if stop.is_set():
                break
            if policy.name in errors:
                continue
            try:
                made = going_on.get(policy.name)
                if made is None:
                    [planned] = [one for one in plan.policies if one.policy == policy.name]
                    made = begin(engine, policy, planned, as_of)
                if made.state in (RunState.REFUSED, RunState.AWAITING_APPROVAL):
                    refused.append(made)
                    continue
                with Progress(policy.name, made, quiet=quiet) as progress:
                    results.append(perform(engine, made, progress=progress.batch, stop=stop))
            except RetentionError as error:
                errors[policy.name] = error
    return CleanUp(
        plan=plan,
        results=tuple(results),
        refused=tuple(refused),
        errors=tuple(errors.items()),
        stopped=stop.is_set(),
    )


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


def _settle(engine: Engine) -> None:
    """Resolve what is in doubt. What only a person can judge stops its own policy, where `unfinished` raises it again."""
    try:
        for settled in recover(engine):
            click.echo(f"Batch {settled.batch.id} was in doubt; it is {settled.state.value}.", err=True)
    except InDoubt as doubt:
        click.echo(doubt.message, err=True)


def _plan(engine: Engine, policies: Sequence[Policy], as_of: datetime, errors: dict[str, RetentionError]) -> Plan:
    """The plan of every class that can be read; the policies of the others go to ``errors``."""
    plans: list[Plan] = []
    for address in dict.fromkeys(policy.records for policy in policies):
        of_class = [policy for policy in policies if policy.records == address]
        try:
            with doing("plan", records=address):
                plans.append(make_plan(engine, of_class, as_of))
        except InputError:
            raise
        except RetentionError as error:
            errors |= {policy.name: error for policy in of_class}
    return Plan(
        policies=tuple(sorted((one for plan in plans for one in plan.policies), key=lambda one: one.policy)),
        uncovered={address: count for plan in plans for address, count in plan.uncovered.items()},
    )


def _show(engine: Engine, plan: Plan, going_on: list[Run]) -> None:
    zone = engine.project.config.timezone
    for one in going_on:
        if one.state is RunState.APPROVED:
            click.echo(f"{one.policy}: run {one.id} was approved; it is done as of {local(one.as_of, zone)}.\n")
        else:
            click.echo(f"{one.policy}: run {one.id} was interrupted; it goes on, as of {local(one.as_of, zone)}.\n")
    show_plan(console(), plan, zone)


def _agreed(plan: Plan, policies: Sequence[Policy], going_on: dict[str, Run], *, yes: bool) -> bool:
    """Ask about what would go now: not about plans that a limit refuses or that wait for approval first."""
    waiting = {policy.name for policy in policies if policy.approval}
    records = sum(
        one.due for one in plan.policies if one.policy not in waiting and not any(use.exceeded for use in one.limits)
    )
    if not records and not going_on:
        return True  # nothing would be deleted; that the policies ran, and what was refused, is written down
    more = " and finish what was interrupted" if going_on else ""
    return confirmed(f"Archive and delete {counted(records, 'record')}{more}?", yes=yes)
