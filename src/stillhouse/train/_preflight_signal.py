"""Checks of a captured signal against the text: they need no teacher."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stillhouse.errors import StillhouseError
from stillhouse.losses import TILE_TOKENS
from stillhouse.signal import HiddenSignal, TopKSignal, check_fingerprints, read_head
from stillhouse.train._preflight_checks import Check, Subject, Surprise
from stillhouse.train._rows import TrainingRow

MIN_DEVIATIONS = 5.0
"""How sure a refusal must be; a sound signal is this far off once in three million runs."""

_MIN_TAIL = 1e-5
_LOWEST = -30.0  # nats; stands for no probability at all


def check_signal(subject: Subject) -> Iterator[Check]:
    """Whether the signal is of this text, by this teacher, and not tampered with on the way."""
    if subject.signal is None:
        return
    yield _check_fingerprints(subject)
    rows = _check_rows(subject)
    yield rows
    if rows.problem is not None:
        return
    lengths = _check_lengths(subject)
    yield lengths
    if lengths.problem is not None:
        return
    sample = subject.own or subject.sample
    signals = [subject.reader.read(row.encoded.signal_key) for row in sample]
    if isinstance(signals[0], TopKSignal):
        yield from _check_top_k(subject, signals)
        likelihood = list(check_likelihood(subject, _of_top_k(subject, sample, signals), "signal"))
        # Text that repeats itself is likely at its neighbour too: a shift explains a refusal, and
        # is none by itself.
        if any(check.problem for check in likelihood):
            yield _check_shift(subject, sample, signals)
        yield from likelihood
    elif isinstance(signals[0], HiddenSignal):
        head_VD = torch.from_numpy(read_head(subject.signal))
        yield from check_likelihood(subject, _of_hidden(sample, signals, head_VD), "signal")


def check_likelihood(subject: Subject, surprise: Surprise, whose: str) -> Iterator[Check]:
    """Whether text can be of the teacher whose distributions these are."""
    limits = subject.limits
    if not subject.own:
        yield _check_bound(subject, surprise, whose)
        return
    name, is_sure = f"likelihood ({whose})", abs(surprise.deviations) > MIN_DEVIATIONS
    problem = None
    if subject.is_sharpened and is_sure and surprise.excess_nats > limits.max_excess_nats:
        problem = (
            f"The {whose} finds the completions of {subject.dataset.path} less likely than a "
            f"teacher finds its own text: {surprise.nll_nats:.2f} nats a token, "
            f"{surprise.excess_nats:.2f} above its entropy (at most {limits.max_excess_nats:g}). "
            "It is of another model, template or text: run capture again with the teacher that "
            "wrote them."
        )
    if subject.is_plain_sample and is_sure and -surprise.excess_nats > limits.max_deficit_nats:
        problem = (
            f"The {whose} is flatter than what the completions of {subject.dataset.path} were "
            f"drawn from at temperature 1: {-surprise.excess_nats:.2f} nats a token below its "
            f"entropy (at most {limits.max_deficit_nats:g}). Capture at temperature 1."
        )
    yield Check(name, problem, surprise.excess_nats, limits.max_excess_nats, "nats")


def _check_bound(subject: Subject, surprise: Surprise, whose: str) -> Check:
    limit, nll = subject.limits.max_nll_nats, surprise.nll_nats
    problem = None
    if not nll <= limit:
        problem = (
            f"The {whose} needs {nll:.2f} nats for a token of {subject.dataset.path} (at most "
            f"{limit:g}): the text, its tokenizer or its template cannot be the teacher's."
        )
    return Check(f"likelihood ({whose})", problem, nll, limit, "nats")


def _check_fingerprints(subject: Subject) -> Check:
    assert subject.signal is not None
    try:
        check_fingerprints(
            subject.signal,
            dataset=subject.dataset,
            vocabulary_sha256=subject.chat.vocabulary_sha256,
            template_sha256=subject.chat.template_sha256,
        )
    except StillhouseError as err:
        return Check("teacher, tokenizer, template", str(err))
    return Check("teacher, tokenizer, template")


def _check_rows(subject: Subject) -> Check:
    missing = [row for row in subject.rows if row.encoded.signal_key not in subject.reader]
    if not missing:
        return Check("rows of the signal")
    return Check(
        "rows of the signal",
        f"The signal lacks {len(missing)} of {len(subject.rows)} training examples, "
        f"{missing[0].example.id} first. Run capture on this dataset.",
    )


def _check_lengths(subject: Subject) -> Check:
    for row in subject.sample:
        num_tokens = len(row.encoded.completion_ids)
        num_positions = len(subject.reader.read(row.encoded.signal_key))
        if num_positions != num_tokens:
            return Check(
                "positions of the signal",
                f"The signal of example {row.example.id} has {num_positions} positions for "
                f"{num_tokens} completion tokens. Run capture again.",
            )
    return Check("positions of the signal")


def _check_top_k(subject: Subject, signals: list[TopKSignal]) -> Iterator[Check]:
    num_rows = subject.num_ids
    largest = max(int(signal.ids.max()) for signal in signals)
    problem = None
    if largest >= num_rows:
        problem = (
            f"The signal holds token id {largest}, but {subject.student.name} has {num_rows} rows "
            "in its head. Capture with the student's tokenizer."
        )
    yield Check("ids of the signal", problem)
    tails = np.exp(np.concatenate([signal.tail_logprob for signal in signals]))
    problem = None
    if signals[0].ids.shape[1] < num_rows and float(tails.max()) < _MIN_TAIL:
        problem = (
            f"The signal leaves nothing outside its {signals[0].ids.shape[1]} largest "
            "log-probabilities at any position: it was renormalised. Capture raw log-probabilities."
        )
    yield Check("mass outside top-k", problem, float(tails.mean()))


def _of_top_k(subject: Subject, sample: list[TrainingRow], signals: list[TopKSignal]) -> Surprise:
    joined = TopKSignal.joined(signals)
    probs_NO, logprobs_NO = _outcomes(joined, subject.num_ids)
    logprob_N = _logprobs_of(joined, np.array(_learnt_ids(sample)), subject.num_ids)
    return Surprise(logprob_N, *_moments(probs_NO, logprobs_NO.clamp(min=_LOWEST)))


def _learnt_ids(sample: list[TrainingRow]) -> list[int]:
    return [token_id for row in sample for token_id in row.encoded.completion_ids]


def _outcomes(signal: TopKSignal, num_ids: int) -> tuple[Tensor, Tensor]:
    """Masses (n, K + 1) of the ids and of all others, and log-probabilities of one id of each.

    What is outside the K is spread evenly: whether a token falls there, and what that should cost
    on average, is the same however it is really spread.
    """
    num_kept = np.isfinite(signal.logprobs).sum(axis=1)
    rest = signal.tail_logprob - np.log(np.maximum(num_ids - num_kept, 1)).astype(np.float32)
    logprobs = torch.from_numpy(np.column_stack([signal.logprobs, rest]))
    masses = torch.from_numpy(np.column_stack([signal.logprobs, signal.tail_logprob])).exp()
    return masses, logprobs


def _logprobs_of(signal: TopKSignal, ids: "np.ndarray[Any, Any]", num_ids: int) -> Tensor:
    """Of one token at each position; as low as float32 can say where there is no room for it."""
    _, logprobs = _outcomes(signal, num_ids)
    is_token = (signal.ids == ids[:, None]) & np.isfinite(signal.logprobs)
    place = np.where(is_token.any(axis=1), is_token.argmax(axis=1), signal.ids.shape[1])
    picked = logprobs.gather(1, torch.from_numpy(place).long().unsqueeze(1)).squeeze(1)
    return picked.clamp(min=_LOWEST)


def _moments(probs_NO: Tensor, logprobs_NO: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of -log p, (n,) each, of what is drawn from outcomes of these masses."""
    entropy_N = -(probs_NO * logprobs_NO).sum(dim=1)
    variance_N = (probs_NO * logprobs_NO.square()).sum(dim=1) - entropy_N.square()
    return entropy_N, variance_N.clamp(min=0.0)


def _of_hidden(sample: list[TrainingRow], signals: list[HiddenSignal], head_VD: Tensor) -> Surprise:
    hidden_ND = torch.from_numpy(np.concatenate([signal.hidden for signal in signals]))
    return surprise_of_hidden(hidden_ND, head_VD, torch.tensor(_learnt_ids(sample)))


def surprise_of_hidden(hidden_ND: Tensor, head_VD: Tensor, ids_N: Tensor) -> Surprise:
    """Of tokens whose distributions a head gives over a whole vocabulary, tile by tile."""
    parts = []
    for hidden_CD, ids_C in zip(
        hidden_ND.split(TILE_TOKENS), ids_N.split(TILE_TOKENS), strict=True
    ):
        logprobs_CV = torch.log_softmax(hidden_CD @ head_VD.T, dim=1)
        picked_C = logprobs_CV.gather(1, ids_C.unsqueeze(1)).squeeze(1)
        parts.append((picked_C, *_moments(logprobs_CV.exp(), logprobs_CV)))
    return Surprise(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _check_shift(subject: Subject, sample: list[TrainingRow], signals: list[TopKSignal]) -> Check:
    """Whether the signal predicts the token after each position, and not its neighbour."""
    nll = {offset: _shifted_nll(sample, signals, offset, subject.num_ids) for offset in (-1, 0, 1)}
    best = min(nll, key=lambda offset: nll[offset])
    problem = None
    if best != 0 and nll[0] - nll[best] > 1.0:
        problem = (
            f"The signal is off by one: it predicts the token {'after' if best > 0 else 'before'} "
            f"the one it stands at ({nll[best]:.2f} nats against {nll[0]:.2f}). Capture again."
        )
    return Check("shift", problem, nll[0] - min(nll[-1], nll[1]), 1.0, "nats")


def _shifted_nll(
    sample: list[TrainingRow], signals: list[TopKSignal], offset: int, num_ids: int
) -> float:
    """Mean -log p of the tokens `offset` places after those that the signal stands at."""
    picked = []
    for row, signal in zip(sample, signals, strict=True):
        ids = np.array(row.encoded.completion_ids)
        start, stop = max(0, -offset), len(ids) - max(0, offset)
        if stop > start:
            part = signal.rows(start, stop)
            picked.append(_logprobs_of(part, ids[start + offset : stop + offset], num_ids))
    return -float(torch.cat(picked).mean()) if picked else 0.0
