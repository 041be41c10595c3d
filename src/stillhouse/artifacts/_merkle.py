"""The Merkle tree of RFC 6962, section 2.1, built row by row in O(log n) memory."""

import hashlib
from collections.abc import Iterable

_EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """Append leaves, read the root at any time."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # (height, hash), heights strictly falling
        self.num_leaves = 0

    def append(self, data: bytes) -> None:
        """Add one leaf."""
        height, current = 0, leaf_hash(data)
        while self._peaks and self._peaks[-1][0] == height:
            current = node_hash(self._peaks.pop()[1], current)
            height += 1
        self._peaks.append((height, current))
        self.num_leaves += 1

    def root(self) -> str:
        """The root in lower-case hex; of no leaves, SHA-256 of nothing."""
        if not self._peaks:
            return _EMPTY.hex()
        current = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            current = node_hash(peak, current)
        return current.hex()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """The root over `leaves` in lower-case hex."""
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()
