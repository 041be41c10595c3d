"""Students that are causal language models: held to labels or a schema, or writing freely.

Letters: N messages, L labels, T tokens.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stillhouse.evaluate._task._records import AnsweredBy
from stillhouse.evaluate._task._systems._answers import Given, Question, most_likely
from stillhouse.models import LanguageModel
from stillhouse.tasks import Task, parse_answer


class LabelTrieAnswerer:
    """Answers with the label that the model is most likely to write, of all labels."""

    def __init__(self, task: Task, model: LanguageModel) -> None:
        from stillhouse.models import label_trie

        self._task = task
        self._model = model
        self._trie = label_trie(model.chat, task.labels)

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        from stillhouse.models import label_logprobs

        prompts = [question.messages for question in questions]
        logprobs_NL = label_logprobs(self._model, prompts, self._trie)
        shares_NL = np.exp(logprobs_NL - np.logaddexp.reduce(logprobs_NL, axis=1, keepdims=True))
        return most_likely(self._task, shares_NL, self._task.labels)


class WritingAnswerer:
    """Answers with what the model writes, its most likely token each time."""

    def __init__(
        self, task: Task, model: LanguageModel, *, max_tokens: int, grammar: Any | None = None
    ) -> None:
        self._task = task
        self._model = model
        self._max_tokens = max_tokens
        self._grammar = grammar

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        from stillhouse.models import GenerationJob, generate

        chat = self._model.chat
        jobs = [
            GenerationJob(
                key=str(place),
                prompt_ids=chat.encode_prompt(question.messages),
                max_tokens=self._max_tokens,
                grammar=self._grammar,
            )
            for place, question in enumerate(questions)
        ]

        def pull(limit: int) -> list[GenerationJob]:
            taken, jobs[:] = jobs[:limit], jobs[limit:]
            return taken

        given: dict[int, Given] = {}
        for group in generate(self._model, pull):
            for generated in group:
                text, finish_reason = chat.decode_completion(generated.ids.tolist())
                is_cut = finish_reason == "length"
                given[int(generated.key)] = self._read(text, is_cut, generated.logprobs)
        return [given[place] for place in range(len(questions))]

    def _read(self, text: str, is_cut: bool, logprobs_T: Any) -> Given:
        is_text = self._task.kind == "text"
        # Of free text the mean, since the probability of all of it falls with its length.
        total = logprobs_T.mean() if is_text else logprobs_T.sum()
        confidence = float(np.exp(min(total, 0.0)))
        if is_cut and not is_text and text.strip():
            return Given(None, confidence, "truncated")
        answer = parse_answer(self._task, text)
        return Given(answer.text, confidence, answer.problem)


def language_model_answerer(
    task: Task, model: LanguageModel, *, max_tokens: int, is_held: bool
) -> tuple[LabelTrieAnswerer | WritingAnswerer, AnsweredBy]:
    """How a language model answers `task`, and what that is called.

    Args:
        task: The task.
        model: The model.
        max_tokens: Of an answer that it writes.
        is_held: Whether it may answer with nothing but labels, or JSON of the schema.
    """
    if is_held and task.kind == "classification" and not task.multiple:
        return LabelTrieAnswerer(task, model), "label_trie"
    if is_held and task.kind == "extraction":
        from stillhouse.models import json_grammar

        grammar = json_grammar(model.chat, json.loads(task.schema_text))
        return WritingAnswerer(task, model, max_tokens=max_tokens, grammar=grammar), "json"
    return WritingAnswerer(task, model, max_tokens=max_tokens), "text"
