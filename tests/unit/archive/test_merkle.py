from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive.merkle import Level, Proof, check, prove, root

SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 255, 256, 257, 272, 273, 300]


def some(count: int) -> list[bytes]:
    return [sha256(b"\0" + str(number).encode()).digest() for number in range(count)]


def plain_root(leaves: list[bytes]) -> bytes:
    """docs/design.md once more, by recursion from above."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    span = 1
    while span * 16 < len(leaves):
        span *= 16

    def node(part: list[bytes], span: int) -> bytes:
        if span == 0:
            return part[0]
        children = [node(part[at : at + span], span // 16) for at in range(0, len(part), span)]
        return sha256(b"\x01" + b"".join(children)).digest()

    return node(leaves, span)


@pytest.mark.parametrize("count", [0, *SIZES, 4096, 4097])
def test_root_is_that_of_the_definition(count: int) -> None:
    assert root(some(count)) == plain_root(some(count))


def test_known_roots() -> None:
    leaves = some(17)
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root(leaves[:1]) == leaves[0]
    first = sha256(b"\x01" + b"".join(leaves[:16])).digest()
    last = sha256(b"\x01" + leaves[16]).digest()
    assert root(leaves[:16]) == first
    assert root(leaves) == sha256(b"\x01" + first + last).digest()


@pytest.mark.parametrize("count", SIZES)
def test_every_leaf_is_proven_and_no_other_in_its_place(count: int) -> None:
    leaves = some(count)
    top = root(leaves)
    for index, leaf in enumerate(leaves):
        proof = prove(leaves, index)
        assert check(leaf, proof, top)
        assert all(len(level.siblings) <= 15 for level in proof.levels)
        assert Proof.from_json(json.loads(json.dumps(proof.to_json()))) == proof
        if count > 1:
            assert not check(leaves[index - 1], proof, top)


def flips(digest: bytes) -> Iterator[bytes]:
    for bit in range(len(digest) * 8):
        changed = bytearray(digest)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@pytest.mark.parametrize(("count", "index"), [(1, 0), (16, 5), (40, 39), (257, 256)])
def test_every_changed_bit_is_found(count: int, index: int) -> None:
    leaves = some(count)
    top, leaf, proof = root(leaves), leaves[index], prove(leaves, index)
    assert not any(check(changed, proof, top) for changed in flips(leaf))
    assert not any(check(leaf, proof, changed) for changed in flips(top))
    for number, level in enumerate(proof.levels):

        def with_level(changed: Level, number: int = number) -> Proof:
            return Proof(levels=(*proof.levels[:number], changed, *proof.levels[number + 1 :]))

        for at, sibling in enumerate(level.siblings):
            for changed in flips(sibling):
                siblings = (*level.siblings[:at], changed, *level.siblings[at + 1 :])
                assert not check(leaf, with_level(dataclasses.replace(level, siblings=siblings)), top)
        for position in range(-1, 17):
            if position != level.position:
                assert not check(leaf, with_level(dataclasses.replace(level, position=position)), top)
        assert not check(leaf, Proof(levels=(*proof.levels[:number], *proof.levels[number + 1 :])), top)


@settings(max_examples=200)
@given(
    one=st.lists(st.sampled_from(some(3)), max_size=40),
    other=st.lists(st.sampled_from(some(3)), max_size=40),
)
def test_different_lists_have_different_roots(one: list[bytes], other: list[bytes]) -> None:
    assert (root(one) == root(other)) == (one == other)


def test_every_length_has_its_own_root() -> None:
    leaf = some(1)[0]
    assert len({root([leaf] * count) for count in range(600)}) == 600


def test_a_node_cannot_pass_for_a_leaf() -> None:
    leaves = some(17)
    nodes = [sha256(b"\x01" + b"".join(leaves[:16])).digest(), sha256(b"\x01" + leaves[16]).digest()]
    assert sha256(b"\x00" + b"".join(leaves[:16])).digest() not in nodes


def test_digests_cut_elsewhere_are_refused() -> None:
    leaves = some(3)
    top = root(leaves)
    joined = leaves[1] + leaves[2]
    assert check(leaves[0], Proof(levels=(Level(position=0, siblings=(leaves[1], leaves[2])),)), top)
    assert not check(leaves[0], Proof(levels=(Level(position=0, siblings=(joined,)),)), top)
    assert not check(leaves[0] + leaves[1], Proof(levels=(Level(position=0, siblings=(leaves[2],)),)), top)


@pytest.mark.parametrize("index", [-1, 3])
def test_no_such_leaf(index: int) -> None:
    with pytest.raises(IndexError, match="there is no leaf"):
        prove(some(3), index)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "x",
        [1],
        [{}],
        [{"position": 0}],
        [{"position": "0", "siblings": []}],
        [{"position": True, "siblings": ["00" * 32]}],
        [{"position": 2, "siblings": ["00" * 32]}],
        [{"position": -1, "siblings": ["00" * 32]}],
        [{"position": 0, "siblings": ["00" * 31]}],
        [{"position": 0, "siblings": ["AB" * 32]}],
        [{"position": 0, "siblings": ["ab " * 32]}],
        [{"position": 0, "siblings": ["zz" * 32]}],
        [{"position": 0, "siblings": ["00" * 32], "more": 1}],
        [{"position": 0, "siblings": ["00" * 32] * 16}],
    ],
)
def test_json_that_no_proof_would_have_written(value: object) -> None:
    with pytest.raises(ValueError, match="this is not an inclusion proof"):
        Proof.from_json(value)
