"""What to write instead of a name that nothing bears."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for an unknown ``name``: the known name most like it, or all known names where none is like it."""
    names = sorted(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{by_folded[close[0]]}"?'
    if not names:
        return "none is declared"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"write one of: {', '.join(names[:_SHOWN])}{more}"
