"""`retention hold`: what may not be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.exits import MEANINGS, exits
from retention.cli.options import config_option, json_option, open_engine, parse_day, print_json
from retention.errors import RetentionError

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.disposition.holding import Placed
    from retention.holds.hold import Hold


@click.group(epilog=exits(MEANINGS))
def hold() -> None:
    """Place, list, show and release compliance holds.

    Once placing a hold has returned, nothing that it covers is deleted by any path until it is released and the grace
    (`hold_release_grace`) is over: not from the database, not from the archive.
    """


@hold.command(
    epilog=exits({3: "not yet in force everywhere; deletions are refused until then"}),
    short_help="Place a hold; it is in force when this returns.",
)
@config_option
@json_option
@click.option("--matter", required=True, metavar="TEXT", help="The case, audit or request it is for.")
@click.option("--reason", required=True, metavar="TEXT", help="Why these records are needed.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The record with this key; may be repeated.")
@click.option(
    "--keys-from",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Records by a file with one key a line (- for input).",
)
@click.option("--tag", metavar="TAG", help="Every record with this tag.")
@click.option("--where", "where", multiple=True, metavar="COLUMN=VALUE", help="Every such record (repeated: and).")
@click.option("--subject", metavar="NAME=VALUE", help="Every record of a person, as customer=42.")
@click.option("--class", "address", metavar="CLASS", help="Every record of this class, or those above in it.")
@click.option("--everything", is_flag=True, help="Every record of every class.")
@click.option("--from", "first", metavar="DATE", help="Only records created on this day or later.")
@click.option("--to", "last", metavar="DATE", help="Only records created on this day or earlier.")
def place(
    config: Path,
    as_json: bool,
    matter: str,
    reason: str,
    keys: tuple[str, ...],
    keys_from: Path | None,
    tag: str | None,
    where: tuple[str, ...],
    subject: str | None,
    address: str | None,
    everything: bool,
    first: str | None,
    last: str | None,
) -> int:
    """Place a hold on what one of --key, --keys-from, --tag, --where, --subject, --class or --everything covers.

    It returns when the hold is in force, and says how many records it covers; or which database could not confirm it
    yet. A composite key is written as a JSON list. --class also narrows --key, --tag and --where to one class.
    """
    from retention.cli.hold_scope import read_scope
    from retention.disposition import holding

    engine = open_engine(config, policies=False)
    scope, texts = read_scope(
        engine,
        keys=keys,
        keys_from=keys_from,
        tag=tag,
        where=where,
        subject=subject,
        address=address,
        everything=everything,
    )
    placed = holding.place(
        engine,
        matter=matter,
        reason=reason,
        scope=scope,
        keys=texts,
        first_day=parse_day(first, "--from"),
        last_day=parse_day(last, "--to"),
    )
    if as_json:
        print_json(_placed_facts(engine, placed))
    else:
        _tell(engine, placed)
    return 3 if placed.unconfirmed else 0


@hold.command(
    epilog=exits({3: "some database could not be reached again"}), short_help="Try again to confirm pending holds."
)
@config_option
@json_option
def confirm(config: Path, as_json: bool) -> int:
    """Try again to confirm the holds that are pending because a database could not be reached."""
    from retention.disposition import holding

    engine = open_engine(config, policies=False)
    answers = holding.confirm_pending(engine)
    if as_json:
        print_json([_placed_facts(engine, placed) for placed in answers])
    else:
        for placed in answers:
            _tell(engine, placed)
        if not answers:
            click.echo("No hold is pending.")
    return 3 if any(placed.unconfirmed for placed in answers) else 0


@hold.command("list", epilog=exits())
@config_option
@json_option
@click.option("--all", "every", is_flag=True, help="Released holds as well.")
def list_(config: Path, as_json: bool, every: bool) -> None:
    """List the holds that protect records now."""
    from retention.ledger import holds as hold_rows

    engine = open_engine(config, policies=False)
    with engine.control.read() as connection:
        found = hold_rows.all_holds(connection)
    now, grace = engine.now(), engine.project.config.hold_release_grace
    shown = [one for one in found if every or one.protects(now, grace)]
    if as_json:
        print_json([_facts(engine, one) for one in shown])
        return
    if not shown:
        click.echo("No hold protects anything now." if found else "No hold has been placed.")
        return
    from retention.cli.show import console, grid

    rows = [
        (one.id, _state(engine, one), one.matter, _scope_words(one), _local(engine, one.placed_at), one.placed_by)
        for one in shown
    ]
    console().print(grid("hold", "state", "matter", "covers", "placed", "by", rows=rows, whole=(0, 4)))


@hold.command(epilog=exits(), short_help="Show one hold, and how many records it covers today.")
@config_option
@json_option
@click.argument("hold_id", metavar="ID")
def show(config: Path, as_json: bool, hold_id: str) -> None:
    """Show one hold: matter, reason, scope, and how many records it covers today."""
    from retention.ledger import holds as hold_rows

    engine = open_engine(config, policies=False)
    with engine.control.read() as connection:
        one = hold_rows.get(connection, hold_id)
    facts = _facts(engine, one) | _coverage(engine, one)
    if as_json:
        print_json(facts)
        return
    from retention.cli.show import console, grid

    shown = facts | {
        "placed_at": _local(engine, one.placed_at),
        "released_at": None if one.released_at is None else _local(engine, one.released_at),
        "covers": _covers_words(facts),
        "not_counted": None,
    }
    rows = [(name.replace("_", " "), value) for name, value in shown.items() if value is not None]
    console().print(grid("", "", rows=rows, whole=(0,)))


@hold.command(epilog=exits({4: "refused: it was released before"}), short_help="Release a hold; its grace begins.")
@config_option
@json_option
@click.argument("hold_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why the records are no longer needed.")
def release(config: Path, as_json: bool, hold_id: str, reason: str) -> None:
    """Release a hold. What it covered stays for the grace, so that a mistake can be undone by a new hold."""
    from retention.disposition import holding

    engine = open_engine(config, policies=False)
    released = holding.release(engine, hold_id, reason=reason)
    if as_json:
        print_json(_facts(engine, released))
        return
    click.echo(
        f"{released.id} is released. What it covered is still protected until {_protected_until(engine, released)}."
    )


def _tell(engine: Engine, placed: Placed) -> None:
    hold = placed.hold
    if not placed.unconfirmed:
        click.echo(f"{hold.id} is in force: {_scope_words(hold)} ({hold.matter}).")
        click.echo(_covers_words(_coverage(engine, hold)))
        return
    click.echo(f"{hold.id} is written down but NOT YET IN FORCE everywhere; deletions there are refused until it is:")
    for source, why in placed.unconfirmed.items():
        click.echo(f"  {source}: {why}")
    click.echo("Run `retention hold confirm` when it can be reached.")


def _placed_facts(engine: Engine, placed: Placed) -> dict[str, object]:
    counts = {} if placed.unconfirmed else _coverage(engine, placed.hold)
    return _facts(engine, placed.hold) | {"unconfirmed": placed.unconfirmed} | counts


def _coverage(engine: Engine, one: Hold) -> dict[str, object]:
    """``covers``: records of each class; or ``not_counted``: why they cannot be counted now. The hold stands anyway."""
    from retention.disposition.coverage import covered

    try:
        return {"covers": covered(engine, one)}
    except RetentionError as error:
        return {"covers": None, "not_counted": error.message}


def _covers_words(facts: Mapping[str, object]) -> str:
    from retention.cli.show import counted

    covers = facts["covers"]
    if not isinstance(covers, dict):
        return f"How many records it covers cannot be counted now: {facts['not_counted']}"
    if not covers:
        return "It covers no record in the databases today (archived copies it protects too). Is everything in it written right?"
    return "It covers " + ", ".join(f"{counted(n, 'record')} of {name}" for name, n in covers.items()) + " today."


def _local(engine: Engine, moment: datetime) -> str:
    from retention.cli.show import local

    return local(moment, engine.project.config.timezone)


def _protected_until(engine: Engine, one: Hold) -> str | None:
    if one.released_at is None:
        return None
    return _local(engine, one.released_at + engine.project.config.hold_release_grace)


def _state(engine: Engine, one: Hold) -> str:
    until = _protected_until(engine, one)
    if until is None:
        return one.state.value
    still = one.protects(engine.now(), engine.project.config.hold_release_grace)
    return f"released, protects until {until}" if still else "released"


def _facts(engine: Engine, one: Hold) -> dict[str, object]:
    return {
        "id": one.id,
        "state": one.state.value,
        "matter": one.matter,
        "reason": one.reason,
        "scope": _scope_words(one),
        "placed_by": one.placed_by,
        "placed_at": one.placed_at.isoformat(),
        "from": one.first_day and one.first_day.isoformat(),
        "to": one.last_day and one.last_day.isoformat(),
        "released_by": one.released_by,
        "released_at": one.released_at and one.released_at.isoformat(),
        "release_reason": one.release_reason,
        "protects_until": _protected_until(engine, one),
    }


def _scope_words(one: Hold) -> str:
    from retention.holds.describe import describe

    words = describe(one.scope)
    if one.first_day and one.last_day:
        return f"{words}, created from {one.first_day} to {one.last_day}"
    if one.first_day:
        return f"{words}, created on {one.first_day} or later"
    return f"{words}, created on {one.last_day} or earlier" if one.last_day else words
