"""A teacher's own probabilities of labels, where it or its log-probabilities tell them."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

from stillhouse.records import Completion, TokenLogprobs
from stillhouse.tasks._labels import Spellings, fold, spellings
from stillhouse.tasks._task import Task

MAX_UNKNOWN_MASS = 0.01
"""Probability that may be left unaccounted for in what still counts as exact."""

_DAMAGED = ("\ufffd", "\\x", "bytes:")  # how tokens that are parts of a character are shown


def label_probabilities(task: Task, completion: Completion) -> dict[str, float] | None:
    """The probability of each label under the teacher, given that it answers with one of them.

    What the teacher says of the labels itself counts first. Else the log-probabilities do: this
    follows the answer token by token until only one label begins like it. At each token, what the
    teacher might have said instead counts for the label that alone begins so, and for nothing where
    no label does. What several labels begin with, and what is beyond the top log-probabilities, is
    unknown; the result is exact but for that mass, of which there may be `MAX_UNKNOWN_MASS`.

    Returns:
        Labels with a probability, 1 in all; None where more is unknown, where the completion
        carries neither probabilities nor top log-probabilities as text, or where the task has
        `multiple` or no labels.
    """
    if task.kind != "classification" or task.multiple:
        return None
    if completion.label_probabilities is not None:
        return _stated(task, completion.label_probabilities)
    logprobs = completion.logprobs
    if logprobs is None:
        return None
    if logprobs.tokens is None or logprobs.top_tokens is None or not logprobs.top_k:
        return None
    if "".join(logprobs.tokens).strip() != completion.text.strip():
        return None
    if any(map(math.isnan, (*logprobs.logprobs, *logprobs.top_logprobs))):
        return None
    known = spellings(task.labels, tuple(task.aliases.items()))
    masses: defaultdict[str, float] = defaultdict(float)
    unknown, path, said = 0.0, 1.0, ""
    for token, probability, others in _steps(logprobs):
        unknown += path * max(0.0, 1.0 - probability - sum(others.values()))
        for other, mass in others.items():
            labels = _labels_that_begin(said + other, known)
            if len(labels) > 1 or any(mark in other for mark in _DAMAGED):
                unknown += path * mass
            elif labels:
                masses[labels.pop()] += path * mass
        path *= probability
        said += token
        labels = _labels_that_begin(said, known)
        if len(labels) <= 1:
            break
    if len(labels) != 1 or not path > 0.0 or not unknown <= MAX_UNKNOWN_MASS:
        return None
    masses[labels.pop()] += path
    total = math.fsum(masses.values())
    return {label: mass / total for label, mass in masses.items()}


def _stated(task: Task, given: Mapping[str, float]) -> dict[str, float] | None:
    """The probabilities that a teacher stated, by the labels of the task."""
    known = spellings(task.labels, tuple(task.aliases.items()))
    masses: defaultdict[str, float] = defaultdict(float)
    for said, probability in given.items():
        if (label := known.label_of(said)) is not None:
            masses[label] += probability
        elif probability > MAX_UNKNOWN_MASS:  # it chose among the labels of another task
            return None
    total = math.fsum(masses.values())
    return {label: mass / total for label, mass in masses.items()} if total > 0.0 else None


def _steps(logprobs: TokenLogprobs) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Of each token: its text, its probability, and those of the other top tokens."""
    tops = logprobs.top_tokens or ()
    for index, token in enumerate(logprobs.tokens or ()):
        start, end = index * logprobs.top_k, (index + 1) * logprobs.top_k
        others: defaultdict[str, float] = defaultdict(float)
        for other, logprob in zip(tops[start:end], logprobs.top_logprobs[start:end], strict=True):
            if other != token:
                others[other] += math.exp(min(logprob, 0.0))
        yield token, math.exp(min(logprobs.logprobs[index], 0.0)), others


def _labels_that_begin(text: str, known: Spellings) -> set[str]:
    folded = fold(text)
    return {label for spelling, label in known.folded.items() if spelling.startswith(folded)}
