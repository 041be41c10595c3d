"""What verify says of signatures; each way in which one can be wrong is in the tests of signing."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_process import run_here
from provenance_cases import Run, make_run

from stillhouse.errors import IntegrityError
from stillhouse.provenance import attest, verify
from stillhouse.signing import PrivateKey, create_key, load_private_key


def make_key(path: Path, name: str) -> PrivateKey:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    create_key(path, name=name, valid_from=now - day, valid_until=now + day, now=now)
    return load_private_key(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A dataset that `ann` signed."""
    made = make_run(tmp_path / "runs")
    attest(made.dataset, make_key(tmp_path / "ann.pem", "ann"), now=datetime.now(UTC))
    return made


def test_a_signed_artefact_says_who_signed_it(run: Run) -> None:
    completions, dataset = verify(run.dataset).artifacts
    assert not completions.attestations
    assert {one.signer for one in dataset.attestations} == {"ann"}
    assert all(one.problem is None for one in dataset.attestations)


def test_signatures_of_another_artefact_are_refused(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", samples=2)
    shutil.copy(run.dataset / "attestations.jsonl", other.dataset / "attestations.jsonl")
    with pytest.raises(IntegrityError, match=r"was signed for something else"):
        verify(other.dataset)


def test_signatures_of_an_ancestor_are_checked_too(run: Run) -> None:
    path = run.dataset / "attestations.jsonl"
    shutil.copy(path, run.completions / "attestations.jsonl")
    with pytest.raises(IntegrityError, match="completions"):
        verify(run.dataset)


def test_the_command_tells_signers(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capsys, "verify", run.dataset)
    assert ran.code == 0
    assert "ann" in ran.out
    assert "whose keys they are: give --trust FILE" in ran.out
    shown = json.loads(run_here(capsys, "verify", run.dataset, "--json").out)
    assert [len(one["attestations"]) for one in shown["artifacts"]] == [0, 2]
    missing = run_here(capsys, "verify", run.dataset, "--trust", tmp_path / "none.yaml")
    assert missing.code == 2


def test_an_artefact_without_signatures_verifies_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_run(tmp_path)
    ran = run_here(capsys, "verify", made.dataset)
    assert ran.out.rstrip().endswith("verified: all files, hashes, rows, parents")
