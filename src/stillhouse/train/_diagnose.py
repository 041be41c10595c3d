"""What the loss does not show: how the student does on its own texts.

A student that only ever reads the teacher's texts is good at going on from those. What it will have
to go on from are its own, and the further in, the less they look like anything that it was trained
on (exposure bias). So a few prompts are answered by the student as it is, with the same randomness
each time, and teacher and student are compared there, position by position.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.train._config import TrainConfig
from stillhouse.train._diagnose_config import DiagnoseConfig
from stillhouse.train._live import LiveTeacher, open_live_teacher
from stillhouse.train._rollouts import Draft, Rollout, StudentDrawer, seed_of

_PREFIX = "diagnose/"
_TILE_TOKENS = 64  # whose logits exist at once; not tuned
_READ_TEXTS = 16  # that a model reads at once; not tuned
_BIN_ENDS = (8, 32, 128)  # of positions; the last bin has no end


class Comparison(NamedTuple):
    """Teacher and student at each position of some texts, (N,) each, nats.

    Attributes:
        position_N: Tokens of the completion before it.
        forward_kl_N: KL(teacher || student).
        reverse_kl_N: KL(student || teacher).
        overlap_N: Share of the teacher's K likeliest ids that are among the student's.
        entropy_N: Of the student.
    """

    position_N: Tensor
    forward_kl_N: Tensor
    reverse_kl_N: Tensor
    overlap_N: Tensor
    entropy_N: Tensor


class Diagnosis:
    """Compares a student with a teacher on a fixed set of prompts.

    Args:
        student: As it is at each call.
        teacher: Whom it learns from.
        examples: Prompts, and the texts that the teacher wrote for them.
        drafts: The same prompts as drafts of rollouts.
        top_k: Of the overlap.
    """

    def __init__(
        self,
        student: LanguageModel,
        teacher: LiveTeacher,
        examples: Sequence[EncodedExample],
        *,
        drafts: Sequence[Draft],
        top_k: int,
    ) -> None:
        self._student = student
        self._teacher = teacher
        self._examples = examples
        self._drafts = drafts
        self._draw = StudentDrawer(student, num_ids=teacher.num_ids)
        self._top_k = min(top_k, teacher.num_ids)

    def measure(self) -> dict[str, float]:
        """Numbers under `diagnose/...` names, and the time that they took.

        `exposure_bias` is forward KL on the student's own texts over that on the teacher's: 1 for
        a student that is as good on both.
        """
        started_s = time.monotonic()
        rollouts = self._draw(self._drafts)
        own = self._compare(
            [
                EncodedExample((*draft.prompt_ids, *rollout.ids), len(draft.prompt_ids))
                for draft, rollout in zip(self._drafts, rollouts, strict=True)
            ]
        )
        text = self._compare(self._examples)
        metrics = {
            "diagnose/rollout_forward_kl_nats": _mean(own.forward_kl_N),
            "diagnose/rollout_reverse_kl_nats": _mean(own.reverse_kl_N),
            "diagnose/text_forward_kl_nats": _mean(text.forward_kl_N),
            "diagnose/topk_overlap_fraction": _mean(own.overlap_N),
            "diagnose/rollout_entropy_nats": _mean(own.entropy_N),
            "diagnose/text_entropy_nats": _mean(text.entropy_N),
            **_by_position(own),
            **self._lengths(rollouts),
        }
        if metrics["diagnose/text_forward_kl_nats"] > 0.0:
            metrics["diagnose/exposure_bias"] = (
                metrics["diagnose/rollout_forward_kl_nats"]
                / metrics["diagnose/text_forward_kl_nats"]
            )
        return {**metrics, "time/diagnose_s": time.monotonic() - started_s}

    @torch.no_grad()
    def _compare(self, examples: Sequence[EncodedExample]) -> Comparison:
        parts = [
            compare_models(
                self._student, self._teacher, examples[start : start + _READ_TEXTS], self._top_k
            )
            for start in range(0, len(examples), _READ_TEXTS)
        ]
        return Comparison(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _lengths(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """Drift of lengths; the teacher's texts are counted up to where a rollout is cut."""
        own = sum(len(rollout.ids) for rollout in rollouts)
        limits = (draft.max_tokens for draft in self._drafts)
        written = sum(
            min(len(example.completion_ids), limit)
            for example, limit in zip(self._examples, limits, strict=True)
        )
        return {
            "diagnose/rollout_mean_tokens": own / len(rollouts),
            "diagnose/length_ratio": own / written,
            "diagnose/truncated_fraction": sum(one.is_truncated for one in rollouts)
            / len(rollouts),
        }


def compare_models(
    student: LanguageModel, teacher: LiveTeacher, examples: Sequence[EncodedExample], top_k: int
) -> Comparison:
    """Compare two models on the completions of given texts, over the ids that both know."""
    batch = predicting_batch(examples)
    student_ND = predicting_hidden_states(student.network, batch)
    teacher_NE = teacher.hidden_states(batch)
    head_VD = output_head(student.network).detach()[: teacher.num_ids]
    tiles = [
        _compare_tile(student_CD @ head_VD.T, teacher_CE @ teacher.head_VE.T, top_k)
        for student_CD, teacher_CE in zip(
            student_ND.split(_TILE_TOKENS), teacher_NE.split(_TILE_TOKENS), strict=True
        )
    ]
    positions = [torch.arange(len(example.completion_ids)) for example in examples]
    return Comparison(
        torch.cat(positions), *(torch.cat(column) for column in zip(*tiles, strict=True))
    )


def _compare_tile(
    student_CV: Tensor, teacher_CV: Tensor, top_k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    log_q_CV, log_p_CV = torch.log_softmax(student_CV, 1), torch.log_softmax(teacher_CV, 1)
    difference_CV = log_p_CV - log_q_CV
    p_CV, q_CV = log_p_CV.exp(), log_q_CV.exp()
    ids_CK = teacher_CV.topk(top_k, dim=1).indices
    least_C1 = student_CV.topk(top_k, dim=1).values[:, -1:]
    return (
        (p_CV * difference_CV).sum(1),
        -(q_CV * difference_CV).sum(1),
        (student_CV.gather(1, ids_CK) >= least_C1).float().mean(1),
        -(q_CV * log_q_CV).sum(1),
    )


def make_diagnosis(
    config: TrainConfig,
    examples: Sequence[EncodedExample],
    student: LanguageModel,
    teachers: Mapping[str, LiveTeacher],
    *,
    longest: int,
) -> Diagnosis | None:
    """What the settings ask for, on prompts that are spread over the dataset.

    Raises:
        ConfigError: it is asked for and there is no one teacher to compare with.
        VocabularyMismatchError: the teacher reads text otherwise than the student.
    """
    asked = config.diagnose
    if asked is None:
        return None
    if asked.teacher is None and len(teachers) != 1:
        raise ConfigError(
            f"diagnose compares with one teacher, and {len(teachers)} are live. Set "
            "diagnose.teacher to local: or to the folder of the one that is meant."
        )
    if asked.teacher is None:
        (teacher,) = teachers.values()
    else:
        teacher = open_live_teacher(
            asked.teacher,
            student.chat,
            num_student_ids=output_head(student.network).shape[0],
        )
    longest = min(longest, teacher.model.context_tokens)
    readable = [example for example in examples if len(example.ids) <= longest]
    if not readable:
        raise ConfigError(
            f"diagnose.teacher reads {longest} tokens, fewer than any training example has. "
            "Compare with another."
        )
    number = min(asked.prompts, len(readable))
    chosen = [readable[index * len(readable) // number] for index in range(number)]
    drafts = [
        Draft(
            prompt_ids=example.ids[: example.num_prompt],
            max_tokens=min(asked.max_tokens, longest - example.num_prompt),
            seed=seed_of(config.seed, "diagnose", row),
        )
        for row, example in enumerate(chosen)
    ]
    return Diagnosis(student, teacher, chosen, drafts=drafts, top_k=asked.top_k)


def diagnosis_clock(config: TrainConfig) -> "DiagnosisClock":
    """When the settings want the student to be measured."""
    asked = config.diagnose or DiagnoseConfig()
    return DiagnosisClock(every_steps=asked.every_steps, max_time_fraction=asked.max_time_fraction)


class DiagnosisClock:
    """Says when to measure: every so many steps, as long as it has not cost too much.

    Args:
        every_steps: Steps between two measurements.
        max_time_fraction: A measurement is left out while all of them have taken more than this
            share of the time so far.
    """

    def __init__(self, *, every_steps: int, max_time_fraction: float) -> None:
        self._every_steps = every_steps
        self._max_time_fraction = max_time_fraction
        self._spent_s = 0.0
        self._started_s = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether to measure before this step."""
        so_far_s = time.monotonic() - self._started_s
        is_cheap = self._spent_s <= self._max_time_fraction * so_far_s
        return step % self._every_steps == 0 and is_cheap

    def spent(self, seconds: float) -> None:
        """Count what a measurement took."""
        self._spent_s += seconds


def diagnosis_results(
    metrics: Sequence[Mapping[str, float]], at_end: Mapping[str, float]
) -> dict[str, dict[str, float] | float]:
    """What a manifest says of a diagnosis: before the first step, after the last, and its cost."""
    lines = [line for line in metrics if "time/diagnose_s" in line]
    if not lines or not at_end:
        return {}
    return {
        "diagnosis_before": _without_prefix(lines[0]),
        "diagnosis_after": _without_prefix(at_end),
        "diagnosis_seconds": sum(line["time/diagnose_s"] for line in (*lines, at_end)),
    }


def _without_prefix(measured: Mapping[str, float]) -> dict[str, float]:
    return {
        name.removeprefix(_PREFIX): value
        for name, value in measured.items()
        if name.startswith(_PREFIX)
    }


def _by_position(own: Comparison) -> dict[str, float]:
    """Mean forward KL in bins of the position, those that no rollout reaches left out."""
    starts = (0, *_BIN_ENDS)
    ends = (*_BIN_ENDS, None)
    means = {}
    for start, end in zip(starts, ends, strict=True):
        inside_N = own.position_N >= start
        if end is not None:
            inside_N &= own.position_N < end
        if bool(inside_N.any()):
            name = f"from_{start}" if end is None else f"{start}_to_{end - 1}"
            means[f"diagnose/rollout_forward_kl_{name}_nats"] = _mean(own.forward_kl_N[inside_N])
    return means


def _mean(value_N: Tensor) -> float:
    return float(value_N.double().mean())
