"""What the exit statuses of a command mean, at the end of its help."""

from __future__ import annotations

from collections.abc import Mapping

#: the meaning of every status, of all commands; a command's help says what its own are
MEANINGS: Mapping[int, str] = {
    0: "done",
    1: "failed; nothing was lost, and it can be tried again",
    2: "bad input; nothing ran",
    3: "partly done",
    4: "refused: a hold, a limit, a missing right or approval",
}


def exits(meanings: Mapping[int, str] | None = None) -> str:
    """The epilog of a command that ends with 0, 1 or 2, and with what ``meanings`` adds or says more exactly."""
    said = {status: MEANINGS[status] for status in (0, 1, 2)} | dict(meanings if meanings is not None else {})
    lines = "\n".join(f"  {status}  {said[status]}" for status in sorted(said))
    return f"\b\nExit status:\n{lines}"  # \b keeps click from joining the lines
