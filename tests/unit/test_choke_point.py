"""One function deletes records: statements that delete are built in one file, used in one, and that one is called once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import retention

PACKAGE = Path(retention.__file__).parent
DELETING = {"delete_due", "delete_due_returning", "delete_with_dependents", "delete_dependents", "_change"}


def _files() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}


def _names(source: str) -> set[str]:
    """Every name that the code (not its comments and docstrings) uses."""
    tree = ast.parse(source)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def test_deleting_statements_are_built_in_one_file() -> None:
    makers = {name for name, source in _files().items() if {"delete", "Delete"} & _names(source)}
    # a pause that is lifted is a row of the control database, whose tables no source has
    assert makers - {"ledger/pauses.py"} == {"sources/statements.py"}


def test_no_text_of_sql_deletes_records() -> None:
    """Text that reaches a database is not written by hand where it deletes."""
    texts = {
        name
        for name, source in _files().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(r"\bDELETE\s+FROM\b|\bTRUNCATE\b(?! )", node.value) and not name.startswith("demo/")
    }
    # the trial of a server deletes from a temporary table that it made a moment before, by a name of its own
    assert texts == {"sources/trial.py"}


def test_deleting_statements_are_used_in_one_file() -> None:
    users = {name for name, source in _files().items() if DELETING & _names(source)}
    assert users - {"sources/statements.py"} == {"disposition/cut.py"}


def test_what_deletes_is_called_by_the_batch_alone() -> None:
    callers = {
        name
        for name, source in _files().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module == "retention.disposition.cut"
        if any(alias.name == "cut" for alias in node.names)
    }
    assert callers == {"disposition/batch.py"}
