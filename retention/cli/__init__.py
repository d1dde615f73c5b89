"""The command line: one file a command group, imported when it is called, so that `--help` stays quick."""

from __future__ import annotations

from retention.cli.main import main

__all__ = ["main"]
