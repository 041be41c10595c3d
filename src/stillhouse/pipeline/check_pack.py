"""Check an audit pack: python -I check_pack.py PACK.zip, or the folder that it was unpacked into.

It needs Python 3.9 and nothing else. What it finds: any byte of any file, and of the zip file
itself, that is not what was packed; a parent of the lineage that is not in the pack; a proof of a
row, or a signature, that does not hold. All of it hangs on one number, the SHA-256 of PACK.json,
which it prints: compare it with the one that you were told. Whose keys have signed is for you to
know: it prints their ids. Exit code 0: the pack is whole. 1: it is not.
"""

import base64
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

Files = dict[str, bytes]
LIST, SUM, VERIFIER, PROOF_VERIFIER = "PACK.json", "PACK.sha256", "check_pack.py", "check_proof.py"

# Ed25519 as in RFC 8032, section 5.1: the field, the order of the base point, the curve.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def packed(files: Files) -> bytes:
    """The one zip file of these files: sorted, uncompressed, without times of its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, files[name])
    return stream.getvalue()


def check(files: Files) -> list[str]:
    """What was found, line by line; a ValueError where something does not hold."""
    raw = files.get(LIST, b"")
    digest = hashlib.sha256(raw).hexdigest()
    if files.get(SUM) != f"{digest}  {LIST}\n".encode():
        raise ValueError(f"{SUM} does not say the SHA-256 of {LIST}, which is {digest}")
    pack = json.loads(raw)
    listed = {one["name"]: one for one in pack["files"]}
    for name in sorted({*listed, *files} - {LIST, SUM}):
        if name not in listed:
            raise ValueError(f"{name} is not listed: it was added")
        if name not in files:
            raise ValueError(f"{name} is missing")
        if hashlib.sha256(files[name]).hexdigest() != listed[name]["sha256"]:
            raise ValueError(f"{name} has changed")
    found = [f"{len(listed)} files are what was packed"]
    manifests = _check_lineage(pack, files)
    found.append(f"{len(manifests)} artefacts, and each parent that one names is among them")
    scope: dict[str, Any] = {"__name__": "check_proof"}
    exec(compile(files[PROOF_VERIFIER], PROOF_VERIFIER, "exec"), scope)
    for proof in pack["proofs"]:
        scope["check"](files[proof["file"]], files[f"{proof['folder']}/manifest.json"])
    found.append(f"{len(pack['proofs'])} rows are in the artefacts that they are said to be in")
    found += _check_signatures(pack, files)
    return [*found, f"the SHA-256 of {LIST} is {digest}; compare it with the one you were told"]


def _check_lineage(pack: Any, files: Files) -> Files:
    manifests = {}
    for node in pack["lineage"]:
        raw = files[f"{node['folder']}/manifest.json"]
        if hashlib.sha256(raw).hexdigest() != node["manifest_sha256"]:
            raise ValueError(f"{node['folder']} has another manifest than {LIST} says")
        manifests[node["manifest_sha256"]] = raw
    if pack["manifest_sha256"] not in manifests:
        raise ValueError("the artefact that this pack is about is not in it")
    for raw in manifests.values():
        for parent in json.loads(raw)["parents"]:
            if parent["sha256"] not in manifests:
                raise ValueError(f"a parent, {parent['path']}, is not in the pack")
    return manifests


def _check_signatures(pack: Any, files: Files) -> list[str]:
    found = []
    for node in pack["lineage"]:
        lines = files.get(f"{node['folder']}/attestations.jsonl", b"").splitlines()
        for number, line in enumerate(lines, start=1):
            where = f"{node['folder']}/attestations.jsonl, line {number}"
            envelope = json.loads(line)
            payload = base64.b64decode(envelope["payload"])
            kind = envelope["payloadType"].encode()
            signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
            statement = json.loads(payload)
            key = statement["predicate"]["stillhouse_signer"]["key"]
            der = base64.b64decode("".join(key["pem"].splitlines()[1:-1]))
            if hashlib.sha256(der).hexdigest() != key["key_id"]:
                raise ValueError(f"{where}: the key has another id than is said")
            signature = base64.b64decode(envelope["signatures"][0]["sig"])
            if not is_signature(der[-32:], signed, signature):
                raise ValueError(f"{where}: the signature does not fit what was signed")
            if [one["digest"]["sha256"] for one in statement["subject"]] != [
                node["manifest_sha256"]
            ]:
                raise ValueError(f"{where} is about another artefact")
            found.append(f"{node['folder']} is signed by {key['name']!r}, key {key['key_id']}")
    return found or ["nothing is signed"]


def is_signature(key: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the Ed25519 key of 32 bytes signed `data`."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, nonce = _point(key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or nonce is None or scalar >= L:
        return False
    hashed = hashlib.sha512(signature[:32] + key + data).digest()
    base = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    assert base is not None
    left = _times(scalar, base)
    right = _sum(nonce, _times(int.from_bytes(hashed, "little") % L, public))
    return (
        (left[0] * right[2] - right[0] * left[2]) % P
        == 0
        == (left[1] * right[2] - right[1] * left[2]) % P
    )


Point = tuple[int, int, int, int]  # extended coordinates: X, Y, Z, X Y / Z


def _point(raw: bytes) -> Any:
    """The point in 32 bytes; None where they are none."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def _sum(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % P, y * z % P, x * y % P, w * z % P


def _times(scalar: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = _sum(found, point)
        point, scalar = _sum(point, point), scalar >> 1
    return found


def read(path: Path) -> Files:
    """The files of a pack, from its folder or its zip file."""
    if path.is_dir():
        found = sorted(path.rglob("*"))
        if any(one.is_symlink() for one in found):
            raise ValueError("the folder holds a symbolic link")
        files = [one for one in found if one.is_file()]
        return {one.relative_to(path).as_posix(): one.read_bytes() for one in files}
    raw = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        if any(one.compress_type or one.file_size > len(raw) for one in archive.infolist()):
            raise ValueError("the zip file is compressed, which no pack is")
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    if packed(unpacked) != raw:
        raise ValueError("the zip file is not byte for byte what was packed")
    return unpacked


def main(name: str) -> int:
    """Print what was found and return the exit code."""
    try:
        lines = check(read(Path(name)))
    except Exception as error:  # whatever a damaged pack makes fail, it is not whole
        print(f"false: {error or type(error).__name__}")
        return 1
    print("\n".join(["true: the pack is whole", *lines]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
