"""Check that a row is in an artefact: python check_proof.py PROOF.json MANIFEST.json.

It needs Python 3.9 and nothing else. MANIFEST.json is the manifest.json of an artefact of
stillhouse; a proof holds for it alone, so compare its SHA-256, which is printed, with one that you
trust. The tree is that of RFC 6962, section 2.1. Exit code 0: the proof holds. 1: it does not.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

KEYS = {"index", "manifest_sha256", "path", "proof", "size"}


def check(proof_bytes: bytes, manifest_bytes: bytes) -> str:
    """What the proof says if it holds, else a ValueError."""
    proof, manifest = json.loads(proof_bytes), json.loads(manifest_bytes)
    text = json.dumps(proof, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"
    if text.encode() != proof_bytes or set(proof) not in (KEYS | {"leaf"}, KEYS | {"row"}):
        raise ValueError("the proof is not written as stillhouse writes it")
    index, width = proof["index"], proof["size"]
    if [type(index), type(width), proof["proof"]] != [int, int, 1] or not 0 <= index < width:
        raise ValueError("the proof is of another version, or for no row")
    if hashlib.sha256(manifest_bytes).hexdigest() != proof["manifest_sha256"]:
        raise ValueError("the proof is for another manifest")
    if width != sum(entry["rows"] or 0 for entry in manifest["files"]):
        raise ValueError("the artefact has another number of rows")
    leaf = proof.get("leaf") or hashlib.sha256(b"\0" + proof["row"].encode()).hexdigest()
    current = bytes.fromhex(leaf)
    if current.hex() != leaf:
        raise ValueError("the leaf is not written as stillhouse writes it")
    hashes = base64.b85decode(proof["path"])
    path = [hashes[start : start + 32] for start in range(0, len(hashes), 32)]
    while width > 1:
        if index ^ 1 < width:
            pair = path.pop(0) + current if index % 2 else current + path.pop(0)
            current = hashlib.sha256(b"\1" + pair).digest()
        index, width = index // 2, (width + 1) // 2
    if path or current.hex() != manifest["rows_root"]:
        raise ValueError("the row and its path give another root than the manifest has")
    where = f"row {proof['index']} of {proof['size']} is in the artefact whose manifest has"
    return f"{where} the SHA-256 {proof['manifest_sha256']}"


def main(proof_name: str, manifest_name: str) -> int:
    """Print what was found and return the exit code."""
    try:
        found = check(Path(proof_name).read_bytes(), Path(manifest_name).read_bytes())
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
        print(f"false: {error}")
        return 1
    print(f"true: {found}; compare it with one that you trust")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
