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
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from _machine import machine
from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.collect import CollectConfig, collect, read_prompts
from stillhouse.curate import CurateConfig, curate
from stillhouse.losses import Head, token_logprobs
from stillhouse.models import (
    GenerationJob,
    LanguageModel,
    generate,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.records import Example, Prompt, Sampling
from stillhouse.statistics import fraction_interval, is_looping
from stillhouse.train import TrainConfig, train

TEACHER = "local:"
LAYERS = 12
MAX_TOKENS = 32
_BATCH = 16


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
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


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
    recipe = Path(str(files("stillhouse.pipeline") / "demo_prompts.yaml"))
    wanted = {"train": arguments.prompts, "held_out": arguments.held_out}
    prompts: list[Prompt] = []
    for split, number in wanted.items():
        of_split = (prompt for prompt in read_prompts(recipe) if prompt.split == split)
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
        "student_tokens": sum(line["train/tokens"] for line in lines),
        "seconds": round(student.manifest.usage.seconds, 1),
        "parameters": student.manifest.results["parameters"],
        "last": {name: lines[-1][name] for name in kept if name in lines[-1]},
    }


def written(folder: Path, teacher: LanguageModel, prompts: list[Example], seed: int) -> list[Text]:
    """One text for each prompt, and what the teacher thinks of it per token."""
    student = load_model(open_artifact(folder).path)
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=student.chat.encode_prompt(prompt.messages),
            max_tokens=MAX_TOKENS,
            temperature=1.0,
            seed=seed * len(prompts) + number,
        )
        for number, prompt in enumerate(prompts)
    ]
    left = iter(jobs)
    drawn = {
        int(one.key): one
        for finished in generate(student, lambda limit: list(islice(left, limit)))
        for one in finished
    }
    examples = [
        EncodedExample((*job.prompt_ids, *drawn[number].ids.tolist()), len(job.prompt_ids))
        for number, job in enumerate(jobs)
    ]
    nats = teacher_nats(teacher, examples)
    texts = []
    for example, per_token in zip(examples, nats, strict=True):
        text, reason = student.chat.decode_completion(example.completion_ids)
        texts.append(Text(example, text, reason == "length", per_token))
    return texts


@torch.inference_mode()
def teacher_nats(teacher: LanguageModel, examples: list[EncodedExample]) -> list[float]:
    """Mean log-probability per token of each completion."""
    head = Head(output_head(teacher.network), None)
    nats: list[float] = []
    for start in range(0, len(examples), _BATCH):
        part = examples[start : start + _BATCH]
        batch = predicting_batch(part)
        hidden_ND = predicting_hidden_states(teacher.network, batch)
        logprob_N = token_logprobs(hidden_ND, head, batch.target_ids_N)
        lengths = [len(example.completion_ids) for example in part]
        nats += [float(one.mean()) for one in logprob_N.split(lengths)]
    return nats


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
