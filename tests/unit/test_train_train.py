"""The stage: what it refuses, what it writes, and what it tells on the way."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from artifact_chains import edit_manifest, listing
from tiny_chain import (
    FIXED_TEXTS,
    TOP_K,
    Chain,
    losses_of,
    metrics_of,
    settings,
    weights_of,
    write_dataset,
)
from tiny_model import make_tiny_model

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.collect import CaptureConfig, capture
from stillhouse.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    NonFiniteLossError,
    VocabularyMismatchError,
)
from stillhouse.models import load_model
from stillhouse.runlog import Progress
from stillhouse.train import TrainConfig, train

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden" / "train_losses.json"
OTHER_SHA256 = "0" * 64


@pytest.fixture(scope="module")
def student(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "student"
    train(chain.dataset, out, config=settings(chain), signal=chain.signal)
    return out


def test_the_student_is_a_sound_artefact_with_its_story(chain: Chain, student: Path) -> None:
    artifact = open_artifact(student, kind="student")
    check_files(artifact)
    manifest = artifact.manifest
    dataset, signal = open_artifact(chain.dataset), open_artifact(chain.signal)
    assert {parent.sha256 for parent in manifest.parents} == {
        dataset.manifest_sha256,
        signal.manifest_sha256,
    }
    assert (manifest.counts.num_in, manifest.counts.kept) == (32, 32)
    assert manifest.teacher == dataset.manifest.teacher
    assert manifest.student is not None
    assert manifest.student.revision == load_model(chain.model_dir).revision
    assert manifest.config["base_revision"] == manifest.student.revision
    assert manifest.results["steps"] == len(losses_of(student)) == 8
    assert manifest.results["layers"] == 2
    assert manifest.results["final_loss_nats"] == pytest.approx(
        sum(losses_of(student)) / 8, rel=1e-12
    )
    metrics = metrics_of(student)
    assert manifest.usage.completion_tokens == sum(line["train/tokens"] for line in metrics)
    assert manifest.usage.prompt_tokens + manifest.usage.completion_tokens == sum(
        line["train/padded_tokens"] for line in metrics
    )


def test_transformers_opens_the_student_and_gives_the_same_logits(student: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(student).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(student)
    ours = load_model(student)
    assert theirs.config.num_hidden_layers == len(theirs.model.layers) == 2
    ids = tokenizer("Town Opens New Bridge", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(theirs(ids).logits, ours.network(ids).logits)
    assert theirs.generate(ids, max_new_tokens=3, do_sample=False).shape == (1, ids.shape[1] + 3)


def test_training_brings_the_loss_down(student: Path) -> None:
    losses = losses_of(student)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_a_finished_student_of_the_same_inputs_is_left_alone(chain: Chain, student: Path) -> None:
    before = listing(student)
    train(chain.dataset, student, config=settings(chain), signal=chain.signal)
    assert listing(student) == before


def test_sft_reads_no_signal(chain: Chain, tmp_path: Path) -> None:
    with_signal, without = tmp_path / "a", tmp_path / "b"
    config = settings(chain, objective="sft", epochs=0.5)
    train(chain.dataset, with_signal, config=config, signal=chain.signal)
    train(chain.dataset, without, config=config)
    assert losses_of(with_signal) == losses_of(without)
    assert len(open_artifact(with_signal).manifest.parents) == 1


def test_forward_kl_without_a_signal_says_what_to_give(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Give --signal .*, or use objective sft"):
        train(chain.dataset, tmp_path / "s", config=settings(chain))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"teacher": {"id": "x", "provider": "local", "revision": OTHER_SHA256, "terms": None}},
            "teacher",
        ),
        ({"teacher": None}, "teacher"),
        ({"tokenizer": {"sha256": OTHER_SHA256}}, "tokenizer"),
        ({"chat_template_sha256": OTHER_SHA256}, "chat template"),
    ],
)
def test_a_signal_with_another_fingerprint_is_refused(
    chain: Chain, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    shutil.copytree(chain.signal, tmp_path / "signal")
    edit_manifest(tmp_path / "signal", changes)
    with pytest.raises(VocabularyMismatchError, match=f"another {what}"):
        train(chain.dataset, tmp_path / "s", config=settings(chain), signal=tmp_path / "signal")
    assert not (tmp_path / "s").exists()


def test_a_student_with_another_tokenizer_cannot_use_the_signal(
    chain: Chain, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "base")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    (a, a_id), (b, b_id) = list(vocabulary.items())[10:12]
    vocabulary[a], vocabulary[b] = b_id, a_id
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = settings(chain, base=f"local:{base}")
    with pytest.raises(VocabularyMismatchError, match="another tokenizer"):
        train(chain.dataset, tmp_path / "s", config=config, signal=chain.signal)
    # Text has no tokens yet: sft may cross tokenizers, and encodes the text itself.
    sft = config.model_copy(update={"objective": "sft", "epochs": 0.25})
    assert len(losses_of(train(chain.dataset, tmp_path / "t", config=sft).path)) == 1


def test_a_signal_of_another_dataset_is_refused(chain: Chain, tmp_path: Path) -> None:
    write_dataset(tmp_path / "other", chain.teacher)
    with pytest.raises(IntegrityError, match="captured on another dataset"):
        train(tmp_path / "other", tmp_path / "s", config=settings(chain), signal=chain.signal)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"base": "local:/no/such/folder"}, ConfigError, "No model at /no/such/folder"),
        ({"keep_layers": 5}, ConfigError, "keep_layers=5, but the model has 4 layers"),
        ({"keep_layers": 1}, ConfigError, "from 2 to 4"),
        ({"keep_layers": (0, 4)}, ConfigError, "indices from 0 to 3"),
        ({"max_tokens": 3}, DataError, "no training example of at most 3 tokens"),
    ],
)
def test_what_cannot_be_trained_replaces_no_finished_student(
    chain: Chain,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    out = tmp_path / "s"
    train(chain.dataset, out, config=settings(chain, objective="sft", epochs=0.25))
    before = listing(out)
    with pytest.raises(error, match=message):
        train(chain.dataset, out, config=settings(chain, objective="sft", **changes), replace=True)
    assert listing(out) == before


def test_held_out_rows_alone_leave_nothing_to_train_on(chain: Chain, tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", chain.teacher, split="held_out")
    with pytest.raises(DataError, match=r"leaves no training example .*0 given"):
        train(tmp_path / "d", tmp_path / "s", config=settings(chain, objective="sft"))


def test_examples_that_are_too_long_are_left_out_and_counted(chain: Chain, tmp_path: Path) -> None:
    # The last one is longer than what the model reads (256), whatever max_tokens allows.
    texts = [*FIXED_TEXTS, ("A long one.", "q" * 70), ("A longer one.", "q" * 260)]
    write_dataset(tmp_path / "d", chain.teacher, texts)
    for max_tokens, kept in ((2_048, 9), (60, 8)):
        config = settings(chain, objective="sft", max_tokens=max_tokens)
        student = train(tmp_path / "d", tmp_path / f"s{max_tokens}", config=config)
        counts = student.manifest.counts
        assert (counts.num_in, counts.kept) == (10, kept)
        assert counts.dropped == {"too_long": 10 - kept}


def test_a_diverging_run_says_so_and_leaves_no_student(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, objective="sft", learning_rate=1e30)
    with pytest.raises(NonFiniteLossError, match="Lower learning_rate"):
        train(chain.dataset, tmp_path / "s", config=config)
    assert not (tmp_path / "s" / "manifest.json").exists()
    better = settings(chain, objective="sft")
    assert len(losses_of(train(chain.dataset, tmp_path / "s", config=better).path)) == 8


def test_all_layers_are_kept_when_none_is_asked_to_go(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, keep_layers=None, epochs=0.25, learning_rate=1e-9)
    student = train(chain.dataset, tmp_path / "s", config=config, signal=chain.signal)
    assert student.manifest.results["layers"] == 4
    assert abs(losses_of(student.path)[0]) < 1e-4  # the teacher itself
    base = weights_of(chain.model_dir)
    for name, tensor in weights_of(student.path).items():
        torch.testing.assert_close(tensor, base[name], atol=1e-7, rtol=0)


def test_progress_tells_step_loss_pace_and_time_left(chain: Chain, tmp_path: Path) -> None:
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        time.sleep(0.1)  # the ticker tells at most ten times a second

    train(
        chain.dataset, tmp_path / "s", config=settings(chain, objective="sft"), on_progress=listen
    )
    assert [progress.done for progress in told] == list(range(9))
    assert {(progress.stage, progress.total, progress.unit) for progress in told} == {
        ("train s", 8, "steps")
    }
    assert told[0].eta_s is None
    assert told[-1].eta_s == 0.0
    # Each step takes at least the listener's nap, so what is left of it bounds the ETA below.
    assert all(one.eta_s > 0.09 * (8 - one.done) - 0.1 for one in told[1:] if one.eta_s)
    for progress, loss in zip(told[1:], losses_of(tmp_path / "s"), strict=True):
        assert progress.metrics["train/loss_nats"] == loss
        assert progress.metrics["train/tokens_per_s"] > 0


def test_the_first_twenty_losses_are_those_of_the_golden_run(chain: Chain, tmp_path: Path) -> None:
    """A change here changes every student: say why in the commit that regenerates the file."""
    dataset = write_dataset(tmp_path / "d", chain.teacher)
    capture(
        dataset.path, tmp_path / "signal", teacher=chain.teacher, config=CaptureConfig(top_k=TOP_K)
    )
    golden: dict[str, list[float]] = json.loads(GOLDEN.read_text())
    assert golden.keys() == {"sft", "forward_kl"}
    found = {}
    for objective in golden:
        config = settings(
            chain,
            objective=objective,
            epochs=10.0,
            batch_size=4,
            learning_rate=1e-4,
            weight_decay=1.0,
        )
        out = tmp_path / objective
        train(dataset.path, out, config=config, signal=tmp_path / "signal")
        found[objective] = losses_of(out)
    for objective, losses in golden.items():
        assert len(losses) == 20
        assert found[objective] == pytest.approx(losses, rel=1e-4), json.dumps(found)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"objective": "kl"}, {"epoch": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrainConfig.model_validate(wrong)
