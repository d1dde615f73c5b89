"""`retention`: the group of all commands, and what happens to errors."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence

import click

from retention import __version__
from retention.errors import RetentionError

#: command -> (module, its one line in the list); in the order in which people meet them
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Try it: a sample CRM database, policies, a hold, and the quarterly clean-up."),
    "init": ("init", "Write a commented starter project for a database."),
    "validate": ("validate", "Check retention.yaml and every policy; show every mistake at once."),
    "schema": ("schema", "Print the JSON Schema of a policy file, for editors."),
    "plan": ("plan", "Show what the policies would do, and change nothing."),
    "run": ("run", "Archive, then delete, what is expired and not held."),
    "approve": ("run", "Approve the plan of a run whose policy asks for it."),
    "recover": ("run", "Resolve what an interrupted run left in doubt."),
    "hold": ("hold", "Place, list, show and release compliance holds."),
    "explain": ("explain", "Say what happens to one record, when and why."),
    "archive": ("archive", "List, verify, restore and destroy what was archived."),
    "audit": ("audit", "Verify, export and show the ledger of everything that was done."),
    "control": ("control", "Create or upgrade the control database."),
}

EPILOG = (
    "Exit status of every command: 0 done, 1 failed, 2 bad input (nothing ran), 3 partly done, 4 refused (a hold, a "
    "limit, a missing right or approval)."
)


class LazyGroup(click.Group):
    """Imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"retention.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from retention.policy.suggest import nearest

            hint = nearest(args[0], COMMANDS)
            raise click.UsageError(f"there is no command {args[0]!r}. {hint}".rstrip(), ctx) from error


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="retention")
def retention() -> None:
    """Keep records as long as the law asks, then archive and delete them, and prove it.

    Policies stand in policies/*.yaml, databases and archives in retention.yaml. Start with `retention demo`, or with
    `retention init` for a database of your own.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Errors that a person can mend end in a message, a hint and their exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = retention.main(args=words, prog_name="retention", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("\nStopped; nothing more is done.", err=True)
        sys.exit(3)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except RetentionError as error:
        report(error, as_json="--json" in words)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; there is nobody left to tell
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def report(error: RetentionError, *, as_json: bool) -> None:
    """Print the error to standard error: as a sentence and what to do, or, for machines, as JSON."""
    if as_json:
        body: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": body}, ensure_ascii=False), err=True)
        return
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
