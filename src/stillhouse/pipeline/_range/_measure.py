"""How good models are on held-out prompts, kept prompt by prompt so that nothing is asked twice.

Letters: P held-out prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.evaluate import TeacherScorer, write_texts
from stillhouse.models import LanguageModel, StudentStart, begin_student, load_model
from stillhouse.pipeline._range._field import OpenField, answered
from stillhouse.pipeline._range._kept import fingerprint, kept
from stillhouse.pipeline._range._seen import after_separator
from stillhouse.records import Example, Record, Sampling, unit_of


class Scores(Record):
    """One model on the held-out prompts of a field.

    `kl_P` holds sums over the tokens of each of the teacher's answers of KL(teacher || model), in
    nats; `right_P` whether the model's own answer was right, where prompts have answers.
    """

    kl_P: tuple[float, ...]
    tokens_P: tuple[float, ...]
    right_P: tuple[float, ...] | None


@dataclass(frozen=True)
class Judge:
    """Scores models of one field.

    Attributes:
        field: With a teacher that can be asked.
        folder: Gets a file for each model.
    """

    field: OpenField
    folder: Path

    @cached_property
    def examples(self) -> list[Example]:
        """The teacher's own answers to held-out prompts.

        Raises:
            DataError: there are fewer than two.
        """
        prompts = {prompt.id: prompt for prompt in self.field.held_out}
        found = []
        for row in answered(self.field.answers(), self.field.held_out):
            prompt = prompts[row.prompt_id]
            found.append(
                Example(
                    id=prompt.id,
                    prompt_id=prompt.id,
                    request_id=row.request_id,
                    messages=prompt.messages,
                    completion=row.text,
                    completion_token_ids=row.logprobs.token_ids if row.logprobs else None,
                    split="held_out",
                    group=prompt.group,
                )
            )
        if len(found) < 2:
            raise DataError(
                f"The teacher of {self.field.name!r} answered {len(found)} held-out prompts, which "
                "gives no interval. Give more prompts, or longer max_tokens."
            )
        return found

    @property
    def clusters(self) -> list[str]:
        """What each held-out prompt belongs to."""
        return [unit_of(one.prompt_id, one.group) for one in self.examples]

    def teacher(self) -> Scores:
        """The teacher itself."""
        return self._kept("teacher", lambda: self.field.teacher_model)

    def student(self, student: Artifact) -> Scores:
        """A student."""
        return self._kept(student.manifest_sha256[:16], lambda: load_model(student.path))

    def base(self, student: Artifact) -> Scores:
        """What a student was before it learnt anything."""
        start = StudentStart.read(student.path)
        config = student.manifest.config

        def begun() -> LanguageModel:
            base = load_model(str(config["base"]).removeprefix("local:"))
            return begin_student(base, start, name="base")

        begin = fingerprint(start.model_dump(mode="json"))
        return self._kept(f"base-{str(config['base_revision'])[:12]}-{begin}", begun)

    @cached_property
    def _scorer(self) -> TeacherScorer:
        teacher = self.field.teacher_model
        return TeacherScorer(
            teacher,
            [
                teacher.chat.encode_example(row.messages, row.completion, row.completion_token_ids)
                for row in self.examples
            ],
        )

    def _kept(self, name: str, load: Callable[[], LanguageModel]) -> Scores:
        return kept(self.folder / f"{name}.json", Scores, lambda: self._scores(load()))

    def _scores(self, model: LanguageModel) -> Scores:
        tokens = self._scorer.score(model)
        return Scores(
            kl_P=tuple(tokens.per_prompt(tokens.forward_kl_N).tolist()),
            tokens_P=tuple(tokens.tokens_P.tolist()),
            right_P=self._right(model) if self.field.has_gold else None,
        )

    def _right(self, model: LanguageModel) -> tuple[float, ...]:
        """Greedy answers against the right ones; what comes before a separator does not matter."""
        gold = {prompt.id: prompt.reference for prompt in self.field.held_out}
        sampling = Sampling(temperature=0.0, max_tokens=self.field.config.max_tokens)
        texts = write_texts(model, self.examples, sampling).texts
        separator = self.field.separator
        return tuple(
            float(is_right(text, gold[one.prompt_id] or "", separator))
            for text, one in zip(texts, self.examples, strict=True)
        )


def is_right(text: str, gold: str, separator: str | None) -> bool:
    """Whether an answer is the right one, up to spaces around it and a full stop after it."""
    given: str | None = text
    if separator is not None:
        # One that gives the answer alone is as right as one that shows how it got there.
        given = after_separator(text, separator) if separator in text else text
    return (given or "").strip().removesuffix(".").strip() == gold.strip()
