"""The teacher's distributions on a dataset: recorded or scored, complete, and only its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from artifact_chains import listing
from tiny_chain import (
    KEEP_EVERYTHING,
    SAMPLING,
    TOP_K,
    Chain,
    prompts,
    write_dataset,
)
from tiny_model import make_tiny_model

from stillhouse.artifacts import Artifact, begin_artifact, check_files, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import curate
from stillhouse.errors import (
    ConfigError,
    LogprobsUnavailableError,
    VocabularyMismatchError,
)
from stillhouse.models import LanguageModel, load_model
from stillhouse.records import Completion, Example
from stillhouse.runlog import Progress
from stillhouse.signal import SignalReader

torch.set_num_threads(1)

STEP = 6e-3  # of the grid that probabilities are kept on, at its coarsest


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def scored(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The signal of the same dataset, without what was recorded."""
    out = tmp_path_factory.mktemp("capture") / "scored"
    capture(chain.dataset, out, teacher=chain.teacher, config=CaptureConfig(top_k=TOP_K))
    return out


def encoded(dataset: Path, teacher: LanguageModel, split: str = "train") -> list[EncodedExample]:
    return [
        teacher.chat.encode_example(row.messages, row.completion, row.completion_token_ids)
        for row in open_artifact(dataset).rows("examples", Example)
        if row.split == split
    ]


def read(signal: Path, examples: list[EncodedExample]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The distribution of each token as probabilities over the vocabulary, and the tail."""
    reader = SignalReader(open_artifact(signal))
    for example in examples:
        row = reader.read(example.signal_key)
        assert len(row) == len(example.completion_ids)
        dense = np.zeros((len(row), 400))
        np.put_along_axis(dense, row.ids, np.exp(row.logprobs.astype(np.float64)), axis=1)
        yield dense, np.exp(row.tail_logprob.astype(np.float64))


def assert_same_signal(one: Path, other: Path, examples: list[EncodedExample]) -> None:
    for (dense, tail), (dense_too, tail_too) in zip(
        read(one, examples), read(other, examples), strict=True
    ):
        np.testing.assert_allclose(dense, dense_too, atol=STEP)
        np.testing.assert_allclose(tail, tail_too, atol=STEP)


def test_what_was_recorded_while_generating_is_what_scoring_finds(
    chain: Chain, scored: Path, teacher: LanguageModel
) -> None:
    assert open_artifact(chain.signal).manifest.results["rows_recorded_while_generating"] == 32
    assert open_artifact(scored).manifest.results["rows_scored"] == 32
    assert_same_signal(chain.signal, scored, encoded(chain.dataset, teacher))


def test_a_signal_is_the_dense_distribution_cut_to_its_largest(
    chain: Chain, scored: Path, teacher: LanguageModel
) -> None:
    examples = encoded(chain.dataset, teacher)[:3]
    for example, (dense, tail) in zip(examples, read(scored, examples), strict=True):
        with torch.no_grad():
            logits_TV = teacher.network(input_ids=torch.tensor([example.ids])).logits[0].double()
        probs_nV = logits_TV.softmax(dim=1)[example.num_prompt - 1 : -1].numpy()
        kept = dense > 0
        assert (kept.sum(axis=1) == TOP_K).all()
        np.testing.assert_allclose(dense[kept], probs_nV[kept], atol=STEP)
        np.testing.assert_allclose(tail, np.where(kept, 0, probs_nV).sum(axis=1), atol=STEP)
        largest_outside = np.where(kept, 0, probs_nV).max(axis=1)
        assert (np.where(kept, probs_nV, 1).min(axis=1) >= largest_outside - 1e-6).all()


def captured(
    chain: Chain, out: Path, *, completions: Path | None = None, **settings: Any
) -> Artifact:
    config = CaptureConfig(**settings)
    return capture(
        chain.dataset, out, teacher=chain.teacher, config=config, completions=completions
    )


def teacher_logprobs(teacher: LanguageModel, example: EncodedExample) -> torch.Tensor:
    """(n, V) at the completion of an example."""
    with torch.no_grad():
        logits_TV = teacher.network(input_ids=torch.tensor([example.ids])).logits[0].double()
    return logits_TV.log_softmax(dim=1)[example.num_prompt - 1 : -1]


def test_adaptive_cuts_each_token_where_little_is_left(
    chain: Chain, teacher: LanguageModel, tmp_path: Path
) -> None:
    reader = SignalReader(captured(chain, tmp_path / "s", codec="adaptive", tail_mass=0.2))
    example = encoded(chain.dataset, teacher)[0]
    falling = teacher_logprobs(teacher, example).exp().sort(dim=1, descending=True).values
    fewest = ((1 - falling.cumsum(dim=1)) > 0.2).sum(dim=1) + 1
    found = np.isfinite(reader.read(example.signal_key).logprobs).sum(axis=1)
    assert found.tolist() == fewest.clamp(max=32).tolist()
    assert len(set(found.tolist())) > 1


@pytest.mark.parametrize("flatten", [1.0, 0.6])
def test_draws_have_the_teacher_as_their_mean(
    chain: Chain, teacher: LanguageModel, tmp_path: Path, flatten: float
) -> None:
    settings = {"codec": "sampled", "draws": 200, "flatten": flatten}
    reader = SignalReader(captured(chain, tmp_path / "s", **settings))
    deviations = []
    for example in encoded(chain.dataset, teacher):
        row = reader.read(example.signal_key)
        found = np.zeros((len(row), 400))
        np.add.at(found, (np.arange(len(row))[:, None], row.ids), row.weights)
        probs = teacher_logprobs(teacher, example).exp().numpy()
        proposal = probs**flatten / (probs**flatten).sum(axis=1, keepdims=True)
        deviation = np.sqrt((probs**2 / proposal - probs**2) / 200)
        likely = proposal > 0.05  # where 200 draws are close to normal
        deviations.append(((found - probs) / deviation)[likely])
    z = np.concatenate(deviations)
    assert abs(z.mean()) < 3 / np.sqrt(len(z))
    assert 0.8 < z.std() < 1.2


def test_draws_depend_on_the_seed_and_on_nothing_else(chain: Chain, tmp_path: Path) -> None:
    one = captured(chain, tmp_path / "a", codec="sampled")
    same = captured(chain, tmp_path / "b", codec="sampled")
    other = captured(chain, tmp_path / "c", codec="sampled", seed=1)
    assert one.manifest.files == same.manifest.files
    assert one.manifest.files != other.manifest.files


def test_the_actual_tokens_logprobs_are_the_teachers(
    chain: Chain, teacher: LanguageModel, tmp_path: Path
) -> None:
    reader = SignalReader(captured(chain, tmp_path / "s", codec="actual"))
    for example in encoded(chain.dataset, teacher)[:4]:
        ids = torch.tensor(example.completion_ids).unsqueeze(1)
        wanted = teacher_logprobs(teacher, example).gather(1, ids).squeeze(1)
        found = reader.read(example.signal_key).logprobs
        np.testing.assert_allclose(found, wanted, atol=5e-4)


@pytest.mark.parametrize(("dtype", "atol"), [("float16", 0.02), ("bfloat16", 0.15)])
def test_hidden_states_and_the_stored_head_give_the_teachers_logits(
    chain: Chain, teacher: LanguageModel, tmp_path: Path, dtype: str, atol: float
) -> None:
    reader = SignalReader(captured(chain, tmp_path / "s", codec="hidden", dtype=dtype))
    head = reader.head()
    assert head.shape == (400, 32)
    for example in encoded(chain.dataset, teacher)[:4]:
        logits = torch.from_numpy(reader.read(example.signal_key).hidden @ head.T)
        wanted = teacher_logprobs(teacher, example).float()
        np.testing.assert_allclose(logits.log_softmax(dim=1), wanted, atol=atol)


def test_a_head_cache_is_the_teachers_mean_row_of_the_students_head(
    chain: Chain, teacher: LanguageModel, tmp_path: Path
) -> None:
    student = make_tiny_model(tmp_path / "student", layers=2, seed=3)
    out = captured(chain, tmp_path / "s", codec="kl_cache", student=f"local:{student}")
    head = load_model(student).network.get_output_embeddings().weight.detach().double()
    reader = SignalReader(out)
    for example in encoded(chain.dataset, teacher)[:4]:
        row, logprobs = reader.read(example.signal_key), teacher_logprobs(teacher, example)
        np.testing.assert_allclose(row.vectors, logprobs.exp() @ head, atol=2e-3)
        entropy = (logprobs.exp() * logprobs).sum(dim=1)
        np.testing.assert_allclose(row.negative_entropy, entropy, atol=1e-4)
    assert out.manifest.results["codec"]["parameters"]["head_shape"] == [400, 32]


def test_the_manifest_tells_whose_distributions_these_are(chain: Chain) -> None:
    artifact = open_artifact(chain.signal, kind="signal")
    check_files(artifact)
    dataset = open_artifact(chain.dataset)
    manifest = artifact.manifest
    assert manifest.teacher == dataset.manifest.teacher
    assert manifest.tokenizer == dataset.manifest.tokenizer
    assert manifest.chat_template_sha256 == dataset.manifest.chat_template_sha256
    assert dataset.manifest_sha256 in {parent.sha256 for parent in manifest.parents}
    assert manifest.config["top_k"] == TOP_K
    assert manifest.usage.prompt_tokens == 0  # nothing had to be scored


def test_held_out_rows_are_left_out(chain: Chain, teacher: LanguageModel) -> None:
    reader = SignalReader(open_artifact(chain.signal))
    assert len(reader) == 32
    held_out = encoded(chain.dataset, teacher, "held_out")
    assert len(held_out) == 24
    assert not any(example.signal_key in reader for example in held_out)


def test_a_smaller_k_is_cut_from_what_was_recorded(
    chain: Chain, scored: Path, teacher: LanguageModel, tmp_path: Path
) -> None:
    out = captured(chain, tmp_path / "s", completions=chain.completions, top_k=4)
    assert out.manifest.results["rows_recorded_while_generating"] == 32
    examples = encoded(chain.dataset, teacher)
    for (few, tail), (many, many_tail) in zip(
        read(out.path, examples), read(scored, examples), strict=True
    ):
        assert ((few > 0).sum(axis=1) == 4).all()
        np.testing.assert_allclose(few[few > 0], many[few > 0], atol=STEP)
        outside = many_tail + np.where(few > 0, 0, many).sum(axis=1)
        np.testing.assert_allclose(tail, outside, atol=2 * STEP)


def test_a_larger_k_than_was_recorded_is_scored(chain: Chain, tmp_path: Path) -> None:
    out = captured(chain, tmp_path / "s", completions=chain.completions, top_k=TOP_K + 1)
    assert out.manifest.results["rows_recorded_while_generating"] == 0
    assert out.manifest.results["rows_scored"] == 32
    assert out.manifest.usage.prompt_tokens > 0


def test_relative_has_room_for_open_tokens_unless_it_is_told_otherwise() -> None:
    config = CaptureConfig(codec="relative")
    assert (config.top_k, CaptureConfig().top_k) == (512, 32)
    assert CaptureConfig(codec="relative", top_k=20).top_k == 20
    assert config.model_dump(exclude_unset=True) == {"codec": "relative"}
    assert CaptureConfig.model_validate(config.model_dump()) == config


def test_a_k_beyond_the_vocabulary_is_refused(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="top_k=401, but the vocabulary has 400 tokens"):
        capture(
            chain.dataset, tmp_path / "s", teacher=chain.teacher, config=CaptureConfig(top_k=401)
        )


def rewritten(source: Artifact, out: Path, rows: list[Completion]) -> Path:
    """The completions of `source` in another order or number."""
    writer = begin_artifact(out, kind="completions", stage="collect", config={})
    writer.write_rows("completions", rows, Completion)
    manifest = source.manifest
    counts = manifest.counts.model_copy(
        update={"num_in": len(rows), "kept": len(rows), "dropped": {}}
    )
    writer.finish(counts=counts, teacher=manifest.teacher)
    return out


def test_recordings_are_found_in_any_order_and_the_missing_ones_scored(
    chain: Chain, scored: Path, teacher: LanguageModel, tmp_path: Path
) -> None:
    source = open_artifact(chain.completions)
    rows = list(source.rows("completions", Completion))
    in_training = {
        row.request_id
        for row in open_artifact(chain.dataset).rows("examples", Example)
        if row.split == "train"
    }
    backwards = rows[::-1]
    dropped = next(row for row in backwards if row.request_id in in_training)
    backwards.remove(dropped)
    other = rewritten(source, tmp_path / "completions", backwards)
    out = captured(chain, tmp_path / "s", completions=other, top_k=TOP_K)
    assert out.manifest.results["rows_recorded_while_generating"] == 31
    assert out.manifest.results["rows_scored"] == 1
    assert_same_signal(out.path, scored, encoded(chain.dataset, teacher))


def test_a_recording_of_other_tokens_is_not_believed(
    chain: Chain, scored: Path, teacher: LanguageModel, tmp_path: Path
) -> None:
    source = open_artifact(chain.completions)
    rows = list(source.rows("completions", Completion))
    swapped = [
        row.model_copy(update={"logprobs": other.logprobs})
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    other = rewritten(source, tmp_path / "completions", swapped)
    out = captured(chain, tmp_path / "s", completions=other, top_k=TOP_K)
    assert out.manifest.results["rows_recorded_while_generating"] == 0
    assert_same_signal(out.path, scored, encoded(chain.dataset, teacher))


@pytest.mark.parametrize("spec", ["fake:", "http://127.0.0.1:9/v1#m"])
def test_a_teacher_that_answers_in_text_only_is_refused(
    chain: Chain, tmp_path: Path, spec: str
) -> None:
    with pytest.raises(LogprobsUnavailableError, match=r"needs weights .*objective sft"):
        capture(chain.dataset, tmp_path / "s", teacher=spec, config=CaptureConfig())
    assert not (tmp_path / "s").exists()


def test_a_teacher_nobody_knows_is_told_from_one_without_distributions(
    chain: Chain, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'local:'"):
        capture(chain.dataset, tmp_path / "s", teacher="locla:x", config=CaptureConfig())


def test_a_teacher_that_did_not_write_the_text_is_refused(chain: Chain, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(VocabularyMismatchError, match=r"was written by .*not by local:other@"):
        capture(chain.dataset, tmp_path / "s", teacher=f"local:{other}", config=CaptureConfig())
    assert not (tmp_path / "s").exists()


def test_text_of_a_fake_belongs_to_no_local_teacher(chain: Chain, tmp_path: Path) -> None:
    collect(prompts()[:6], tmp_path / "c", teacher="fake:", config=CollectConfig())
    curate(tmp_path / "c", tmp_path / "d", config=KEEP_EVERYTHING)
    with pytest.raises(VocabularyMismatchError, match="written by fake:headline"):
        capture(tmp_path / "d", tmp_path / "s", teacher=chain.teacher, config=CaptureConfig())


def test_a_dataset_without_training_rows_is_refused(chain: Chain, tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", chain.teacher, split="held_out")
    with pytest.raises(ConfigError, match="no training examples"):
        capture(tmp_path / "d", tmp_path / "s", teacher=chain.teacher, config=CaptureConfig())


def test_a_finished_signal_of_the_same_inputs_is_left_alone(chain: Chain, scored: Path) -> None:
    before = listing(scored)
    capture(chain.dataset, scored, teacher=chain.teacher, config=CaptureConfig(top_k=TOP_K))
    assert listing(scored) == before


class StoppedError(Exception):
    """What a listener raises."""


def test_a_stopped_capture_goes_on_after_its_last_whole_part(chain: Chain, tmp_path: Path) -> None:
    # Two parts of 65,536 tokens: what is flushed at the first one survives.
    texts = [(f"Number {number}.", "q" * 200) for number in range(345)]
    dataset = write_dataset(tmp_path / "d", chain.teacher, texts).path

    def stop(progress: Progress) -> None:
        if progress.done > 335:
            raise StoppedError

    config = CaptureConfig(top_k=1)
    with pytest.raises(StoppedError):
        capture(dataset, tmp_path / "s", teacher=chain.teacher, config=config, on_progress=stop)
    (part,) = (tmp_path / "s" / ".work" / "parts").iterdir()
    written = part.stat()
    resumed = capture(dataset, tmp_path / "s", teacher=chain.teacher, config=config)
    check_files(resumed)
    kept = (tmp_path / "s" / part.name).stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    whole = capture(dataset, tmp_path / "whole", teacher=chain.teacher, config=config)
    assert resumed.manifest.files == whole.manifest.files
    assert resumed.manifest.results == whole.manifest.results
    assert resumed.manifest.results["rows"] == 345
    assert resumed.manifest.usage.prompt_tokens == whole.manifest.usage.prompt_tokens


def test_progress_counts_every_example(chain: Chain, tmp_path: Path) -> None:
    told: list[Progress] = []
    capture(
        chain.dataset,
        tmp_path / "s",
        teacher=chain.teacher,
        config=CaptureConfig(top_k=2),
        completions=chain.completions,
        on_progress=told.append,
    )
    assert (told[-1].done, told[-1].total, told[-1].unit) == (32, 32, "examples")


def test_collected_text_was_recorded_at_the_asked_for_k(chain: Chain) -> None:
    rows = list(open_artifact(chain.completions).rows("completions", Completion))
    assert all(row.logprobs and row.logprobs.top_k == SAMPLING.top_logprobs for row in rows)
