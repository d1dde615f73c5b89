"""Reading `window`: two local times of a day."""

from __future__ import annotations

import re

from retention.policy.document import Node, Value
from retention.policy.form import Form, kind
from retention.policy.window import RunWindow

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


def read_window(form: Form, node: Node) -> RunWindow | None:
    """The window; None after a problem."""
    match = _WINDOW.fullmatch(node.value) if isinstance(node, Value) and isinstance(node.value, str) else None
    if match is None:
        form.refuse(node.mark, f'"window" is {kind(node)}', 'write two times in quotes, as in "01:00-05:00"')
        return None
    hours = [int(part) for part in match.groups()]
    window = RunWindow(starts=hours[0] * 60 + hours[1], ends=hours[2] * 60 + hours[3])
    if window.starts == window.ends:
        form.refuse(node.mark, f'"window" is {kind(node)}: it ends when it begins', "leave it out for the whole day")
        return None
    return window
