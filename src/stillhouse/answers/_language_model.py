"""Students that are causal language models: held to labels or a schema, or writing freely.

Letters: N messages, L labels, T tokens.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from stillhouse.answers._given import Given, Question, most_likely
from stillhouse.errors import RecordError
from stillhouse.models import LanguageModel
from stillhouse.tasks import Task, parse_answer

Held = Literal["label_trie", "constrained_labels", "json", "text"]
"""How a language model is made to answer: by the probabilities that it writes each label; with the
label that it ends up with when it may write nothing else; in JSON of the schema; as it likes."""

_UNREADABLE = Given(None, 0.0, "error")


class LabelTrieAnswerer:
    """Answers with the label that the model is most likely to write, of all labels.

    Args:
        task: A classification with one label a text.
        model: The model.
        is_trained: Whether it has learnt to write labels. One that has not would rather write
            something else first, so its labels are those that it ends up with when other tokens
            are forbidden on the way; by what it writes left alone it would be far worse.
    """

    def __init__(self, task: Task, model: LanguageModel, *, is_trained: bool = True) -> None:
        from stillhouse.models import label_logprobs, label_trie, trie_logprobs

        self._task = task
        self._model = model
        self._logprobs = label_logprobs if is_trained else trie_logprobs
        self._trie = label_trie(model.chat, task.labels)
        self._longest = max(map(len, self._trie.completions))

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order; none to what is too long for the model."""
        given = [_UNREADABLE] * len(questions)
        places = list(_readable(self._model, questions, num_left=self._longest))
        if not places:
            return given
        prompts = [questions[place].messages for place in places]
        logprobs_NL = self._logprobs(self._model, prompts, self._trie)
        shares_NL = np.exp(logprobs_NL - np.logaddexp.reduce(logprobs_NL, axis=1, keepdims=True))
        answers = most_likely(self._task, shares_NL, self._task.labels)
        for place, answer in zip(places, answers, strict=True):
            given[place] = answer
        return given


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
        """One answer a question, in order; none to what is too long for the model."""
        from stillhouse.models import GenerationJob, generate

        chat = self._model.chat
        jobs = [
            GenerationJob(
                key=str(place),
                prompt_ids=prompt_ids,
                max_tokens=min(self._max_tokens, self._model.context_tokens - len(prompt_ids)),
                grammar=self._grammar,
            )
            for place, prompt_ids in _readable(self._model, questions, num_left=1).items()
        ]

        def pull(limit: int) -> list[GenerationJob]:
            taken, jobs[:] = jobs[:limit], jobs[limit:]
            return taken

        given = [_UNREADABLE] * len(questions)
        for group in generate(self._model, pull):
            for generated in group:
                text, finish_reason = chat.decode_completion(generated.ids.tolist())
                is_cut = finish_reason == "length"
                given[int(generated.key)] = self._read(text, is_cut, generated.logprobs)
        return given

    def _read(self, text: str, is_cut: bool, logprobs_T: Any) -> Given:
        is_text = self._task.kind == "text"
        # Of free text the mean, since the probability of all of it falls with its length.
        total = logprobs_T.mean() if is_text else logprobs_T.sum()
        confidence = float(np.exp(min(total, 0.0)))
        if is_cut and not is_text and text.strip():
            return Given(None, confidence, "truncated")
        answer = parse_answer(self._task, text)
        return Given(answer.text, confidence, answer.problem)


def _readable(
    model: LanguageModel, questions: Sequence[Question], *, num_left: int
) -> dict[int, tuple[int, ...]]:
    """The prompts that leave so many tokens for an answer, by place.

    A message that is too long, or spells out a control token, is one bad message: whoever sends it
    gets no answer, and the others are judged all the same.
    """
    found = {}
    for place, question in enumerate(questions):
        try:
            prompt_ids = model.chat.encode_prompt(question.messages)
        except RecordError:
            continue
        if len(prompt_ids) + num_left <= model.context_tokens:
            found[place] = prompt_ids
    return found


def language_model_answerer(
    task: Task, model: LanguageModel, *, max_tokens: int, is_held: bool, is_trained: bool = True
) -> tuple[LabelTrieAnswerer | WritingAnswerer, Held]:
    """How a language model answers `task`, and what that is called.

    Args:
        task: The task.
        model: The model.
        max_tokens: Of an answer that it writes.
        is_held: Whether it may answer with nothing but labels, or JSON of the schema.
        is_trained: Whether it has learnt to.
    """
    if is_held and task.kind == "classification" and not task.multiple:
        how: Held = "label_trie" if is_trained else "constrained_labels"
        return LabelTrieAnswerer(task, model, is_trained=is_trained), how
    if is_held and task.kind == "extraction":
        from stillhouse.models import json_grammar

        grammar = json_grammar(model.chat, json.loads(task.schema_text))
        return WritingAnswerer(task, model, max_tokens=max_tokens, grammar=grammar), "json"
    return WritingAnswerer(task, model, max_tokens=max_tokens), "text"
