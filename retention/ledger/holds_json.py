"""A hold's scope as JSON and back. What comes back covers exactly what went in; anything unknown is an error."""

from __future__ import annotations

import json
from typing import Any

from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.ledger.canonical import canonical
from retention.ledger.values import from_json, to_json
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator
from retention.policy.mark import Mark

_GROUPS: dict[str, type[AllOf | AnyOf | NoneOf]] = {"all": AllOf, "any": AnyOf, "none": NoneOf}


def scope_text(scope: Scope) -> str:
    """The scope as canonical JSON. Raises InputError for a compared value that JSON cannot carry."""
    return canonical(_scope_json(scope))


def _scope_json(scope: Scope) -> dict[str, object]:
    match scope:
        case Keys():
            return {"kind": "keys", "records": scope.records, "count": scope.count}
        case Tagged():
            return {"kind": "tag", "tag": scope.tag, "records": list(scope.records)}
        case Matching():
            return {"kind": "where", "where": _condition_json(scope.where), "records": list(scope.records)}
        case Subject():
            return {"kind": "subject", "subject": scope.subject, "value": scope.value}
        case WholeClass():
            return {"kind": "class", "records": scope.records}
        case Everything():
            return {"kind": "everything"}


def text_scope(text: str, *, hold: str) -> Scope:
    """The scope that `scope_text` wrote; errors about its columns will name ``hold``.

    Raises ValueError for anything else: a scope that cannot be read must stop a deletion, never narrow a hold.
    """
    found = json.loads(text)
    try:
        kind = found.pop("kind")
        if kind == "tag":
            return Tagged(tag=found["tag"], records=tuple(found["records"]))
        if kind == "where":
            return Matching(where=_condition(found["where"], Mark(file=hold)), records=tuple(found["records"]))
        plain: dict[str, type[Keys | Subject | WholeClass | Everything]] = {
            "keys": Keys,
            "subject": Subject,
            "class": WholeClass,
            "everything": Everything,
        }
        return plain[kind](**found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{text} is not the scope of a hold") from error


def _condition_json(condition: Condition) -> dict[str, object]:
    if isinstance(condition, Compare):
        value = condition.value
        stored = {"list": [to_json(one) for one in value]} if isinstance(value, tuple) else to_json(value)
        return {"column": condition.column, "operator": condition.operator.value, "value": stored}
    name = next(name for name, kind in _GROUPS.items() if isinstance(condition, kind))
    return {name: [_condition_json(part) for part in condition.parts]}


def _condition(found: dict[str, Any], mark: Mark) -> Condition:
    if "column" in found:
        stored = found["value"]
        value: Any
        if isinstance(stored, dict) and "list" in stored:
            value = tuple(from_json(one) for one in stored["list"])
        else:
            value = from_json(stored)
        return Compare(column=found["column"], operator=Operator(found["operator"]), value=value, mark=mark)
    ((name, parts),) = found.items()
    return _GROUPS[name](parts=tuple(_condition(part, mark) for part in parts))
