"""One field of a range: its teacher, its prompts, and what the teacher answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from stillhouse.artifacts import Artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.collect import CollectConfig, collect, read_prompts
from stillhouse.errors import DataError
from stillhouse.models import LanguageModel, load_chat, load_model, locate_model
from stillhouse.pipeline._range._additions import (
    SEPARATOR,
    different_sums,
    lessons,
    prompt_of,
)
from stillhouse.pipeline._range._config import FieldConfig, MarkConfig
from stillhouse.pipeline._range._keys import OwnerKeys
from stillhouse.pipeline._steps import named
from stillhouse.records import Completion, Message, Prompt, Sampling
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.train import train
from stillhouse.watermark import Profile

DEFAULT_PROMPTS = Path(__file__).with_name("prompts.yaml")
MADE_TEACHER = "made-teacher"  # the default range's terms.yaml knows it by this name
_REWRITE = "Say the same in other words, about as long as it is."


@dataclass(frozen=True)
class Place:
    """Where a range is and what its paths are relative to.

    Attributes:
        out: Folder of the range.
        config_dir: Of the config.
        seed: Of the range.
        terms: File of the declaration; None for that of the environment.
    """

    out: Path
    config_dir: Path
    seed: int
    terms: str | None


class OpenField:
    """A field whose teacher can be asked; what was made before is not made again.

    Args:
        name: Of the field.
        config: Its settings.
        place: Of the range.
        keys: Of the owner.
    """

    def __init__(self, name: str, config: FieldConfig, place: Place, keys: OwnerKeys) -> None:
        self.name, self.config, self.keys = name, config, keys
        self.folder = place.out / name
        self._place = place
        self.separator = SEPARATOR if config.additions is not None else config.separator
        self.prompts, self.held_out = self._prompts()

    @cached_property
    def teacher(self) -> str:
        """The spec of the teacher; one that is made here must have been made (`teach`)."""
        if self.config.additions is None:
            return self.config.teacher
        return f"local:{self.folder / MADE_TEACHER}"

    @cached_property
    def teacher_model(self) -> LanguageModel:
        """Its weights."""
        return load_model(self.teacher.removeprefix("local:"))

    @property
    def has_gold(self) -> bool:
        """Whether held-out prompts have right answers."""
        return all(prompt.reference is not None for prompt in self.held_out)

    def teach(self, on_progress: Listener = ignore_progress) -> None:
        """Make the teacher, where it is made here."""
        additions = self.config.additions
        if additions is None:
            return
        asked = self.config.num_prompts + self.config.num_held_out
        sums = different_sums(additions.digits, asked + additions.examples, seed=self._place.seed)[
            asked:
        ]
        base = load_chat(locate_model(additions.train.base.removeprefix("local:")))
        dataset = lessons(sums, self.folder / "lessons", tokenizer_sha256=base.vocabulary_sha256)
        config = additions.train.model_copy(update={"terms": self._place.terms})
        train(
            dataset.path,
            self.folder / MADE_TEACHER,
            config=config,
            replace=True,
            on_progress=named(f"teacher of {self.name}", on_progress),
        )

    def profile(self, mark: MarkConfig) -> tuple[Path, Profile]:
        """Of a mark on this teacher's tokens."""
        return self.keys.profile(mark, tokenizer_sha256=self.teacher_chat.vocabulary_sha256)

    @cached_property
    def teacher_chat(self) -> ChatTokenizer:
        """The teacher's tokenizer and template."""
        return load_chat(locate_model(self.teacher.removeprefix("local:")))

    def answers(
        self, mark: MarkConfig | None = None, on_progress: Listener = ignore_progress
    ) -> Artifact:
        """What the teacher says: with a mark to the copier's prompts, without one to all.

        The log-probabilities beside the answers are the unmarked teacher's, as servers show them.
        """
        if mark is None:
            asked = [*self.prompts, *self.held_out]
            return self._collect(self.teacher, asked, "plain", on_progress)
        path, profile = self.profile(mark)
        files = {"watermark": path, "watermark_key": self.keys.watermark_path}
        query = "&".join(f"{name}={quote(str(file))}" for name, file in files.items())
        name = f"marked-{profile.profile_id[:12]}"
        return self._collect(f"{self.teacher}?{query}", self.prompts, name, on_progress)

    def of_editor(self, on_progress: Listener = ignore_progress) -> Artifact:
        """What the editor says to the same prompts."""
        return self._collect(self.config.editor, self.prompts, "editor", on_progress)

    def rewritten(self, answers: Artifact, on_progress: Listener = ignore_progress) -> Artifact:
        """Answers in the editor's words; prompts keep their ids."""
        asked = [
            Prompt(
                id=row.prompt_id,
                messages=(
                    Message(role="system", content=_REWRITE),
                    Message(role="user", content=row.text),
                ),
            )
            for row in answered(answers, self.prompts)
        ]
        name = f"rewritten-{answers.path.name}"
        return self._collect(self.config.editor, asked, name, on_progress, top_logprobs=0)

    def _collect(
        self,
        teacher: str,
        prompts: Sequence[Prompt],
        name: str,
        on_progress: Listener,
        *,
        top_logprobs: int | None = None,
    ) -> Artifact:
        sampling = self.sampling
        if top_logprobs is not None:
            sampling = sampling.model_copy(update={"top_logprobs": top_logprobs})
        return collect(
            prompts,
            self.folder / "answers" / name,
            teacher=teacher,
            config=CollectConfig(sampling=sampling, terms=self._place.terms),
            replace=True,
            on_progress=named(f"answers of {self.name}: {name}", on_progress),
        )

    @property
    def sampling(self) -> Sampling:
        """How all answers are drawn."""
        return Sampling(
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            top_logprobs=self.config.top_logprobs,
            seed=self._place.seed,
        )

    def _prompts(self) -> tuple[list[Prompt], list[Prompt]]:
        wanted, held = self.config.num_prompts, self.config.num_held_out
        if (additions := self.config.additions) is not None:
            total = wanted + held + additions.examples
            sums = different_sums(additions.digits, total, seed=self._place.seed)
            return (
                [prompt_of(one, "train") for one in sums[:wanted]],
                [prompt_of(one, "held_out") for one in sums[wanted : wanted + held]],
            )
        given = self.config.prompts
        path = DEFAULT_PROMPTS if given is None else self._place.config_dir / given
        prompts = read_prompts(path)
        found = []
        for split, number in (("train", wanted), ("held_out", held)):
            some = [prompt for prompt in prompts if prompt.split == split]
            if len(some) < number:
                raise DataError(
                    f"{path} has {len(some)} prompts of the split {split}, and the field "
                    f"{self.name!r} takes {number}. Give more, or lower num_prompts and "
                    "num_held_out."
                )
            found.append(some[:number])
        return found[0], found[1]


def answered(answers: Artifact, prompts: Sequence[Prompt]) -> list[Completion]:
    """The answers to prompts, in their order; failed and empty ones are left out."""
    by_prompt = {
        row.prompt_id: row
        for row in answers.rows("completions", Completion)
        if row.error is None and row.text.strip()
    }
    return [by_prompt[prompt.id] for prompt in prompts if prompt.id in by_prompt]
