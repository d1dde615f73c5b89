"""`retention`: the group of all commands, and what happens to errors."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence

import click

from retention import __version__
from retention.cli.exits import MEANINGS, exits
from retention.errors import Failed, InputError, RetentionError

#: command -> (module, its one line in the list); in the order in which people meet them
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Try it: a sample CRM database, four policies, a hold, a clean-up."),
    "init": ("init", "Write a commented starter project for a database."),
    "validate": ("validate", "Check retention.yaml and every policy; show every mistake."),
    "doctor": ("doctor", "Check databases, rights, indexes, clocks and archives; say what to change."),
    "schema": ("schema", "Print the JSON Schema of a policy file, for editors."),
    "plan": ("plan", "Show what the policies would do, and change nothing."),
    "run": ("run", "Archive, then delete, what is expired and not held."),
    "approve": ("run", "Approve the plan of a run whose policy asks for it."),
    "recover": ("run", "Resolve what an interrupted run left in doubt."),
    "pause": ("pause", "Let a run, a policy, or everything wait."),
    "resume": ("pause", "Let what was paused go on, and try again what was given up."),
    "cancel": ("pause", "End a run for good."),
    "runs": ("runs", "List the newest runs, and how each ended."),
    "hold": ("hold", "Place, list, show and release compliance holds."),
    "schedule": ("schedule", "List what will run, and when."),
    "status": ("status", "Show how everything stands: slots, runs, what is overdue, workers, holds."),
    "metrics": ("metrics", "Serve metrics for Prometheus, and health checks."),
    "up": ("up", "Run what the schedules ask for, in one process, until it is stopped."),
    "explain": ("explain", "Say what happens to one record, when and why."),
    "archive": ("archive", "List, verify, restore and destroy what was archived."),
    "audit": ("audit", "Verify, export and show the ledger of what was done."),
    "control": ("control", "Create or upgrade the control database."),
}


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


@click.group(
    cls=LazyGroup,
    epilog=exits(MEANINGS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="retention")
def retention() -> None:
    """Keep records as long as the law asks, then archive and delete them, and prove it.

    Policies stand in policies/*.yaml, databases and archives in retention.yaml. Start with `retention demo`, or with
    `retention init` for a database of your own. `retention COMMAND --help` explains a command.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Errors that a person can mend end in a message, a hint and their exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # as Ctrl-C, from the first moment: commands that can end a batch in hand put their own handler in its place
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # what the terminal cannot show, and keys that are no UTF-8, are escaped instead of ending in an error
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _invoke(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that what cannot be written is still told
    except BrokenPipeError:
        # whoever read our output has gone; there is nobody left to tell, and nothing to flush at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Failed.exit_status
    except OSError as error:
        what = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        status = report(Failed(f"a file or the output could not be read or written: {what}"), as_json="--json" in words)
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _invoke(words: list[str]) -> int:
    """Run the command and return its exit status; every error of ours and of click's is told here."""
    as_json = "--json" in words
    try:
        status = retention.main(args=words, prog_name="retention", standalone_mode=False)
    except SystemExit as ended:
        status = ended.code
    except click.exceptions.Abort:
        click.echo("\nStopped; nothing more is done.", err=True)
        return 3
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return InputError.exit_status
    except click.ClickException as error:
        return report(_input_error(error), as_json=as_json)
    except RetentionError as error:
        return report(error, as_json=as_json)
    return status if isinstance(status, int) else 0


def _input_error(error: click.ClickException) -> InputError:
    """What click found wrong with the words, in the form of our own errors."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = "retention" if context is None else context.command_path
    message = error.format_message().rstrip(".")
    return InputError(message[:1].lower() + message[1:], hint=f"`{path} --help` says what may be written")


def report(error: RetentionError, *, as_json: bool) -> int:
    """Print the error to standard error: as a sentence and what to do, or, for machines, as JSON. Returns its exit status."""
    if as_json:
        body: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": body}, ensure_ascii=False), err=True)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
    return error.exit_status
