"""Checks that ask the teacher's weights, where they are at hand."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stillhouse.losses import TILE_TOKENS, Head, token_logprobs
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.signal import TokenSignal, TopKSignal
from stillhouse.train._preflight_checks import Check, Subject
from stillhouse.train._preflight_signal import check_likelihood, surprise_of_hidden
from stillhouse.train._rows import TrainingRow

_REPEAT_EVERY = 4  # of the texts are scored twice


def check_teacher(subject: Subject) -> Iterator[Check]:
    """Whether the teacher's weights tell the same twice, wrote the text, and gave the signal."""
    teacher, sample = subject.teacher, subject.own or subject.sample
    if teacher is None:
        return
    yield _check_prompts(subject, teacher)
    with torch.inference_mode():
        head_VD = output_head(teacher.network).detach()
        hidden_ND, ids_N = _read(teacher, sample)
        surprise = surprise_of_hidden(hidden_ND, head_VD, ids_N)
        yield _check_repeat(subject, teacher, sample, surprise.logprob_N)
        yield from check_likelihood(subject, surprise, "teacher")
        yield from _check_gap(subject, sample, hidden_ND, head_VD, surprise.logprob_N)


def _check_prompts(subject: Subject, teacher: LanguageModel) -> Check:
    """Teacher and student must read the same prompts where they share a tokenizer."""
    name = "prompts of the teacher"
    is_same = teacher.chat.vocabulary_sha256 == subject.chat.vocabulary_sha256
    if not is_same or subject.limits.allow_other_template:
        return Check(name)
    for row in subject.sample:
        theirs = teacher.chat.encode_prompt(row.example.messages)
        if theirs != row.encoded.ids[: row.encoded.num_prompt]:
            return Check(
                name,
                f"The teacher renders the prompt of example {row.example.id} as {len(theirs)} "
                f"tokens and the student as {row.encoded.num_prompt} others. Give both one chat "
                "template, or set preflight.allow_other_template.",
            )
    return Check(name)


def _read(teacher: LanguageModel, sample: list[TrainingRow]) -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) that predict the completions, and the ids (N,) that follow."""
    batch = predicting_batch([row.encoded for row in sample])
    return predicting_hidden_states(teacher.network, batch), batch.target_ids_N


def _check_repeat(
    subject: Subject, teacher: LanguageModel, sample: list[TrainingRow], logprob_N: Tensor
) -> Check:
    """Score some of the sample again, in another batch; `logprob_N` is what all got at first."""
    lengths = [len(row.encoded.completion_ids) for row in sample]
    first_N = torch.cat(logprob_N.split(lengths)[::_REPEAT_EVERY])
    hidden_ND, ids_N = _read(teacher, sample[::_REPEAT_EVERY])
    again_N = token_logprobs(hidden_ND, Head(output_head(teacher.network)), ids_N)
    apart, limit = float((first_N - again_N).abs().max()), subject.limits.max_repeat_nats
    problem = None
    if not apart <= limit:
        problem = (
            f"The teacher scores the same token twice {apart:.4f} nats apart (at most {limit:g}): "
            "its distributions are noise to that degree. Turn its dropout off and serve it in one "
            "precision, or raise preflight.max_repeat_nats."
        )
    return Check("repeated scoring", problem, apart, limit, "nats")


def _check_gap(
    subject: Subject,
    sample: list[TrainingRow],
    hidden_ND: Tensor,
    head_VD: Tensor,
    logprob_N: Tensor,
) -> Iterator[Check]:
    if subject.signal is None or any(
        row.encoded.signal_key not in subject.reader for row in sample
    ):
        return
    signals = [subject.reader.read(row.encoded.signal_key) for row in sample]
    lengths = [len(row.encoded.completion_ids) for row in sample]
    if [len(signal) for signal in signals] != lengths:
        return
    if isinstance(signals[0], TopKSignal):
        if max(int(signal.ids.max()) for signal in signals) >= len(head_VD):
            return  # which another check refuses
        gap = _top_k_gap(signals, hidden_ND, head_VD)
    elif isinstance(signals[0], TokenSignal):
        stored_N = torch.from_numpy(np.concatenate([signal.logprobs for signal in signals]))
        # Two models that differ by d nats differ by about d^2 / 2 in KL.
        gap = float((stored_N - logprob_N).square().mean()) / 2
    else:
        return
    limit, problem = subject.limits.max_gap_nats, None
    if not gap <= limit:
        problem = (
            f"The signal is {gap:.3f} nats a token from what the teacher says now (at most "
            f"{limit:g}): it came from other weights, another precision or other text. Run capture "
            "again with this teacher."
        )
    yield Check("signal against teacher", problem, gap, limit, "nats")


def _top_k_gap(signals: list[TopKSignal], hidden_ND: Tensor, head_VD: Tensor) -> float:
    """Mean KL(signal || teacher) over the stored ids and the rest."""
    joined = TopKSignal.joined(signals)
    total = 0.0
    for start in range(0, len(joined), TILE_TOKENS):
        part = joined.rows(start, min(start + TILE_TOKENS, len(joined)))
        logits_CV = hidden_ND[start : start + len(part)] @ head_VD.T
        now_CK = torch.log_softmax(logits_CV, dim=1).gather(1, torch.from_numpy(part.ids).long())
        stored_CK = torch.from_numpy(part.logprobs)
        probs_CK = stored_CK.exp()
        now_rest_C = (1.0 - (now_CK.exp() * (probs_CK > 0)).sum(dim=1)).clamp(min=1e-7).log()
        rest_C = torch.from_numpy(part.tail_logprob)
        kl_CK = torch.where(probs_CK > 0, probs_CK * (stored_CK - now_CK), 0.0)
        kl_rest_C = torch.where(rest_C.exp() > 0, rest_C.exp() * (rest_C - now_rest_C), 0.0)
        total += float(kl_CK.sum() + kl_rest_C.sum())
    return total / len(joined)
