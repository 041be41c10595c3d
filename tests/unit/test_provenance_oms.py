"""OpenSSF model-signing bundles, checked by their own verifier."""

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from artifact_chains import make_artifact
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from signing_cases import DAY, make_key, payload_of

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.provenance import attest, sign_oms, verify
from stillhouse.signing import Envelope

PASSPHRASE = "correct horse battery"


def write_key(folder: Path, passphrase: str | None = None) -> Path:
    """A key of P-256 in `folder/oms.pem`, and its public part in `oms.pub`."""
    key = ec.generate_private_key(ec.SECP256R1())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    path = folder / "oms.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    (folder / "oms.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


def their_verdict(folder: Path, signature: Path, public_key: Path) -> tuple[int, str]:
    """What `model_signing verify key` says, in a process of its own."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "model_signing", "verify", "key", str(folder)),
            *("--signature", str(signature), "--public_key", str(public_key)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_their_verifier_accepts_a_bundle_beside_our_signatures(tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    artifact = make_artifact(tmp_path / "student")
    pem = write_key(tmp_path, PASSPHRASE)
    place = sign_oms(artifact.path, pem, ask=lambda: PASSPHRASE)
    assert place == tmp_path / "student.sig"
    start = datetime.now(UTC) - DAY
    attest(
        artifact.path, make_key(tmp_path, start=start, end=start + 9 * DAY), now=datetime.now(UTC)
    )
    code, said = their_verdict(artifact.path, place, tmp_path / "oms.pub")
    assert code == 0, said
    assert verify(artifact.path)
    # A published copy may hold the bundle where others look for it.
    (artifact.path / "model.sig").write_bytes(place.read_bytes())
    code, said = their_verdict(artifact.path, artifact.path / "model.sig", tmp_path / "oms.pub")
    assert code == 0, said
    (artifact.path / "model.sig").unlink()

    data_file = artifact.path / "extra" / "notes.json"
    data_file.write_bytes(b'{"a":2}\n')
    code, said = their_verdict(artifact.path, place, tmp_path / "oms.pub")
    assert code == 1
    assert "notes.json" in said


def test_a_bundle_names_every_file_of_the_manifest_and_itself(tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    artifact = make_artifact(tmp_path / "student")
    place = sign_oms(artifact.path, write_key(tmp_path), tmp_path / "out.sig")
    bundle = json.loads(place.read_text())
    envelope = bundle["dsseEnvelope"]
    statement = payload_of(Envelope(base64.b64decode(envelope["payload"]), "", b""))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    names = {one["name"] for one in statement["predicate"]["resources"]}
    assert names == {"manifest.json", *(entry.name for entry in artifact.manifest.files)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("oms.pem", "oms.pub", "out.sig", "student")
    ]


def test_what_cannot_be_signed_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    artifact = make_artifact(tmp_path / "student")
    pem = write_key(tmp_path)
    with pytest.raises(ConfigError, match="lies inside the artefact"):
        sign_oms(artifact.path, pem, artifact.path / "model.sig")
    start = datetime.now(UTC) - DAY
    make_key(tmp_path, start=start, end=start + 9 * DAY)
    with pytest.raises(ConfigError, match="no key of secp256r1"):
        sign_oms(artifact.path, tmp_path / "lab.key")
    (artifact.path / "extra" / "notes.json").write_bytes(b'{"a":2}\n')
    with pytest.raises(IntegrityError, match="has changed"):
        sign_oms(artifact.path, pem)
    assert not list(tmp_path.glob("*.sig"))
    assert not list(tmp_path.glob(".*"))
