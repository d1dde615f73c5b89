"""A hash tree over the rows of a file, sixteen children a node: one record can be proven to have been archived without
showing the others (docs/design.md, "The row digest and the Merkle tree").

A leaf's preimage begins with 0x00 and a node's with 0x01, so neither can pass for the other (RFC 9162, section 2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

ARITY = 16
_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Level:
    """One step towards the root: the digest so far stands at ``position`` among its ``siblings``, counted from 0."""

    position: int
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a leaf is in a tree: a `Level` for each step from the leaf up; none where the leaf is the root."""

    levels: tuple[Level, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Ready for `json.dumps`, digests in hexadecimal."""
        return [
            {"position": level.position, "siblings": [sibling.hex() for sibling in level.siblings]}
            for level in self.levels
        ]

    @classmethod
    def from_json(cls, value: Any) -> Proof:
        """The proof that `to_json` wrote. Raises ValueError for anything that it would not have written."""
        try:
            proof = cls(
                levels=tuple(
                    Level(position=level["position"], siblings=tuple(map(bytes.fromhex, level["siblings"])))
                    for level in value
                )
            )
        except (TypeError, KeyError, ValueError):
            raise ValueError("this is not an inclusion proof") from None
        # comparing what would be written refuses other spellings (capitals, spaces, extra keys) all at once
        if proof.to_json() != value or not all(_is_well_formed(level) for level in proof.levels):
            raise ValueError("this is not an inclusion proof")
        return proof


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaves, in this order; of none, SHA-256 of nothing."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else sha256(b"").digest()


def prove(leaves: Sequence[bytes], index: int) -> Proof:
    """The proof that ``leaves[index]`` is in the tree over ``leaves``. Raises IndexError where there is none."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    levels = []
    level = leaves
    while len(level) > 1:
        node, position = divmod(index, ARITY)
        family = level[node * ARITY : (node + 1) * ARITY]
        levels.append(Level(position=position, siblings=(*family[:position], *family[position + 1 :])))
        level, index = _above(level), node
    return Proof(levels=tuple(levels))


def check(leaf: bytes, proof: Proof, root: bytes) -> bool:
    """Whether ``proof`` leads from ``leaf`` to ``root``."""
    if len(leaf) != _SIZE:
        return False
    digest = leaf
    for level in proof.levels:
        if not _is_well_formed(level):
            return False
        before, after = level.siblings[: level.position], level.siblings[level.position :]
        digest = _node(b"".join((*before, digest, *after)))
    return digest == root


def _is_well_formed(level: Level) -> bool:
    """A node has at most 16 children of 32 bytes: with other lengths, the same bytes could be cut in several ways."""
    return (
        type(level.position) is int
        and 0 <= level.position <= len(level.siblings) < ARITY
        and all(len(sibling) == _SIZE for sibling in level.siblings)
    )


def _above(level: Sequence[bytes]) -> list[bytes]:
    joined = b"".join(level)
    return [_node(joined[start : start + ARITY * _SIZE]) for start in range(0, len(joined), ARITY * _SIZE)]


def _node(children: bytes) -> bytes:
    return sha256(b"\x01" + children).digest()
