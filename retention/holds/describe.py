"""A scope, a condition or a tag match in words, for lists, reports and the ledger."""

from __future__ import annotations

from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator
from retention.policy.tags import TagMatch


def describe(scope: Scope) -> str:
    """``1 record of crm.activities``, ``every record tagged vip in crm.activities``, ..."""
    match scope:
        case Keys():
            return f"{scope.count:,} record{'s' if scope.count != 1 else ''} of {scope.records}"
        case Tagged():
            return f"every record tagged {scope.tag} in {', '.join(scope.records)}"
        case Matching():
            return f"every record where {condition_words(scope.where)} in {', '.join(scope.records)}"
        case Subject():
            return f"every record of {scope.subject} {scope.value}"
        case WholeClass():
            return f"every record of {scope.records}"
        case Everything():
            return "every record of every class"


def condition_words(condition: Condition) -> str:
    """The condition as one line."""
    match condition:
        case Compare():
            if isinstance(condition.value, tuple):
                value = "[" + ", ".join(map(str, condition.value)) + "]"
            else:
                value = "null" if condition.value is None else str(condition.value)
            word = "=" if condition.operator is Operator.IS else condition.operator.value
            return f"{condition.column} {word} {value}"
        case AllOf():
            return " and ".join(_inner(part) for part in condition.parts)
        case AnyOf():
            return " or ".join(_inner(part) for part in condition.parts)
        case NoneOf():
            return "none of (" + "; ".join(condition_words(part) for part in condition.parts) + ")"


def selection_words(tags: TagMatch | None, where: Condition | None) -> str:
    """What a policy selects: ``tagged sales, and status = closed``; ``every record`` where it says ``all: true``."""
    parts: list[str] = []
    if tags is not None:
        parts += [f"tagged {' and '.join(tags.all)}"] if tags.all else []
        parts += [f"tagged {' or '.join(tags.any)}"] if tags.any else []
        parts += [f"not tagged {' or '.join(tags.none)}"] if tags.none else []
    if where is not None:
        parts.append(condition_words(where))
    return ", and ".join(parts) if parts else "every record"


def _inner(part: Condition) -> str:
    return condition_words(part) if isinstance(part, Compare | NoneOf) else f"({condition_words(part)})"
