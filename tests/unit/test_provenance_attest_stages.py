"""Attestations of what real stages wrote: each of their manifests fits the predicate."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from signing_cases import DAY, make_key, payload_of, trust_of
from tiny_chain import Chain

from stillhouse.artifacts import open_artifact
from stillhouse.provenance import attest, check_signed, lineage, read_attestations
from stillhouse.signing import PrivateKey

pytestmark = pytest.mark.slow


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    start = datetime.now(UTC) - DAY
    return make_key(tmp_path, start=start, end=start + 9 * DAY)


def signed(folder: Path, key: PrivateKey, tmp_path: Path) -> dict:  # type: ignore[type-arg]
    """The predicate of the artefact in `folder`, once it is signed and has been checked."""
    attest(folder, key, now=datetime.now(UTC))
    assert check_signed(lineage(folder), trust_of(tmp_path, key), now=datetime.now(UTC))
    return payload_of(read_attestations(folder)[0])["predicate"]


def test_a_signal_of_a_local_teacher(chain: Chain, key: PrivateKey, tmp_path: Path) -> None:
    copy = shutil.copytree(chain.signal.parent, tmp_path / "chain")
    found = signed(copy / "signal", key, tmp_path)
    manifest = open_artifact(copy / "signal").manifest
    assert manifest.teacher is not None
    (teacher,) = found["teachers"]
    assert (teacher["provider"], teacher["revision"]) == ("local", manifest.teacher.revision)
    assert found["signals"][0]["codec"] == manifest.results["codec"]
    assert found["tokenizer_sha256"] == manifest.tokenizer.sha256  # type: ignore[union-attr]
    assert len(found["lineage"]) == 3


def test_a_cascade_with_its_student(bank_folder: Path, key: PrivateKey, tmp_path: Path) -> None:
    copy = shutil.copytree(bank_folder, tmp_path / "bank")
    found = signed(copy / "cascade", key, tmp_path)
    assert [one["kind"] for one in found["lineage"]][-1] == "cascade"
    assert {"dataset", "classifier"} <= {one["kind"] for one in found["lineage"]}
    assert found["datasets"][0]["rows_root"]
