"""The whole Merkle tree, level by level: what an inclusion proof is read from.

A level is the hashes of its nodes, one after the other; a last node without a partner goes up as
it is. That gives the tree of RFC 6962, section 2.1, whose left subtrees are as large as can be.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from stillhouse.artifacts._merkle import leaf_hash, node_hash

HASH_BYTES = 32


def merkle_levels(leaves: Iterable[bytes]) -> bytes:
    """All levels over the bytes of `leaves`, the leaves' own hashes first.

    One leaf is one level; of no leaves there is nothing.
    """
    level = [leaf_hash(data) for data in leaves]
    levels = [b"".join(level)]
    while len(level) > 1:
        # Not node_hash: half of the time of a large tree is in this line.
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(level) % 2:
            above.append(level[-1])
        level = above
        levels.append(b"".join(level))
    return b"".join(levels)


def levels_size(num_leaves: int) -> int:
    """The bytes that `merkle_levels` gives for so many leaves."""
    size, width = num_leaves, num_leaves
    while width > 1:
        width = (width + 1) // 2
        size += width
    return size * HASH_BYTES


def inclusion_path(levels: Sequence[int] | memoryview, num_leaves: int, index: int) -> list[bytes]:
    """The audit path of a leaf (RFC 6962, section 2.1.1), from the leaf's sibling upwards.

    Args:
        levels: What `merkle_levels` gave for these leaves, or a file of it in memory.
        num_leaves: How many there are.
        index: Of the leaf, from 0.
    """
    path = []
    start, width = 0, num_leaves
    while width > 1:
        if index ^ 1 < width:
            at = (start + (index ^ 1)) * HASH_BYTES
            path.append(bytes(levels[at : at + HASH_BYTES]))
        start, width, index = start + width, (width + 1) // 2, index // 2
    return path


def root_of_path(leaf: bytes, path: Sequence[bytes], num_leaves: int, index: int) -> str | None:
    """The root in hex that the hash of a leaf and its path give; None where they fit no tree."""
    left = list(path)
    current, width = leaf, num_leaves
    if not 0 <= index < num_leaves:
        return None
    while width > 1:
        if index ^ 1 < width:
            if not left:
                return None
            sibling = left.pop(0)
            current = node_hash(sibling, current) if index % 2 else node_hash(current, sibling)
        width, index = (width + 1) // 2, index // 2
    return None if left else current.hex()
