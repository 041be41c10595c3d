"""Students on disk: the same after reading, and refused when anything is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_cases import make_encoder
from safetensors.numpy import load_file, save_file

from stillhouse.classifiers import (
    Classifier,
    EmbeddingConfig,
    EncoderConfig,
    calibrated,
    fit_embedding,
    fit_encoder,
    fit_ngram,
    load_classifier,
    probabilities,
    save_classifier,
)
from stillhouse.errors import IntegrityError, ShapeError

TEXTS = ["red car", "blue sky", "my card", "red", "sky", "card lost"] * 3
TARGETS = np.eye(4)[[0, 1, 2] * 6]
LABELS = ("car", "sky", "card", "never")


def ngram(folder: Path, **options: Any) -> Classifier:
    return fit_ngram(TEXTS, **{"targets_NL": TARGETS, "labels": LABELS, **options})


def embedding(folder: Path, **options: Any) -> Classifier:
    config = EmbeddingConfig(base=str(make_encoder(folder / "base")), max_tokens=16)
    return fit_embedding(
        TEXTS, **{"targets_NL": TARGETS, "labels": LABELS, "config": config, **options}
    )


def encoder(folder: Path, **options: Any) -> Classifier:
    base = str(make_encoder(folder / "base"))
    config = EncoderConfig(base=base, max_tokens=16, epochs=1, precision="float32")
    return fit_encoder(
        TEXTS, **{"targets_NL": TARGETS, "labels": LABELS, "config": config, **options}
    )


MAKERS: dict[str, Callable[..., Classifier]] = {
    "ngram": ngram,
    "embedding": embedding,
    "encoder": encoder,
}


@pytest.fixture(scope="module", params=MAKERS)
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return MAKERS[request.param](tmp_path_factory.mktemp("made"))


def saved(student: Classifier, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_classifier(student, folder)
    return folder


def test_texts_that_were_read_once_need_not_be_read_again(student: Classifier) -> None:
    texts = [*TEXTS[:4], "", "something else"]
    states_ND = student.states(texts)
    assert (states_ND is None) == (student.kind == "ngram")
    if states_ND is None:
        return
    assert states_ND.shape == (6, 32)
    given = probabilities(student, texts, states_ND=states_ND)
    np.testing.assert_array_equal(given, probabilities(student, texts))
    other = probabilities(student, texts, states_ND=states_ND[[1, 0, 2, 3, 4, 5]])
    if not getattr(student, "companion", None):
        np.testing.assert_array_equal(other[[1, 0]], given[:2])
    with pytest.raises(ShapeError, match="6 states for 1 texts"):
        probabilities(student, ["red"], states_ND=states_ND)


def test_what_is_read_gives_identical_answers(student: Classifier, tmp_path: Path) -> None:
    student = calibrated(student, TEXTS, TARGETS)
    again = load_classifier(saved(student, tmp_path))
    texts = [*TEXTS, "", "something else", "x" * 1000]
    np.testing.assert_array_equal(again.logits(texts), student.logits(texts))
    np.testing.assert_array_equal(probabilities(again, texts), probabilities(student, texts))
    for name in ("kind", "labels", "is_multiple", "calibration", "report", "num_parameters"):
        assert getattr(again, name) == getattr(student, name), name
    assert again.report.unseen_labels == ("never",)


@pytest.mark.parametrize("kind", MAKERS)
def test_several_labels_a_text_survive_too(kind: str, tmp_path: Path) -> None:
    student = MAKERS[kind](tmp_path, is_multiple=True)
    student = calibrated(student, TEXTS, TARGETS)
    again = load_classifier(saved(student, tmp_path / "out"))
    np.testing.assert_array_equal(probabilities(again, TEXTS), probabilities(student, TEXTS))
    assert len(again.calibration.slopes) == 3


def test_saving_twice_writes_the_same_bytes(student: Classifier, tmp_path: Path) -> None:
    first, second = saved(student, tmp_path / "a"), tmp_path / "b"
    saved(load_classifier(first), second)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_the_size_is_that_of_the_files(student: Classifier, tmp_path: Path) -> None:
    folder = saved(student, tmp_path)
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    assert student.num_bytes <= on_disk <= student.num_bytes + 10_000


def test_an_artefacts_writer_says_where_files_go(student: Classifier, tmp_path: Path) -> None:
    asked: list[str] = []

    def new_file(name: str) -> Path:
        asked.append(name)
        return tmp_path / f"staged-{name}"

    assert save_classifier(student, tmp_path / "unused", new_file) == asked
    assert {path.name for path in tmp_path.iterdir()} == {f"staged-{name}" for name in asked}


# Damage


def header(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "classifier.json").read_bytes())
    return read


def cut_off(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-20])


def with_header(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "classifier.json").write_text(json.dumps({**header(folder), **changes}))

    return damage


def with_array(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change each floating point array."""

    def damage(folder: Path) -> None:
        path = folder / "classifier.safetensors"
        arrays = load_file(path)
        save_file({n: change(a) if a.dtype.kind == "f" else a for n, a in arrays.items()}, path)

    return damage


def without_arrays(folder: Path) -> None:
    save_file({"other": np.zeros(3)}, folder / "classifier.safetensors")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no header": lambda folder: (folder / "classifier.json").unlink(),
    "no weights": lambda folder: (folder / "classifier.safetensors").unlink(),
    "header cut off": lambda folder: cut_off(folder, "classifier.json"),
    "weights cut off": lambda folder: cut_off(folder, "classifier.safetensors"),
    "empty weights": lambda folder: (folder / "classifier.safetensors").write_bytes(b""),
    "other tensors": without_arrays,
    "not finite": with_array(lambda array: array * np.float32(np.nan)),
    "other shapes": with_array(lambda array: array[..., :-1].copy()),
    "unknown kind": with_header(kind="pickle"),
    "unknown version": with_header(schema_version=2),
    "unknown key": with_header(more=1),
    "labels twice": with_header(labels=["a", "a", "b", "c"]),
    "too few labels": with_header(labels=["a", "b", "c"]),
    "impossible prior": with_header(prior=[0.5, 0.5, 0.0, 0.0]),
    "nothing learnt": with_header(is_learnt=[False] * 4),
    "other labels learnt": with_header(is_learnt=[True] * 4),
    "no settings": with_header(settings={}),
    "slopes for other labels": with_header(calibration={"slopes": [1.0], "offsets": [0.0]}),
    "not JSON": lambda folder: (folder / "classifier.json").write_bytes(b"\x80\x04\x95"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_student_is_an_integrity_error(
    student: Classifier, damage: str, tmp_path: Path
) -> None:
    folder = saved(student, tmp_path)
    DAMAGE[damage](folder)
    if damage == "no settings" and student.kind == "ngram":
        assert load_classifier(folder).labels == LABELS  # all its settings have defaults
        return
    with pytest.raises(IntegrityError, match="Fit the student again") as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)


VOCABULARIES = {
    "not JSON": "{",
    "a list": "[]",
    "no words": '{"chars": []}',
    "numbers": '{"chars": [1], "words": []}',
    "repeated": '{"chars": ["a", "a"], "words": []}',
    "too few": '{"chars": ["a"], "words": []}',
}


@pytest.mark.parametrize("content", VOCABULARIES)
def test_a_damaged_vocabulary_is_an_integrity_error(content: str, tmp_path: Path) -> None:
    folder = saved(ngram(tmp_path), tmp_path)
    (folder / "vocabulary.json").write_text(VOCABULARIES[content])
    with pytest.raises(IntegrityError, match="Fit the student again"):
        load_classifier(folder)


def test_a_damaged_tokenizer_is_an_integrity_error(tmp_path: Path) -> None:
    folder = saved(embedding(tmp_path), tmp_path / "out")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(IntegrityError, match="no tokenizer"):
        load_classifier(folder)


def test_a_folder_with_nothing_in_it_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"classifier\.json"):
        load_classifier(tmp_path)
