"""The table of mutations fits the code as it is: `python -m tests.mutations` then shows that each is caught."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_it_applies_and_its_test_is_there(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    ast.parse(text.replace(mutation.old, mutation.new))
    path, _, name = mutation.test.partition("::")
    tests = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert name.partition("[")[0] in tests | {""}


def test_each_promise_has_one() -> None:
    assert {mutation.promise for mutation in MUTATIONS} >= {"P1", "P2", "P3", "P5", "P6", "P7"}
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
