"""The documents under test, and the parts of them that programs read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def blocks(self, language: str) -> list[str]:
        """Its code blocks in that language."""
        return [body for word, body in _FENCE.findall(self.text) if word == language]

    def inline(self) -> list[str]:
        """Its code spans outside of code blocks, each on one line."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _FENCE.sub("", self.text))]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """README.md, CHANGELOG.md and everything under docs/."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [Document(path=path, text=path.read_text(encoding="utf-8")) for path in sorted(paths)]
