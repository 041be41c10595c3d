"""The Merkle root against RFC 6962, section 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.artifacts import MerkleTree, merkle_root

# The test vectors of Certificate Transparency: the first n leaves give the n-th root.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """The recursive definition, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = naive_root(leaves[:split]), naive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("count", range(len(ROOTS)))
def test_the_known_vectors_come_out(count: int) -> None:
    assert merkle_root(LEAVES[:count]) == ROOTS[count]


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_root_is_that_of_the_recursive_definition(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == naive_root(leaves).hex()


@given(st.lists(st.binary(max_size=2), max_size=20))
def test_reading_the_root_does_not_disturb_the_tree(leaves: list[bytes]) -> None:
    tree = MerkleTree()
    for count, leaf in enumerate(leaves):
        assert tree.root() == merkle_root(leaves[:count])
        tree.append(leaf)
    assert tree.num_leaves == len(leaves)
    assert tree.root() == merkle_root(leaves)


def test_a_leaf_is_not_taken_for_a_node() -> None:
    left, right = (hashlib.sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    assert merkle_root([b"a", b"b"]) != merkle_root([left + right])


def test_order_changes_the_root() -> None:
    assert merkle_root([b"a", b"b"]) != merkle_root([b"b", b"a"])
