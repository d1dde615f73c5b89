"""`retention validate`."""

from __future__ import annotations

from pathlib import Path

import click

from retention.cli.exits import exits
from retention.cli.options import config_option, json_option, open_engine, print_json
from retention.errors import PolicyFilesError


@click.command(
    epilog=exits({0: "every file is valid", 2: "there are mistakes, or a database or an archive cannot be asked"})
)
@config_option
@json_option
@click.option("--offline", is_flag=True, help="Check the files alone, not databases and archives.")
def validate(config: Path, as_json: bool, offline: bool) -> int:
    """Check retention.yaml and every file in policies/, and show every mistake at once.

    Each mistake is one line: file:line:column: what is wrong, what would be right. While any file has one, nothing
    begins with these files: the missing policy may be the one that retains. Where the files have none, databases and
    archives are asked.
    """
    stopped = "nothing begins with these files"
    advice: list[str] = []
    try:
        engine = open_engine(config)
        stopped = "no policy that needs what is named here runs"
        problems = [] if offline else engine.problems()
        advice = [] if offline or problems else engine.advice()
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
                "advice": advice,
            }
        )
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        if problems:
            told = "1 mistake" if len(problems) == 1 else f"{len(problems):,} mistakes"
            click.echo(f"{told}; {stopped} until {'it is' if len(problems) == 1 else 'they are'} mended.", err=True)
        else:
            names = [policy.name for policy in engine.policies()]
            click.echo(f"{len(names)} {'policy is' if len(names) == 1 else 'policies are'} valid: {', '.join(names)}.")
            for sentence in advice:
                click.echo(f"Note: {sentence}")
    return PolicyFilesError.exit_status if problems else 0
