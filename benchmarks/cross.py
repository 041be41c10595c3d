"""What an offline signal gives a student with another tokenizer, against one with the same one.

    python benchmarks/cross.py [--prompts 400] [--seeds 3] [--json benchmarks/results/cross.json]

A pair where both exist: the teacher is SmolLM2-135M-Instruct, and two students are cut from it in
the same way. One keeps the teacher's tokenizer and learns by plain forward KL. The other has only
the first half of its merges, and so of its ids: it writes the same text in more and other tokens,
and what the teacher says of a token that it lacks must be brought to its own. Both learn the same
texts, in the same order and number of steps, from signals captured once.

The two begin at different heights, because the second one reads in pieces that it was not made for,
so a plain fall would flatter it. What counts is the share of the gap that is closed: the fall of
held-out nats per byte over what would bring the student down to the teacher, which reads in its own
tokens. Bytes are what all have in common. `sft` is what the text alone gives, without a signal: a
signal that gives no more than it is worth nothing. Each seed orders the texts differently.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _machine import machine
from _result import publish
from _texts import completion_logprobs
from stillhouse.artifacts import open_artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.models import (
    LanguageModel,
    load_model,
    locate_model,
    pruned,
    save_model,
)
from stillhouse.records import Example, Message, Prompt, Sampling
from stillhouse.train import TrainConfig, train

TEACHER = "local:"
LAYERS = 12
TOP_K = 32
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
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

# Arm -> whether the tokenizer is the teacher's, objective, codec of its signal.
ARMS: dict[str, tuple[bool, str, str | None]] = {
    "same tokenizer, forward_kl": (True, "forward_kl", "topk"),
    "same tokenizer, sft": (True, "sft", None),
    "other tokenizer, forward_kl": (False, "forward_kl", "topk"),
    "other tokenizer, alm": (False, "alm", "actual"),
    "other tokenizer, sft": (False, "sft", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--dataset", type=Path, help="texts of the teacher's, instead of new ones")
    parser.add_argument("--work", type=Path, help="keep texts and signals here, and use them again")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        dataset = arguments.dataset or make_dataset(work, arguments.prompts)
        bench = Bench(work, dataset, arguments.epochs)
        arms = {name: bench.run(name, arguments.seeds) for name in arguments.arms}
    result = {
        "machine": machine(),
        "settings": {key: str(value) for key, value in vars(arguments).items() if key != "json"},
        "arms": with_share(arms),
    }
    publish(result, arguments.json)


def with_share(arms: dict[str, Any]) -> dict[str, Any]:
    """What each arm closes as a share of what the same tokenizer does, seed by seed."""
    whole = arms.get("same tokenizer, forward_kl")
    for arm in arms.values() if whole else ():
        shares = [
            one / other for one, other in zip(arm["gap_closed"], whole["gap_closed"], strict=True)
        ]
        arm["share_of_same_tokenizer"] = {
            "mean": statistics.mean(shares),
            "low": min(shares),
            "high": max(shares),
        }
    return arms


class Bench:
    """Texts, signals and bases, each made once."""

    def __init__(self, work: Path, dataset: Path, epochs: float) -> None:
        self._work, self._dataset, self._epochs = work, dataset, epochs
        work.mkdir(parents=True, exist_ok=True)
        rows = list(open_artifact(dataset).rows("examples", Example))
        self._held_out = [row for row in rows if row.split == "held_out"]
        self._floor = nats_per_byte(load_model(""), self._held_out)
        self._bases = {True: TEACHER, False: f"local:{make_coarse_base(work / 'coarse')}"}

    def run(self, name: str, num_seeds: int) -> dict[str, Any]:
        """Train one arm once per seed, and measure what it gained."""
        is_same, objective, codec = ARMS[name]
        signal = self._signal(codec) if codec else None
        before = nats_per_byte(self._untrained(is_same), self._held_out)
        after, seconds = [], []
        for seed in range(num_seeds):
            started_s = time.monotonic()
            out = self._work / "student"
            config = self._config(is_same, objective, seed)
            train(self._dataset, out, config=config, signal=signal, replace=True)
            seconds.append(time.monotonic() - started_s)
            after.append(nats_per_byte(load_model(out), self._held_out))
            print(f"{name}, seed {seed}: {before:.3f} to {after[-1]:.3f} nats/byte", flush=True)
            shutil.rmtree(out)
        return {
            "untrained_nats_per_byte": before,
            "trained_nats_per_byte": after,
            "teacher_nats_per_byte": self._floor,
            "gap_closed": [(before - one) / (before - self._floor) for one in after],
            "seconds": statistics.median(seconds),
        }

    def _config(self, is_same: bool, objective: str, seed: int) -> TrainConfig:
        is_cross = not is_same and objective != "sft"
        return TrainConfig.model_validate(
            {
                "objective": objective,
                "base": self._bases[is_same],
                "keep_layers": LAYERS,
                "epochs": self._epochs,
                "batch_size": BATCH_SIZE,
                "learning_rate": LEARNING_RATE,
                "seed": seed,
                "cross": {"teacher": TEACHER} if is_cross else {},
            }
        )

    def _signal(self, codec: str) -> Path:
        out = self._work / f"signal-{codec}"
        config = CaptureConfig.model_validate({"codec": codec, "top_k": TOP_K})
        capture(self._dataset, out, teacher=TEACHER, config=config)
        return out

    def _untrained(self, is_same: bool) -> LanguageModel:
        base = load_model(self._bases[is_same].removeprefix("local:"))
        return pruned(base, LAYERS, name="untrained")


def make_dataset(work: Path, num_prompts: int) -> Path:
    """Texts that the teacher wrote; each fifth is held out."""
    work.mkdir(parents=True, exist_ok=True)
    sampling = Sampling(max_tokens=48, temperature=1.0)
    config = CollectConfig(sampling=sampling)
    collect(prompts(num_prompts), work / "completions", teacher=TEACHER, config=config)
    curate(work / "completions", work / "dataset", config=CurateConfig(drop_truncated=False))
    return work / "dataset"


def prompts(wanted: int) -> list[Prompt]:
    """Different short tasks, as many as there are or are wanted."""
    found = [
        Prompt(
            id=f"p{number}",
            messages=(Message(role="user", content=text),),
            split="held_out" if number % _HELD_OUT_EACH == 0 else "train",
        )
        for number, text in enumerate(tasks())
    ]
    return found[:wanted]


def tasks() -> Iterator[str]:
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


def nats_per_byte(model: LanguageModel, rows: list[Example]) -> float:
    """-log q(text and its end) per byte of text, in the model's own tokens."""
    # Not the teacher's tokens, which other tokenizers do not have: all models read the text.
    encoded = [model.chat.encode_example(row.messages, row.completion) for row in rows]
    encoded.sort(key=lambda example: len(example.ids))
    total = sum(float(one.double().sum()) for one in completion_logprobs(model, encoded))
    return -total / sum(len(row.completion.encode()) for row in rows)


if __name__ == "__main__":
    main()
