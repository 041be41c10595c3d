"""How far a student is from its teacher, text by text: on the teacher's texts and on its own."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from benchmarks._quality.options import Options
from benchmarks._quality.students import (
    MAX_TOKENS,
    Materials,
    cost_of,
    make_student,
    opened,
)
from benchmarks._texts import completion_logprobs, sampled_texts

from stillhouse.chat import EncodedExample
from stillhouse.models import LanguageModel
from stillhouse.records import Example
from stillhouse.train._diagnose import compare_models
from stillhouse.train._live import LiveTeacher

_BATCH = 16
_TOP_K = 1  # of an overlap that is not used here


@dataclass(frozen=True)
class Texts:
    """Sums over the tokens of each text.

    Attributes:
        prompts: What each answers.
        tokens: How many it has.
        forward_kl: KL(teacher || student), nats.
        reverse_kl: KL(student || teacher), nats.
        nll: -log q(text) under the student, nats.
    """

    prompts: list[str]
    tokens: list[int]
    forward_kl: list[float]
    reverse_kl: list[float]
    nll: list[float]


@dataclass(frozen=True)
class Scores:
    """One student of one seed.

    Attributes:
        text: On the teacher's held-out texts.
        own: On what the student writes for their prompts at temperature 1.
        student_tokens: Tokens that were learnt to make it, without those of what it began as.
        seconds: Of that training.
    """

    text: Texts
    own: Texts
    student_tokens: float
    seconds: float


def scores_of(
    arm: str, seed: int, materials: Materials, teacher: LanguageModel, options: Options
) -> Scores:
    """Make the student of an arm and measure it, or take what was found of this very student."""
    made = make_student(arm, materials, seed, options)
    path = options.work / "scores" / f"{arm}-{seed}.json"
    measured = {
        "student": made.manifest_sha256 if made else f"{options.layers} layers",
        "dataset": materials.dataset.manifest_sha256,
        "draws": options.draws,
    }
    if path.exists() and (kept := json.loads(path.read_text()))["of"] == measured:
        found = kept["scores"]
        return Scores(**{**found, "text": Texts(**found["text"]), "own": Texts(**found["own"])})
    student, rows = opened(made, options), materials.held_out
    scores = Scores(
        text=_compared(student, teacher, rows, _given(student, rows)),
        own=_on_own_texts(student, teacher, rows, seed, options.draws),
        **cost_of(made),
    )
    path.parent.mkdir(exist_ok=True)
    written = path.with_suffix(".part")
    written.write_text(json.dumps({"of": measured, "scores": dataclasses.asdict(scores)}))
    written.replace(path)
    return scores


def _given(student: LanguageModel, rows: Sequence[Example]) -> list[EncodedExample]:
    encode = student.chat.encode_example
    return [encode(row.messages, row.completion, row.completion_token_ids) for row in rows]


def _on_own_texts(
    student: LanguageModel,
    teacher: LanguageModel,
    rows: Sequence[Example],
    seed: int,
    draws: int,
) -> Texts:
    asked = [row for row in rows for _ in range(draws)]
    texts = sampled_texts(
        student,
        [row.messages for row in asked],
        max_tokens=MAX_TOKENS,
        temperature=1.0,
        first_seed=seed * len(asked),
    )
    return _compared(student, teacher, asked, texts)


@torch.inference_mode()
def _compared(
    student: LanguageModel,
    teacher: LanguageModel,
    rows: Sequence[Example],
    examples: Sequence[EncodedExample],
) -> Texts:
    live = LiveTeacher(teacher, teacher.network.config.vocab_size)
    forward, reverse = [], []
    lengths = [len(example.completion_ids) for example in examples]
    for start in range(0, len(examples), _BATCH):
        part = slice(start, start + _BATCH)
        found = compare_models(student, live, examples[part], _TOP_K)
        for sums, value_N in ((forward, found.forward_kl_N), (reverse, found.reverse_kl_N)):
            sums += [float(text_T.double().sum()) for text_T in value_N.split(lengths[part])]
    nll = [-float(text_T.double().sum()) for text_T in completion_logprobs(student, examples)]
    return Texts([row.prompt_id for row in rows], lengths, forward, reverse, nll)
