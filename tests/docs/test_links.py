"""Links between documents lead somewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.conftest import Document

LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_resolves(documents: list[Document]) -> None:
    links = [(document, link) for document in documents for link in LINK.findall(document.text)]
    assert len(links) > 3
    for document, link in links:
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = document.path if target == "" else document.path.parent / target
        assert path.exists(), f"{document.name} links to {link}"
        assert anchor == "" or anchor in anchors(path), f"{document.name} links to {link}"
