"""`retention validate`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.options import config_option, json_option, open_engine, print_json
from retention.errors import PolicyFilesError


@click.command()
@config_option
@json_option
@click.option("--offline", is_flag=True, help="Check the files alone, without asking the databases for their columns.")
def validate(config: Path, as_json: bool, offline: bool) -> None:
    """Check retention.yaml and every file in policies/, and show every mistake at once.

    Each mistake is one line: file:line:column: what is wrong, what would be right. While any file has one, no policy
    runs: the missing policy may be the one that retains. Exit status 2 if there are mistakes.
    """
    try:
        engine = open_engine(config)
        problems = [] if offline else engine.problems()
    except PolicyFilesError as error:
        problems = list(error.problems)
    if as_json:
        print_json(
            {
                "valid": not problems,
                "problems": [
                    {
                        "file": problem.mark.file,
                        "line": problem.mark.line,
                        "column": problem.mark.column,
                        "message": problem.message,
                        "remedy": problem.remedy,
                    }
                    for problem in problems
                ],
            }
        )
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        if problems:
            click.echo(
                f"{len(problems)} mistake{'s' if len(problems) > 1 else ''}; no policy runs until they are mended.",
                err=True,
            )
        else:
            names = [policy.name for policy in engine.policies()]
            click.echo(f"{len(names)} policies are valid: {', '.join(names)}.")
    if problems:
        raise SystemExit(PolicyFilesError.exit_status)
