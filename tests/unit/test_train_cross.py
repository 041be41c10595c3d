"""Training from the signal of a teacher with another tokenizer, from end to end."""

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_tokenizer import make_other_model
from test_train_resume import StoppedError, stop_at
from tiny_chain import FIXED_TEXTS, are_same_weights, losses_of, write_dataset

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.collect import CaptureConfig, capture
from stillhouse.errors import (
    ConfigError,
    IntegrityError,
    RecordError,
    StillhouseError,
    VocabularyMismatchError,
)
from stillhouse.losses import Head, Segments, token_logprobs
from stillhouse.models import (
    load_chat,
    load_model,
    locate_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
    save_model,
)
from stillhouse.signal import SignalReader
from stillhouse.train import TrainConfig, train
from stillhouse.train._cross import AlignedTexts, align_texts
from stillhouse.train._cross_config import CrossConfig
from stillhouse.train._cross_guides import ChunkLikelihoods, ChunkTarget, ProjectedSignal
from stillhouse.train._lessons import Lesson
from stillhouse.train._rows import training_rows

torch.set_num_threads(1)


@dataclass(frozen=True)
class Pair:
    """Two models that share no tokens, a text that the first one wrote, and what it says of it."""

    teacher: str
    student: str
    dataset: Path
    signals: dict[str, Path]  # by codec


@pytest.fixture(scope="module")
def pair(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    teacher, student = f"local:{tiny_folder}", f"local:{make_other_model(folder / 'other')}"
    write_dataset(folder / "dataset", teacher)
    signals = {}
    for codec in ("actual", "topk"):
        signals[codec] = folder / codec
        config = CaptureConfig(codec=codec, top_k=24)
        capture(folder / "dataset", signals[codec], teacher=teacher, config=config)
    return Pair(teacher, student, folder / "dataset", signals)


def settings(pair: Pair, objective: str, **changes: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "objective": objective,
        "base": pair.student,
        "keep_layers": 2,
        "epochs": 5.0,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "cross": {"teacher": pair.teacher},
    }
    return TrainConfig(**{**given, **changes})


LONG = {"epochs": 40.0, "keep_layers": None, "learning_rate": 5e-3}


def signal_of(pair: Pair, config: TrainConfig) -> Path:
    return pair.signals["actual" if config.objective == "alm" else "topk"]


def learn(pair: Pair, out: Path, config: TrainConfig, **options: Any) -> Path:
    train(pair.dataset, out, config=config, signal=signal_of(pair, config), **options)
    return out


def chat_of(spec: str) -> ChatTokenizer:
    return load_chat(locate_model(spec.removeprefix("local:")))


def chunk_gap_nats(pair: Pair, student: str | Path, signal: Path, teacher: str) -> float:
    """Mean absolute difference of the two models' log-likelihoods of the chunks of the text."""
    model = load_model(str(student).removeprefix("local:"))
    texts, lessons = aligned(pair, teacher=teacher, student=model.chat, signal=signal)
    batch = predicting_batch([lesson.example for lesson in lessons])
    target = ChunkLikelihoods(SignalReader(open_artifact(signal)), texts, 100.0)(lessons, batch)
    with torch.inference_mode():
        hidden_ND = predicting_hidden_states(model.network, batch)
        logprob_N = token_logprobs(hidden_ND, Head(output_head(model.network)), target.ids_N)
    segments = Segments(target.ids_N, target.chunk_N, len(target.teacher_logprob_C))
    return float((segments.sums(logprob_N) - target.teacher_logprob_C).abs().mean())


def aligned(
    pair: Pair, *, teacher: str, student: ChatTokenizer, signal: Path, **settings: float
) -> tuple[AlignedTexts, list[Lesson]]:
    dataset = open_artifact(pair.dataset)
    rows = list(training_rows(dataset, student))
    config = CrossConfig.model_validate({"teacher": teacher, **settings})
    texts = align_texts(config, student, rows, dataset=dataset, signal=open_artifact(signal))
    return texts, [Lesson(row.encoded) for row in rows]


def test_the_teachers_distributions_are_learnt_across_tokenizers(
    pair: Pair, tmp_path: Path
) -> None:
    config = settings(pair, "forward_kl", keep_layers=None, learning_rate=3e-3)
    losses = losses_of(learn(pair, tmp_path / "s", config))
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])


def test_the_likelihoods_of_chunks_become_the_teachers(pair: Pair, tmp_path: Path) -> None:
    signal = pair.signals["actual"]
    before = chunk_gap_nats(pair, pair.student, signal, pair.teacher)
    learn(pair, tmp_path / "s", settings(pair, "alm", **LONG))
    after = chunk_gap_nats(pair, tmp_path / "s", signal, pair.teacher)
    assert after < 0.6 * before


@pytest.mark.parametrize("objective", ["alm", "forward_kl"])
def test_a_stopped_run_ends_with_the_same_bits(pair: Pair, tmp_path: Path, objective: str) -> None:
    config = settings(pair, objective, checkpoint_s=0.0)
    whole = learn(pair, tmp_path / "whole", config)
    with pytest.raises(StoppedError):
        learn(pair, tmp_path / "s", config, on_progress=stop_at(1, StoppedError()))
    learn(pair, tmp_path / "s", config)
    assert losses_of(tmp_path / "s") == losses_of(whole)
    assert are_same_weights(tmp_path / "s", whole)


@pytest.mark.parametrize("objective", ["alm", "forward_kl"])
def test_a_batch_in_parts_gives_the_same_losses(pair: Pair, tmp_path: Path, objective: str) -> None:
    at_once = learn(pair, tmp_path / "one", settings(pair, objective))
    in_parts = learn(pair, tmp_path / "two", settings(pair, objective, accumulate=3))
    assert losses_of(in_parts) == pytest.approx(losses_of(at_once), rel=1e-4)


def test_its_own_tokenizer_as_the_other_changes_nothing(pair: Pair, tmp_path: Path) -> None:
    # Without the rows of the head that no token has: a teacher with other tokens cannot name them.
    teacher = load_model(pair.teacher.removeprefix("local:"))
    teacher.network.resize_token_embeddings(len(teacher.chat.tokenizer))
    (tmp_path / "model").mkdir()
    save_model(teacher, tmp_path / "model")
    spec, dataset = f"local:{tmp_path / 'model'}", tmp_path / "dataset"
    write_dataset(dataset, spec)
    capture(dataset, tmp_path / "signal", teacher=spec, config=CaptureConfig(top_k=24))
    for name, cross in (("plain", {}), ("cross", {"teacher": spec})):
        config = settings(pair, "forward_kl", cross=cross, base=spec)
        train(dataset, tmp_path / name, config=config, signal=tmp_path / "signal")
    assert losses_of(tmp_path / "cross") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-3)


def test_alm_of_one_tokenizer_is_per_token(pair: Pair) -> None:
    texts, lessons = aligned(
        pair, teacher=pair.teacher, student=chat_of(pair.teacher), signal=pair.signals["actual"]
    )
    reader = SignalReader(open_artifact(pair.signals["actual"]))
    target = ChunkLikelihoods(reader, texts, 100.0)(
        lessons, predicting_batch([lesson.example for lesson in lessons])
    )
    num_tokens = sum(lesson.num_tokens for lesson in lessons)
    assert target.chunk_N.tolist() == list(range(num_tokens))
    stored = [reader.read(lesson.example.signal_key).logprobs for lesson in lessons]
    assert target.teacher_logprob_C.tolist() == np.concatenate(stored).tolist()


def test_the_sums_of_chunks_are_those_of_the_whole_text(pair: Pair) -> None:
    texts, lessons = aligned(
        pair, teacher=pair.teacher, student=chat_of(pair.student), signal=pair.signals["actual"]
    )
    reader = SignalReader(open_artifact(pair.signals["actual"]))
    for lesson in lessons:
        target = ChunkLikelihoods(reader, texts, 100.0)(
            [lesson], predicting_batch([lesson.example])
        )
        key = texts[lesson.example].teacher.signal_key
        assert float(target.teacher_logprob_C.sum()) == pytest.approx(
            float(reader.read(key).logprobs.sum()), rel=1e-5
        )
        assert (target.chunk_N >= 0).all()
        assert len(target.teacher_logprob_C) <= lesson.num_tokens


def test_the_gradient_of_chunks_is_that_of_a_dense_computation() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    ids = torch.tensor([3, 1, 4, 1, 5, 9])
    target = ChunkTarget(
        ids,
        torch.tensor([0, 0, 1, -1, 2, 2]),
        torch.tensor([-3.0, -0.5, -4.0], dtype=torch.float64),
        tau=10.0,
    )
    weight_N = torch.tensor([0.1, 0.1, 0.2, 0.2, 0.3, 0.3], dtype=torch.float64)
    head = Head(weight, torch.zeros_like(weight))
    loss, grad = target.loss_and_grad(hidden, head, weight_N)

    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    picked = torch.log_softmax(hidden @ weight.T, dim=1).gather(1, ids[:, None])[:, 0]
    b = torch.stack([picked[0] + picked[1], picked[2], picked[4] + picked[5]]).div(10.0).exp()
    a = (target.teacher_logprob_C / 10.0).exp()
    binary = -(a * b.log() + (1 - a) * (1 - b).log())
    expected = (binary * torch.tensor([0.1, 0.2, 0.3])).sum()
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(grad, hidden.grad, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(head.grad_VD, weight.grad, rtol=1e-6, atol=1e-9)


def test_the_teacher_speaks_where_chunks_begin_and_the_text_inside(pair: Pair) -> None:
    texts, lessons = aligned(
        pair, teacher=pair.teacher, student=chat_of(pair.student), signal=pair.signals["topk"]
    )
    reader = SignalReader(open_artifact(pair.signals["topk"]))
    batch = predicting_batch([lesson.example for lesson in lessons])
    kinds = {}
    for learns_text in (True, False):
        guide = ProjectedSignal(reader, texts, ids_per_token=4, learns_text=learns_text)
        mass = guide(lessons, batch).logprobs_NK.exp()
        kinds[learns_text] = (mass > 0).sum(dim=1)
    begins = np.concatenate(
        [np.diff(texts[one.example].alignment.student, prepend=-1) > 0 for one in lessons]
    )
    assert 0 < begins.sum() < len(begins)
    assert (kinds[True].numpy()[begins] > 5).all()
    assert set(kinds[True].numpy()[~begins].tolist()) == {1}
    assert set(kinds[False].numpy()[~begins].tolist()) == {0}


def closing_with(spec: str, folder: Path, end_of_turn: str, closing: str) -> str:
    """The same model with a template that closes turns in another way."""
    shutil.copytree(spec.removeprefix("local:"), folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace(end_of_turn, closing))
    return f"local:{folder}"


@pytest.mark.parametrize(
    ("teacher_closing", "student_closing", "is_taught_by_teacher"),
    [
        ("<|im_end|>", "</turn>", True),
        ("<|im_end|>", "\n</turn>", True),
        ("\n<|im_end|>", "\n</turn>", True),
        ("\n<|im_end|>", "</turn>", False),  # it is about to write a line break there
    ],
)
def test_the_end_of_a_turn_is_taught_however_the_templates_write_it(
    pair: Pair,
    tmp_path: Path,
    teacher_closing: str,
    student_closing: str,
    is_taught_by_teacher: bool,
) -> None:
    teacher = closing_with(pair.teacher, tmp_path / "teacher", "<|im_end|>", teacher_closing)
    student = chat_of(closing_with(pair.student, tmp_path / "other", "</turn>", student_closing))
    write_dataset(tmp_path / "dataset", teacher)
    config = CaptureConfig(top_k=64)
    capture(tmp_path / "dataset", tmp_path / "signal", teacher=teacher, config=config)
    ours = replace(pair, dataset=tmp_path / "dataset")
    texts, lessons = aligned(
        ours,
        teacher=teacher,
        student=student,
        signal=tmp_path / "signal",
        max_boundary_bias=1.0,  # so that the chunk of the text's last token ends with the text
    )
    reader = SignalReader(open_artifact(tmp_path / "signal"))
    guide = ProjectedSignal(reader, texts, ids_per_token=4, learns_text=True)
    first_closing = -1 - student_closing.startswith("\n")
    assert texts.closing_id == lessons[0].example.completion_ids[first_closing]
    for lesson in lessons:
        target = guide([lesson], predicting_batch([lesson.example]))
        num_outcomes = int((target.logprobs_NK[first_closing] > -torch.inf).sum())
        assert (num_outcomes > 1) == is_taught_by_teacher


def refusal(pair: Pair, out: Path, config: TrainConfig, signal: Path) -> StillhouseError:
    with pytest.raises(StillhouseError) as caught:
        train(pair.dataset, out, config=config, signal=signal)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_signal_in_other_tokens_is_refused_unless_it_is_said_whose(
    pair: Pair, tmp_path: Path
) -> None:
    for objective in ("forward_kl", "alm"):
        config = settings(pair, objective, cross={})
        error = refusal(pair, tmp_path / "s", config, signal_of(pair, config))
        assert isinstance(error, VocabularyMismatchError)
        assert "another tokenizer" in str(error)


def test_the_wrong_tokenizer_is_refused(pair: Pair, tmp_path: Path) -> None:
    config = settings(pair, "alm", cross={"teacher": pair.student})
    error = refusal(pair, tmp_path / "s", config, pair.signals["actual"])
    assert isinstance(error, VocabularyMismatchError)
    assert "Set cross.teacher" in str(error)


@pytest.mark.parametrize(("objective", "codec"), [("alm", "topk"), ("forward_kl", "actual")])
def test_a_signal_of_the_wrong_codec_is_refused(
    pair: Pair, tmp_path: Path, objective: str, codec: str
) -> None:
    error = refusal(pair, tmp_path / "s", settings(pair, objective), pair.signals[codec])
    assert isinstance(error, ConfigError)
    assert f"codec {codec}" in str(error)


def test_a_signal_of_another_dataset_is_refused(pair: Pair, tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", pair.teacher, FIXED_TEXTS[:4])
    with pytest.raises(IntegrityError, match="another dataset"):
        train(
            tmp_path / "d",
            tmp_path / "s",
            config=settings(pair, "alm"),
            signal=pair.signals["actual"],
        )


def test_a_tokenizer_without_a_signal_is_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match=r"cross\.teacher names the tokenizer of a captured"):
        settings(pair, "sft")


def capture_foreign(pair: Pair, out: Path, *, any_author: bool) -> Artifact:
    config = CaptureConfig(codec="actual", any_author=any_author)
    return capture(pair.dataset, out, teacher=pair.student, config=config)


def test_text_of_another_author_is_scored_only_on_request(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(VocabularyMismatchError, match="was written by"):
        capture_foreign(pair, tmp_path / "no", any_author=False)
    signal = capture_foreign(pair, tmp_path / "yes", any_author=True)
    other = locate_model(pair.student[6:])
    assert signal.manifest.teacher is not None
    assert signal.manifest.teacher.revision == other.revision
    reader, chat = SignalReader(signal), load_chat(other)
    for row in training_rows(open_artifact(pair.dataset), chat):
        assert len(reader.read(row.encoded.signal_key)) == len(row.encoded.completion_ids)


def test_a_student_learns_from_one_that_did_not_write_the_text(pair: Pair, tmp_path: Path) -> None:
    capture_foreign(pair, tmp_path / "signal", any_author=True)
    before = chunk_gap_nats(pair, pair.teacher, tmp_path / "signal", pair.student)
    config = settings(pair, "alm", base=pair.teacher, cross={"teacher": pair.student}, **LONG)
    train(pair.dataset, tmp_path / "s", config=config, signal=tmp_path / "signal")
    after = chunk_gap_nats(pair, tmp_path / "s", tmp_path / "signal", pair.student)
    assert after < 0.6 * before


def test_a_text_that_a_tokenizer_changes_teaches_nothing_and_is_counted(
    pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path / "d", pair.teacher, [*FIXED_TEXTS[:3], ("Say it.", "a▁b")])
    capture(
        tmp_path / "d",
        tmp_path / "signal",
        teacher=pair.teacher,
        config=CaptureConfig(codec="actual"),
    )
    with caplog.at_level(logging.WARNING):
        train(
            tmp_path / "d",
            tmp_path / "s",
            config=settings(pair, "alm", batch_size=1, preflight={"texts": 0}),
            signal=tmp_path / "signal",
        )
    assert "1 of 4 training texts cannot be aligned" in caplog.text
    assert 0.0 in losses_of(tmp_path / "s")


def test_a_text_with_an_id_that_is_no_token_teaches_nothing(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    teacher, student = chat_of(pair.teacher), chat_of(pair.student)
    theirs, ours = (
        list(training_rows(open_artifact(pair.dataset), chat)) for chat in (teacher, student)
    )
    encoded = theirs[0].encoded
    padding = replace(encoded, ids=(*encoded.ids, len(teacher.text_bytes)))
    theirs[0] = replace(theirs[0], encoded=padding)
    pairs = list(zip(theirs, ours, strict=True))
    with caplog.at_level(logging.WARNING):
        texts = AlignedTexts(teacher, student, pairs, max_boundary_bias=0.1)
    assert f"1 of {len(pairs)} training texts cannot be aligned" in caplog.text
    assert [texts[row.encoded].alignment.num_chunks > 0 for row in ours] == [
        index > 0 for index in range(len(pairs))
    ]


def test_texts_that_all_change_are_refused(pair: Pair, tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", pair.teacher, [("Say it.", "a▁b")])
    capture(
        tmp_path / "d",
        tmp_path / "signal",
        teacher=pair.teacher,
        config=CaptureConfig(codec="actual"),
    )
    with pytest.raises(RecordError, match="1 of 1 training texts cannot be aligned"):
        train(
            tmp_path / "d",
            tmp_path / "s",
            config=settings(pair, "alm", preflight={"texts": 0}),
            signal=tmp_path / "signal",
        )
