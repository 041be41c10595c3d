"""Texts of the teacher, their signals, and the base whose tokenizer is another."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._cross.options import Options

from stillhouse.artifacts import Artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.models import load_model, locate_model, save_model
from stillhouse.records import Example, Message, Prompt, Sampling

TEACHER = "local:"
TOP_K = 32
MAX_TOKENS = 48
_HELD_OUT_EACH = 5

OBJECTS = (
    "bridge",
    "river",
    "bakery",
    "school",
    "garden",
    "library",
    "harbour",
    "museum",
    "market",
)
PLACES = ("a small town", "the coast", "a big city", "an island", "the mountains", "a village")
FORMS = (
    "a headline",
    "one sentence",
    "a question",
    "a short poem",
    "a proverb",
    "an advertisement",
    "a slogan",
    "a letter",
)


@dataclass(frozen=True)
class Materials:
    """What all students learn from and are measured on.

    Attributes:
        work: Where they are.
        dataset: The teacher's texts, in both splits.
        held_out: The rows that no student learns.
        coarse: The teacher with half of its merges.
    """

    work: Path
    dataset: Artifact
    held_out: list[Example]
    coarse: Path

    def base(self, *, is_same: bool) -> str:
        """What a student is cut from."""
        return TEACHER if is_same else f"local:{self.coarse}"

    def signal(self, codec: str) -> Path:
        """The teacher's signal on the texts, captured once."""
        out = self.work / f"signal-{codec}"
        config = CaptureConfig.model_validate({"codec": codec, "top_k": TOP_K})
        capture(self.dataset.path, out, teacher=TEACHER, config=config, replace=True)
        return out


def make_materials(options: Options) -> Materials:
    """Let the teacher write, or take what an earlier run of the same settings left."""
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    config = CollectConfig(sampling=Sampling(max_tokens=MAX_TOKENS, temperature=1.0))
    answers = work / "completions"
    collect(prompts(options.prompts), answers, teacher=TEACHER, config=config, replace=True)
    kept = CurateConfig(drop_truncated=False)
    dataset = curate(answers, work / "dataset", config=kept, replace=True)
    rows = dataset.rows("examples", Example)
    held_out = [row for row in rows if row.split == "held_out"]
    return Materials(work, dataset, held_out, make_coarse_base(work / "coarse"))


def prompts(wanted: int) -> list[Prompt]:
    """Different short tasks, as many as there are or are wanted."""
    found = [
        Prompt(
            id=f"p{number}",
            messages=(Message(role="user", content=text),),
            split="held_out" if number % _HELD_OUT_EACH == 0 else "train",
        )
        for number, text in enumerate(_tasks())
    ]
    return found[:wanted]


def _tasks() -> Iterator[str]:
    for form in FORMS:
        for place in PLACES:
            for thing in OBJECTS:
                yield f"Write {form} about a {thing} in {place}."


def make_coarse_base(folder: Path) -> Path:
    """The teacher with the first half of its merges: ids beyond them are cut from its head."""
    if (folder / "config.json").is_file():
        return folder
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    source = locate_model(TEACHER.removeprefix("local:"))
    model = load_model(source.path)
    save_model(model, folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    keep_half_of_the_merges(tokenizer["model"])
    path.write_text(json.dumps(tokenizer, ensure_ascii=False))
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    model.network.resize_token_embeddings(size)
    model.network.save_pretrained(folder)
    return folder


def keep_half_of_the_merges(model: dict[str, Any]) -> None:
    """Cut a BPE model; ids are in the order of merges, so those that are left stay as they are."""
    merges = model["merges"]
    model["merges"] = merges[: len(merges) // 2]
    last = model["merges"][-1]
    token = "".join(last.split(" ") if isinstance(last, str) else last)
    limit = model["vocab"][token]
    model["vocab"] = {one: number for one, number in model["vocab"].items() if number <= limit}
