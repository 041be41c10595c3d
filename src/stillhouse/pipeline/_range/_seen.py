"""What a defence lets an attack see, as a dataset that a student can learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, Counts, begin_artifact, is_up_to_date, open_artifact
from stillhouse.errors import DataError
from stillhouse.pipeline._range._config import AttackConfig, DefenceConfig
from stillhouse.pipeline._range._field import OpenField, answered
from stillhouse.pipeline._range._kept import fingerprint
from stillhouse.records import Completion, Example, Prompt, Usage
from stillhouse.runlog import Listener, ignore_progress

_STAGE = "range seen"


@dataclass(frozen=True)
class Seen:
    """What a copier has in hand.

    Attributes:
        examples: Prompts and what the student is to say.
        teacher: The teacher's answers that they come from.
        others: What else went in.
        has_logprobs: Whether the student learns from log-probabilities.
        is_fallback: Whether it wanted them and they were hidden.
    """

    examples: tuple[Example, ...]
    teacher: Artifact
    others: tuple[Artifact, ...]
    has_logprobs: bool
    is_fallback: bool

    @property
    def key(self) -> str:
        """The same for the same lessons, whatever attack and defence led to them."""
        rows = [[one.prompt_id, one.completion, one.completion_token_ids] for one in self.examples]
        return fingerprint(self.has_logprobs, rows)


def see(
    field: OpenField,
    defence: DefenceConfig,
    attack: AttackConfig,
    *,
    collected: int,
    on_progress: Listener = ignore_progress,
) -> Seen:
    """What is left of the teacher's answers.

    Args:
        field: Who answers what.
        defence: What the owner does.
        attack: What the copier does.
        collected: Requests that were answered: the first so many prompts.
        on_progress: Told while models write.

    Raises:
        DataError: nothing is left to learn from.
    """
    answers = field.answers(defence.mark, on_progress)
    prompts = field.prompts[:collected]
    others: list[Artifact] = []
    source = answers
    if attack.paraphrase:
        source = field.rewritten(answers, on_progress)
        others.append(source)
    rows = _rows(source, prompts, is_teachers=source is answers)
    if attack.mixing:
        editor = field.of_editor(on_progress)
        others.append(editor)
        # Every so many, so that both kinds are of all sorts of prompts.
        mixed = _spread(prompts, attack.mixing)
        rows |= _rows(editor, mixed, is_teachers=False)
    separator = field.separator if defence.hide_reasoning else None
    examples = []
    for prompt in prompts:
        row = rows.get(prompt.id)
        example = None if row is None else _example(prompt, row, separator)
        if example is not None:
            examples.append(example)
    if not examples:
        raise DataError(
            f"Of the answers of {field.name!r} nothing is left that a student could learn. Check "
            f"{answers.path}; the separator is {field.separator!r}."
        )
    hidden = defence.hide_logprobs or defence.hide_reasoning
    wants = attack.reads == "logprobs"
    return Seen(tuple(examples), answers, tuple(others), wants and not hidden, wants and hidden)


def seen_dataset(seen: Seen, out: Path) -> Artifact:
    """What is seen as an artefact; one that holds the same is returned as it is."""
    config = {"seen": seen.key}
    parents = [seen.teacher, *seen.others]
    if is_up_to_date(out, stage=_STAGE, config=config, parents=parents):
        return open_artifact(out)
    manifest = seen.teacher.manifest
    writer = begin_artifact(
        out, kind="dataset", stage=_STAGE, config=config, parents=parents, replace=True
    )
    try:
        kept = writer.write_rows("examples", seen.examples, Example)
        return writer.finish(
            counts=Counts.model_validate({"in": kept, "kept": kept}),
            usage=Usage(cost_usd=0.0),
            teacher=manifest.teacher,
            tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
            chat_template_sha256=manifest.chat_template_sha256,
            sampling=manifest.sampling,
        )
    finally:
        writer.release()


def after_separator(text: str, separator: str) -> str | None:
    """What comes after the last separator; None where there is none, or nothing after it."""
    _, found, rest = text.rpartition(separator)
    return rest.strip() or None if found else None


def _rows(
    source: Artifact, prompts: Sequence[Prompt], *, is_teachers: bool
) -> dict[str, Completion]:
    """Answers by prompt; only the teacher's own keep their ids.

    Of an editor's words the teacher would be found to think little, and training would not begin:
    they answer another prompt, and may be of another tokenizer.
    """
    rows = answered(source, prompts)
    if not is_teachers:
        rows = [row.model_copy(update={"logprobs": None}) for row in rows]
    return {row.prompt_id: row for row in rows}


def _example(prompt: Prompt, row: Completion, separator: str | None) -> Example | None:
    text: str | None = row.text
    ids = row.logprobs.token_ids if row.logprobs else None
    if separator is not None:
        text, ids = after_separator(row.text, separator), None
    if text is None:
        return None
    return Example(
        id=f"{row.request_id}/{prompt.id}",
        prompt_id=prompt.id,
        request_id=row.request_id,
        messages=prompt.messages,
        completion=text,
        completion_token_ids=ids,
        group=prompt.group,
    )


def _spread(prompts: Sequence[Prompt], share: float) -> list[Prompt]:
    """A share of prompts, evenly over all of them."""
    return [
        prompt
        for number, prompt in enumerate(prompts)
        if int((number + 1) * share) > int(number * share)
    ]
