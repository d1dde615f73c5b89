"""Options that several commands share, what their words become, and how the person at the terminal is asked."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from retention.errors import InputError, NotFound

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from retention.disposition.engine import Engine

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def config_option(command: Decorated) -> Decorated:
    """`--config FILE`: policies/ and relative paths lie beside it."""
    return click.option(
        "--config",
        "config",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("retention.yaml"),
        help="The project's retention.yaml; the one here if left out.",
    )(command)


def json_option(command: Decorated) -> Decorated:
    """`--json`: one JSON document on standard output, and errors as JSON on standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def yes_option(command: Decorated) -> Decorated:
    """`--yes`: do not ask."""
    return click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(command)


def as_of_option(command: Decorated) -> Decorated:
    """`--as-of WHEN`: judge expiry at another time than now."""
    return click.option("--as-of", "as_of", metavar="WHEN", help="Judge as of this day (2026-10-01) or time, not now.")(
        command
    )


def last_option(told: str) -> Callable[[Decorated], Decorated]:
    """`--last N`: how many of the newest. A number that no database can count to is a mistake, and told as one."""
    return click.option("--last", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help=told)


def open_engine(config: Path, *, policies: bool = True, lenient: bool = False) -> Engine:
    """Load the project and return its engine. Raises PolicyFilesError with every problem of every file.

    ``policies`` False reads retention.yaml alone: a mistake in a policy must keep nobody from placing a hold, verifying
    evidence or looking into the archive. ``lenient`` reads policies only if they are right: a mistake must keep nobody from
    stopping what goes on under those before.
    """
    from retention.config import load_project, load_without_policies
    from retention.disposition.engine import Engine

    return Engine(load_project(config, lenient=lenient) if policies else load_without_policies(config))


def known_class(engine: Engine, address: str | None) -> str | None:
    """The class that an option names, or None where it is left out. Raises NotFound with the nearest name."""
    from retention.policy.suggest import nearest

    classes = engine.project.config.classes
    if address is not None and address not in classes:
        raise NotFound(f'there is no record class "{address}"', hint=nearest(address, classes))
    return address


def parse_when(text: str | None, zone: ZoneInfo) -> datetime:
    """The instant that ``--as-of`` names, UTC; now where it is left out. Raises InputError."""
    from retention.disposition import clock
    from retention.policy.calendar import day_start, instant_of

    if text is None:
        return clock.now()
    try:
        if not re.match(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text
        ):  # weeks and days of the year are ISO too, and nobody reads them
            raise ValueError
        if len(text) == 10:
            return day_start(date.fromisoformat(text), zone)
        moment = datetime.fromisoformat(text)
        return instant_of(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f'--as-of "{text}" is neither a day nor a time', hint="write 2026-10-01 or 2026-10-01T02:00:00+08:00"
        ) from None


def parse_day(text: str | None, option: str) -> date | None:
    """The day that an option names. Raises InputError."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f'{option} "{text}" is not a day', hint="write it as 2026-10-01") from None


def must_be_asked(*, yes: bool, as_json: bool) -> None:
    """Raise InputError, before anything is done, where a confirmation is needed and nobody can be asked for it."""
    if yes:
        return
    if as_json:
        raise InputError("--json cannot ask for confirmation", hint="add --yes")
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError("there is nobody to ask for confirmation", hint="add --yes to do what would be asked")


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person at the terminal agrees; says so where not."""
    if yes or click.confirm(question):
        return True
    click.echo("Nothing was done.")
    return False


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
