"""What a teacher's text alone gives: its text as it is, as a preference, or through a rival.

    python benchmarks/blackbox.py [--prompts 400] [--held-out 60] [--answers 2] [--seeds 1]
        [--json benchmarks/results/blackbox.json]

The teacher is SmolLM2-135M-Instruct, asked for text only, several answers to each prompt. A student
of 12 of its layers first learns that text (`start`). From there three go on, each over as many
student tokens: `seqkd` on the same text, `preference` (DPO: the teacher's text over the student's
own) and `adversarial` (GAD: a discriminator that learns beside it). On held-out prompts each then
writes at temperature 1, with the same seeds. The teacher's weights are used for the verdict alone:
a text wins over seqkd's on the same prompt where the teacher finds it likelier per token. That
favours dull text, so looping texts, lengths and texts that were cut are counted beside it.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from _demo import demo_prompts
from _machine import machine
from _result import publish
from _texts import completion_logprobs, num_tokens_learnt, sampled_texts
from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.collect import CollectConfig, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.models import (
    LanguageModel,
    load_model,
)
from stillhouse.records import Example, Prompt, Sampling
from stillhouse.statistics import fraction_interval, is_looping
from stillhouse.train import TrainConfig, train

TEACHER = "local:"
LAYERS = 12
MAX_TOKENS = 32


class Text(NamedTuple):
    """What a student wrote for one prompt."""

    example: EncodedExample
    text: str
    is_cut: bool
    teacher_nats: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=400, help="training prompts")
    parser.add_argument("--held-out", type=int, default=60, help="held-out prompts")
    parser.add_argument("--answers", type=int, default=2, help="of the teacher to each prompt")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=2.0, help="of the start, and of each after")
    parser.add_argument("--layers", type=int, default=LAYERS, help="that the student keeps")
    parser.add_argument("--work", type=Path, help="folder to keep artefacts in, and go on from")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(arguments, work)
    publish(result, arguments.json)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    dataset = make_dataset(arguments, work)
    teacher = load_model(TEACHER.removeprefix("local:"))
    held_out = [row for row in dataset.rows("examples", Example) if row.split == "held_out"]
    prompts = list({row.prompt_id: row for row in held_out}.values())
    return {
        "machine": machine(),
        "prompts": arguments.prompts,
        "answers": arguments.answers,
        "held_out_prompts": len(prompts),
        "layers": arguments.layers,
        "seeds": [
            one_seed(arguments, dataset, teacher, prompts, work / f"seed-{seed}", seed)
            for seed in range(arguments.seeds)
        ],
    }


def make_dataset(arguments: argparse.Namespace, work: Path) -> Artifact:
    wanted = {"train": arguments.prompts, "held_out": arguments.held_out}
    prompts: list[Prompt] = []
    for split, number in wanted.items():
        of_split = (prompt for prompt in demo_prompts() if prompt.split == split)
        prompts += islice(of_split, number)
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS, top_logprobs=1)
    config = CollectConfig(sampling=sampling, samples_per_prompt=arguments.answers)
    collect(prompts, work / "completions", teacher=TEACHER, config=config)
    return curate(work / "completions", work / "dataset", config=CurateConfig())


def one_seed(
    arguments: argparse.Namespace,
    dataset: Artifact,
    teacher: LanguageModel,
    prompts: list[Example],
    work: Path,
    seed: int,
) -> dict[str, Any]:
    """Train the start and the three that go on from it, and let the teacher judge."""
    work.mkdir(exist_ok=True)
    common = {"batch_size": 8, "seed": seed, "equal_prompts": True}
    start = run(
        dataset,
        work / "start",
        {**common, "keep_layers": arguments.layers, "objective": "sft"},
        {"epochs": arguments.epochs, "learning_rate": 7e-4, "warmup_fraction": 0.3},
    )
    onward = {**common, "base": f"local:{work / 'start'}", "rollout": {"max_tokens": MAX_TOKENS}}
    schedule = {"epochs": arguments.epochs, "learning_rate": 5e-5}
    made = {"start": start}
    made["preference"] = run(
        dataset,
        work / "preference",
        {**onward, "objective": "preference", "source": "pairs"},
        {**schedule, "epochs": arguments.epochs / 2},
    )
    made["adversarial"] = run(
        dataset,
        work / "adversarial",
        {**onward, "objective": "adversarial", "source": "rated"},
        {**schedule, "adversarial": {"samples": 4, "warmup_epochs": arguments.epochs / 4}},
    )
    # As many student tokens as the one that took most of them.
    tokens = max(made[name]["student_tokens"] for name in ("preference", "adversarial"))
    per_epoch = start["student_tokens"] / arguments.epochs
    made["seqkd"] = run(
        dataset,
        work / "seqkd",
        {**onward, "objective": "sft"},
        {**schedule, "epochs": tokens / per_epoch},
    )
    texts = {name: written(work / name, teacher, prompts, seed) for name in made}
    return {name: {**made[name], **verdict(texts[name], texts["seqkd"])} for name in made}


def run(
    dataset: Artifact, out: Path, method: dict[str, Any], schedule: dict[str, Any]
) -> dict[str, Any]:
    """Train one student; returns what it took."""
    config = TrainConfig.model_validate({"base": TEACHER, **method, **schedule})
    student = train(dataset.path, out, config=config)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = ("train/discriminator_accuracy", "train/discriminator_loss_nats", "train/loss_nats")
    return {
        "steps": len(lines),
        "student_tokens": num_tokens_learnt(out),
        "seconds": round(student.manifest.usage.seconds, 1),
        "parameters": student.manifest.results["parameters"],
        "last": {name: lines[-1][name] for name in kept if name in lines[-1]},
    }


def written(folder: Path, teacher: LanguageModel, prompts: list[Example], seed: int) -> list[Text]:
    """One text for each prompt, and what the teacher thinks of it per token."""
    student = load_model(open_artifact(folder).path)
    examples = sampled_texts(
        student,
        [prompt.messages for prompt in prompts],
        max_tokens=MAX_TOKENS,
        temperature=1.0,
        first_seed=seed * len(prompts),
    )
    texts = []
    for example, logprobs in zip(examples, completion_logprobs(teacher, examples), strict=True):
        text, reason = student.chat.decode_completion(example.completion_ids)
        texts.append(Text(example, text, reason == "length", float(logprobs.mean())))
    return texts


def verdict(texts: list[Text], rivals: list[Text]) -> dict[str, Any]:
    """How the texts do, and how many the teacher finds likelier than their rivals."""
    pairs = list(zip(texts, rivals, strict=True))
    wins = sum(one.teacher_nats > other.teacher_nats for one, other in pairs)
    losses = sum(one.teacher_nats < other.teacher_nats for one, other in pairs)
    interval = fraction_interval(wins, wins + losses) if wins + losses else None
    return {
        "teacher_nats_per_token": statistics.mean(one.teacher_nats for one in texts),
        "mean_tokens": statistics.mean(len(one.example.completion_ids) for one in texts),
        "looping": sum(is_looping(one.text) for one in texts) / len(texts),
        "cut": sum(one.is_cut for one in texts) / len(texts),
        "wins": wins,
        "ties": len(pairs) - wins - losses,
        "win_rate": dataclasses.asdict(interval) if interval else None,
    }


if __name__ == "__main__":
    main()
