"""`retention hold`: what may not be deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.cli.options import config_option, json_option, open_engine, parse_day, print_json

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.disposition.holding import Placed
    from retention.holds.hold import Hold


@click.group()
def hold() -> None:
    """Place, list, show and release compliance holds.

    Once placing a hold has returned, nothing that it covers is deleted by any path until it is released and the grace
    (`hold_release_grace`) is over: not from the database, not from the archive.
    """


@hold.command()
@config_option
@json_option
@click.option("--matter", required=True, help="The case, audit or request that the hold is for.")
@click.option("--reason", required=True, help="Why these records are needed.")
@click.option("--key", "keys", multiple=True, help="A record's key (a composite one as a JSON list). May be repeated.")
@click.option(
    "--keys-from",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with one key a line; - for standard input.",
)
@click.option("--tag", help="Every record with this tag.")
@click.option("--where", "where", multiple=True, help="Every record with this 'column=value' (repeated: and).")
@click.option("--subject", help="Every record of a data subject, such as customer=42.")
@click.option(
    "--class", "address", help="Every record of this class; with --key, --tag or --where: only in this class."
)
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
) -> None:
    """Place a hold. It returns when the hold is in force, or says which database could not confirm it yet.

    Say one of --key, --keys-from, --tag, --where, --subject, --class or --everything.
    """
    from retention.cli.hold_scope import read_scope
    from retention.disposition import holding

    engine = open_engine(config)
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
    _tell(engine, placed, as_json)


@hold.command()
@config_option
@json_option
def confirm(config: Path, as_json: bool) -> None:
    """Try again to confirm the holds that are pending because a database could not be reached."""
    from retention.disposition import holding

    engine = open_engine(config)
    answers = holding.confirm_pending(engine)
    if not answers and not as_json:
        click.echo("No hold is pending.")
    for placed in answers:
        _tell(engine, placed, as_json)


@hold.command("list")
@config_option
@json_option
@click.option("--all", "every", is_flag=True, help="Released holds as well.")
def list_(config: Path, as_json: bool, every: bool) -> None:
    """List the holds that protect records now."""
    from retention.ledger import holds as hold_rows

    engine = open_engine(config)
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
        (one.id, _state(engine, one), one.matter, _scope_words(one), f"{one.placed_at:%Y-%m-%d}", one.placed_by)
        for one in shown
    ]
    console().print(grid("hold", "state", "matter", "covers", "placed", "by", rows=rows))


@hold.command()
@config_option
@json_option
@click.argument("hold_id", metavar="ID")
def show(config: Path, as_json: bool, hold_id: str) -> None:
    """Show one hold: matter, reason, scope, how many records it covers today."""
    from retention.disposition.coverage import covered
    from retention.ledger import holds as hold_rows

    engine = open_engine(config)
    with engine.control.read() as connection:
        one = hold_rows.get(connection, hold_id)
    facts = _facts(engine, one) | {"covers": covered(engine, one)}
    if as_json:
        print_json(facts)
        return
    from retention.cli.show import console, grid

    rows = [(name.replace("_", " "), _plain(value)) for name, value in facts.items() if value not in (None, {}, [])]
    console().print(grid("", "", rows=rows))


@hold.command()
@config_option
@json_option
@click.argument("hold_id", metavar="ID")
@click.option("--reason", required=True, help="Why the records are no longer needed.")
def release(config: Path, as_json: bool, hold_id: str, reason: str) -> None:
    """Release a hold. What it covered stays for the grace, so that a mistake can be undone by a new hold."""
    from retention.disposition import holding

    engine = open_engine(config)
    released = holding.release(engine, hold_id, reason=reason)
    if as_json:
        print_json(_facts(engine, released))
        return
    click.echo(
        f"{released.id} is released. What it covered is still protected until {_protected_until(engine, released)}."
    )


def _tell(engine: Engine, placed: Placed, as_json: bool) -> None:
    if as_json:
        print_json(_facts(engine, placed.hold) | {"unconfirmed": placed.unconfirmed})
    elif placed.unconfirmed:
        click.echo(
            f"{placed.hold.id} is written down but NOT YET IN FORCE everywhere; deletions there are refused until it is:"
        )
        for source, why in placed.unconfirmed.items():
            click.echo(f"  {source}: {why}")
        click.echo("Run `retention hold confirm` when it can be reached.")
    else:
        click.echo(f"{placed.hold.id} is in force: {_scope_words(placed.hold)} ({placed.hold.matter}).")
    if placed.unconfirmed:
        raise SystemExit(3)


def _protected_until(engine: Engine, one: Hold) -> str | None:
    if one.released_at is None:
        return None
    until = one.released_at + engine.project.config.hold_release_grace
    return f"{until.astimezone(engine.project.config.timezone):%Y-%m-%d %H:%M}"


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
    if one.first_day:
        words += f", created on {one.first_day} or later"
    if one.last_day:
        words += f", created on {one.last_day} or earlier"
    return words


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} of {name}" for name, count in value.items())
    return str(value)
