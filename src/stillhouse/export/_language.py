"""The checks that all exported language models pass."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import DataError, ExportRefusedError
from stillhouse.export._config import Limits
from stillhouse.export._probe import Distance, network_logprobs
from stillhouse.export._report import Figure, MetricComparison
from stillhouse.export._source import Conversation, LanguageSource
from stillhouse.statistics import compare_paired

MIN_CONVERSATIONS = 200
_SHOWN = 60
_MIN_GROUPS = 10

Tokenize = Callable[[Conversation], Sequence[int]]


def token_identity(source: LanguageSource, tokenize: Tokenize) -> Figure:
    """How many fixtures the exported template and tokenizer read as training did.

    Args:
        source: The student.
        tokenize: Ids of a conversation by the exported files alone.

    Raises:
        ExportRefusedError: one differs, or the student's template takes too few.
    """
    total = len(source.conversations)
    if total < MIN_CONVERSATIONS:
        raise ExportRefusedError(
            f"The chat template of {source.model.name} takes {total} of the fixture conversations, "
            f"and {MIN_CONVERSATIONS} are needed to compare it. Correct the template."
        )
    for conversation in source.conversations:
        found = list(tokenize(conversation))
        if found != list(conversation.ids):
            raise ExportRefusedError(_difference(source.model.chat, conversation.ids, found))
    return Figure(name="identical_conversations", value=total, n=total, at_least=total)


def _difference(chat: ChatTokenizer, ids: Sequence[int], found: Sequence[int]) -> str:
    pairs = zip(ids, found, strict=False)
    at = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(found)))
    text = chat.tokenizer.decode(list(ids[max(at - 8, 0) : at + 8]))
    return (
        f"The exported template or tokenizer reads a fixture conversation as other tokens: at "
        f"{at} of {len(ids)} it has {list(found[at : at + 4])} where training had "
        f"{list(ids[at : at + 4])}, at {text[:_SHOWN]!r}. No difference is allowed. Nothing was "
        "exported; export another format, or correct the tokenizer's files."
    )


def network_distance(source: LanguageSource, network: Any) -> Distance:
    """How far another `transformers` network is, over the whole vocabulary."""
    distance = Distance()
    for text in source.probe:
        logprobs_TV = network_logprobs(network, text.ids, text.num_prompt).astype(np.float64)
        for place, (student_V, other_V) in enumerate(
            zip(text.logprobs_TV, logprobs_TV, strict=True)
        ):
            order_V = np.argsort(-other_V, kind="stable")
            distance.add(
                student_V,
                order_V,
                other_V[order_V],
                nats=-float(other_V[text.ids[text.num_prompt + place]]),
                group=text.group,
            )
    return distance


def distance_figures(distance: Distance, limits: Limits, *, by: str = "") -> list[Figure]:
    """The figures of a distance, held to limits.

    Args:
        distance: What was found.
        limits: What is allowed.
        by: Before each name: who computed it.
    """
    n = len(distance.kl)
    return [
        Figure.of(f"{by}mean_kl_nats", distance.mean_kl(), at_most=limits.max_mean_kl),
        Figure(name=f"{by}p99_kl_nats", value=distance.p99_kl(), n=n),
        Figure.of(f"{by}same_top1", distance.top1(with_ties=True), at_least=limits.min_top1),
        Figure.of(f"{by}equal_top1", distance.top1(with_ties=False)),
    ]


def text_metric(source: LanguageSource, distance: Distance) -> MetricComparison | None:
    """What the held-out answers cost the export beside the student; None without data.

    Raises:
        DataError: the held-out examples are too few for an interval.
    """
    if source.dataset is None:
        return None
    student = np.concatenate([text.nats for text in source.probe])
    exported = np.array(distance.nats)
    if len(set(distance.groups)) < _MIN_GROUPS:
        raise DataError(
            f"The held-out answers are of {len(set(distance.groups))} prompts or groups; a paired "
            f"interval needs {_MIN_GROUPS}. Give a dataset with more, or raise positions."
        )
    found = compare_paired(
        -exported, -student, margin=source.config.metric_margin, clusters=np.array(distance.groups)
    )
    return MetricComparison.of(
        "negative_nats_per_token",
        found,
        exported=float(-exported.mean()),
        student=float(-student.mean()),
    )
