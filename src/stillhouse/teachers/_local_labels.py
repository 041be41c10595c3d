"""Answers of local weights that are one of a set of labels, with the probability of each.

Letters: N requests, L labels.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from stillhouse.errors import ConfigError, RecordError
from stillhouse.models import LabelTrie, LanguageModel, label_trie, trie_logprobs
from stillhouse.records import Completion, ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import answer_of, failed

_MOST_TRIES = 16  # label sets of one run; not tuned


def is_choice(request: Request) -> bool:
    """Whether a request is answered with a label, not written.

    Tokens with their log-probabilities exist of written text only: who asks for them gets it.
    """
    return bool(request.labels) and not request.sampling.top_logprobs


class LabelChooser:
    """Answers with the likeliest label, whatever temperature is asked for.

    A label's probability is that of ending up with it when nothing but labels may be written
    (`trie_logprobs`). A teacher was not trained on this very task: left alone it may write
    something else before it comes to a label, which would then count for nothing.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._tries: dict[tuple[str, ...], LabelTrie] = {}

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer a request; those that the model cannot read are failed ones.

        Raises:
            ConfigError: the model cannot be asked for these labels.
            RecordError: a label spells out a control token.
        """
        by_labels: dict[tuple[str, ...], list[Request]] = {}
        for request in requests:
            by_labels.setdefault(request.labels, []).append(request)
        answers: list[Answer] = []
        for labels, group in by_labels.items():
            try:
                answers += self._choose(self._trie(labels), group)
            except ConfigError as err:
                raise ConfigError(f"{err} Or have it write: local:MODEL?answers=text.") from err
        return answers

    def _choose(self, trie: LabelTrie, requests: Sequence[Request]) -> list[Answer]:
        room = self._model.context_tokens - max(map(len, trie.completions))
        failures: list[Answer] = []
        readable: list[tuple[Request, int]] = []
        for request in requests:
            try:
                num_tokens = len(self._model.chat.encode_prompt(request.messages))
            except RecordError as err:
                failures.append(self._failed(request, "template_refused", str(err)))
                continue
            if num_tokens <= room:
                readable.append((request, num_tokens))
                continue
            message = (
                f"{num_tokens} prompt tokens, where {room} leave room for the longest label. "
                "Shorten it."
            )
            failures.append(self._failed(request, "prompt_too_long", message))
        if not readable:
            return failures
        logprobs_NL = trie_logprobs(self._model, [one.messages for one, _ in readable], trie)
        chosen = [
            self._answer(request, num_tokens, trie, np.exp(logprobs_L))
            for (request, num_tokens), logprobs_L in zip(readable, logprobs_NL, strict=True)
        ]
        return failures + chosen

    def _answer(
        self, request: Request, num_tokens: int, trie: LabelTrie, probabilities_L: np.ndarray
    ) -> Answer:
        best = int(probabilities_L.argmax())
        shares = np.minimum(probabilities_L / probabilities_L.sum(), 1.0).tolist()
        completion = Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            sample_index=request.sample_index,
            text=trie.labels[best],
            finish_reason="stop",
            model=self._model.name,
            usage=Usage(
                prompt_tokens=num_tokens,
                completion_tokens=len(trie.completions[best]),
                cost_usd=0.0,
            ),
            created_utc=datetime.now(UTC),
            label_probabilities=dict(zip(trie.labels, shares, strict=True)),
        )
        return answer_of(completion)

    def _trie(self, labels: tuple[str, ...]) -> LabelTrie:
        if labels not in self._tries:
            if len(self._tries) == _MOST_TRIES:
                self._tries.clear()
            self._tries[labels] = label_trie(self._model.chat, labels)
        return self._tries[labels]

    def _failed(self, request: Request, kind: str, message: str) -> Answer:
        return failed(request, ItemError(type=kind, message=message), model=self._model.name)
