"""`retention schema`."""

from __future__ import annotations

import click

from retention.cli.exits import exits
from retention.cli.options import print_json


@click.command(epilog=exits())
@click.option(
    "--of",
    "which",
    type=click.Choice(["policy", "config"]),
    default="policy",
    show_default=True,
    help="Of policies/*.yaml, or of retention.yaml.",
)
def schema(which: str) -> None:
    """Print the JSON Schema (2020-12) of a policy file, or of retention.yaml.

    Save it as policies/policy.schema.json: editors with a YAML server then complete and check policies as you type.
    """
    from retention.policy.schema import config_schema, policy_schema

    print_json(policy_schema() if which == "policy" else config_schema())
