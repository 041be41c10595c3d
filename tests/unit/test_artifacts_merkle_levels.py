"""Inclusion paths against the recursive definition of RFC 6962, section 2.1.1."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import (
    inclusion_path,
    leaf_hash,
    levels_size,
    merkle_levels,
    merkle_root,
    root_of_path,
)


def split_of(count: int) -> int:
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]), word for word."""
    if len(leaves) == 1:
        return []
    split = split_of(len(leaves))
    if index < split:
        other = bytes.fromhex(merkle_root(leaves[split:]))
        return [*naive_path(index, leaves[:split]), other]
    other = bytes.fromhex(merkle_root(leaves[:split]))
    return [*naive_path(index - split, leaves[split:]), other]


LEAVES = st.lists(st.binary(max_size=3), min_size=1, max_size=70)


@settings(deadline=None)
@given(LEAVES, st.data())
def test_a_path_is_that_of_the_recursive_definition(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path(merkle_levels(leaves), len(leaves), index)
    assert path == naive_path(index, leaves)


@settings(deadline=None)
@given(LEAVES, st.data())
def test_a_path_gives_the_root_and_any_other_gives_another(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path(merkle_levels(leaves), len(leaves), index)
    leaf, root = leaf_hash(leaves[index]), merkle_root(leaves)
    assert root_of_path(leaf, path, len(leaves), index) == root
    assert root_of_path(leaf_hash(leaves[index] + b"x"), path, len(leaves), index) != root
    assert root_of_path(leaf, [*path, leaf], len(leaves), index) is None
    assert root_of_path(leaf, path, len(leaves), len(leaves)) is None
    if path:
        assert root_of_path(leaf, path[1:], len(leaves), index) is None
        at = data.draw(st.integers(0, len(path) - 1))
        changed = [*path]
        changed[at] = hashlib.sha256(changed[at]).digest()
        assert root_of_path(leaf, changed, len(leaves), index) != root


@settings(deadline=None)
@given(LEAVES)
def test_the_levels_have_the_size_that_is_said(leaves: list[bytes]) -> None:
    levels = merkle_levels(leaves)
    assert len(levels) == levels_size(len(leaves))
    assert levels[-32:].hex() == merkle_root(leaves)
