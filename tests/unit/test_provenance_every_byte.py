"""Any one bit that changes, in any file of any kind of artefact, is found by verify.

The artefacts are made by the stages themselves and signed; hypothesis chooses file, byte and bit,
among them those of manifests and signatures, of the artefact and of all that it was made from.
"""

import typing
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree

import pytest
from export_cases import asked
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_chain import Chain
from tiny_chain import settings as train_settings

from stillhouse.artifacts import Counts, Kind, begin_artifact
from stillhouse.errors import IntegrityError
from stillhouse.evaluate import EvaluateConfig, evaluate
from stillhouse.export import export
from stillhouse.provenance import attest, lineage, verify
from stillhouse.signing import create_key, load_private_key
from stillhouse.train import train

LIGHT: dict[Kind, str] = {
    "completions": "chain/completions",
    "dataset": "chain/dataset",
    "signal": "chain/signal",
    "classifier": "bank/student",
    "cascade": "bank/cascade",
    "evidence": "evidence",
}
HEAVY: dict[Kind, str] = {
    "student": "chain/student",
    "evaluation": "chain/evaluation",
    "export": "chain/export",
}
"""Those that take a trained model, and ten seconds to make."""
KINDS = LIGHT | HEAVY
EACH = [*LIGHT, *(pytest.param(kind, marks=pytest.mark.slow) for kind in HEAVY)]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory, chain: Chain, bank_folder: Path) -> Path:
    """One artefact of each kind that needs no training, signed."""
    root = tmp_path_factory.mktemp("kinds")
    copytree(chain.dataset.parent, root / "chain")
    copytree(bank_folder, root / "bank")
    write_evidence(root / "evidence")
    sign_all(root, LIGHT)
    return root


@pytest.fixture(scope="module")
def heavy(light: Path, chain: Chain) -> Path:
    """The others beside them."""
    here = light / "chain"
    student, dataset = here / "student", here / "dataset"
    train(dataset, student, config=train_settings(chain, epochs=0.5), signal=here / "signal")
    evaluate(
        dataset,
        here / "evaluation",
        teacher=chain.teacher,
        students={"student": student},
        config=EvaluateConfig(num_samples=2, speed_prompts=0, num_resamples=200),
    )
    export(student, here / "export", config=asked("gguf-f16"))
    sign_all(light, HEAVY)
    return light


@pytest.fixture
def made(kind: Kind, request: pytest.FixtureRequest) -> Path:
    """The folder of an artefact of the kind."""
    root: Path = request.getfixturevalue("heavy" if kind in HEAVY else "light")
    return root / KINDS[kind]


def write_evidence(folder: Path) -> None:
    """A folder as those of `radioactivity` and `attribute`."""
    writer = begin_artifact(
        folder, kind="evidence", stage="radioactivity", config={}, config_given={}, parents=[]
    )
    writer.new_file("evidence.json").write_bytes(b'{"p_value": 0.5}\n')
    writer.new_file("evidence.html").write_text("<p>p = 0.5</p>", encoding="utf-8")
    writer.finish(counts=Counts(num_in=1, kept=1))


def sign_all(root: Path, kinds: dict[Kind, str]) -> None:
    now = datetime.now(UTC)
    if not (root / "key.pem").exists():
        create_key(
            root / "key.pem",
            name="tests",
            valid_from=now - timedelta(days=1),
            valid_until=now + timedelta(days=1),
            now=now,
        )
    key = load_private_key(root / "key.pem")
    for name in kinds.values():
        attest(root / name, key, now=datetime.now(UTC))


def files_of(folder: Path) -> list[Path]:
    """Every file of an artefact and of its ancestors, in an order of its own."""
    return [
        path
        for node in lineage(folder).nodes
        for path in sorted(node.path.rglob("*"))
        if path.is_file()
    ]


@contextmanager
def changed_bit(path: Path, offset: int, bit: int) -> Iterator[None]:
    data = path.read_bytes()
    forged = bytearray(data)
    forged[offset] ^= 1 << bit
    path.write_bytes(bytes(forged))
    try:
        yield
    finally:
        path.write_bytes(data)


def test_every_kind_of_the_format_is_here() -> None:
    assert set(KINDS) == set(typing.get_args(Kind))


@pytest.mark.parametrize("kind", EACH)
def test_what_was_made_verifies(made: Path, kind: Kind) -> None:
    report = verify(made)
    assert report.artifacts[-1].kind == kind
    assert len(report.artifacts[-1].attestations) == 2


@pytest.mark.parametrize("kind", EACH)
@given(
    place=st.integers(0, 10**9),
    at=st.floats(0.0, 1.0, exclude_max=True),
    bit=st.integers(0, 7),
)
@example(place=0, at=0.0, bit=0)
@example(place=-1, at=0.999999999, bit=7)
@settings(
    max_examples=20,
    deadline=None,
    # Every example leaves the artefact as it found it.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_bit_that_changes_is_found(
    made: Path, kind: Kind, place: int, at: float, bit: int
) -> None:
    files = files_of(made)
    path = files[place % len(files)]
    size = path.stat().st_size
    assert size > 0
    with changed_bit(path, int(at * size), bit), pytest.raises(IntegrityError):
        verify(made)


@pytest.mark.parametrize("name", ["manifest.json", "attestations.jsonl"])
@pytest.mark.parametrize("kind", EACH)
def test_a_byte_more_or_less_is_found(made: Path, kind: Kind, name: str) -> None:
    path = made / name
    data = path.read_bytes()
    for forged in (data + b"\n", data[:-1], data[1:], b""):
        path.write_bytes(forged)
        try:
            with pytest.raises(IntegrityError):
                verify(made)
        finally:
            path.write_bytes(data)
