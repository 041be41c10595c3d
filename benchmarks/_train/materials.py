"""What all trainers get: the same teacher, student and texts, in the same batches."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._demo import demo_prompts
from benchmarks._train.options import Options

if TYPE_CHECKING:
    from stillhouse.chat import ChatTokenizer
    from stillhouse.records import Prompt

MAX_TOKENS = 96
TOP_K = 32
SEED = 0
# Answers of about 12, 40 and 96 tokens: chats are not all of one length.
INSTRUCTIONS = (
    "Write a very short headline for this news: {}",
    "Say in one sentence what happened: {}",
    "Write a letter to the editor about this news: {}",
)


@dataclass(frozen=True)
class Materials:
    """A folder with everything that a trainer reads.

    Attributes:
        folder: Holds `teacher` and `student` (model folders), `dataset` and `signal` (artefacts)
            and `texts.jsonl`: the chats of the dataset in the order in which they are learnt.
    """

    folder: Path

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher"

    @property
    def student(self) -> Path:
        return self.folder / "student"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def signal(self) -> Path:
        return self.folder / "signal"

    @property
    def texts(self) -> Path:
        return self.folder / "texts.jsonl"


def make_materials(folder: Path, options: Options) -> Materials:
    """Let the teacher answer, capture its distributions, cut the student out of it."""
    from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
    from stillhouse.curate import CurateConfig, curate
    from stillhouse.models import load_model, pruned, save_model
    from stillhouse.records import Sampling

    made = Materials(folder)
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS, top_logprobs=TOP_K)
    completions = folder / "completions"
    collect(
        chats(options.num_texts),
        completions,
        teacher="local:",
        config=CollectConfig(sampling=sampling),
    )
    everything = CurateConfig(drop_truncated=False, drop_looping=False, deduplicate=False)
    curate(completions, made.dataset, config=everything)
    capture(
        made.dataset,
        made.signal,
        teacher="local:",
        config=CaptureConfig(top_k=TOP_K),
        completions=completions,
    )
    teacher = load_model("")
    _write_texts(made, teacher.chat, options)
    for path, layers in ((made.teacher, None), (made.student, options.keep_layers)):
        path.mkdir()
        save_model(pruned(teacher, layers, name=path.name), path)
    return made


def chats(num_texts: int) -> list["Prompt"]:
    """The demo's news under three instructions in turn."""
    from stillhouse.records import Message, Prompt

    news = (prompt.messages[-1].content for prompt in demo_prompts())
    return [
        Prompt(
            id=f"t{number}",
            messages=(Message(role="user", content=instruction.format(story)),),
            split="train",
        )
        for number, (story, instruction) in enumerate(zip(news, cycle(INSTRUCTIONS), strict=False))
        if number < num_texts
    ]


def read_texts(path: Path) -> list[dict[str, Any]]:
    """The rows of `texts.jsonl`: `messages`, `completion`, `prompt_ids`, `completion_ids`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_texts(made: Materials, chat: "ChatTokenizer", options: Options) -> None:
    from stillhouse.artifacts import open_artifact
    from stillhouse.records import Example

    rows = []
    for row in open_artifact(made.dataset).rows("examples", Example):
        encoded = chat.encode_example(row.messages, row.completion, row.completion_token_ids)
        rows.append(
            {
                "messages": [message.model_dump(mode="json") for message in row.messages],
                "completion": row.completion,
                "prompt_ids": encoded.ids[: encoded.num_prompt],
                "completion_ids": encoded.completion_ids,
            }
        )
    order = _batch_order([len(r["prompt_ids"]) + len(r["completion_ids"]) for r in rows], options)
    with made.texts.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(rows[index]) + "\n" for index in order)


def _batch_order(lengths: Sequence[int], options: Options) -> list[int]:
    """Our own order of an epoch, full batches only, so that all trainers see the same steps."""
    from stillhouse.train._batches import Schedule

    schedule = Schedule(lengths, options.batch_size, epochs=1.0, seed=SEED)
    full = [batch for batch in schedule.epoch_batches(0) if len(batch) == options.batch_size]
    return [index for batch in full for index in batch]
