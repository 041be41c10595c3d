"""A whole run of the tiny model up to its signal, and what tests of later stages share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.records import Example, Message, Prompt, Sampling, Split
from stillhouse.teachers import open_teacher
from stillhouse.train import TrainConfig

TOP_K = 16
SAMPLING = Sampling(max_tokens=12, top_logprobs=TOP_K)
KEEP_EVERYTHING = CurateConfig(drop_truncated=False, drop_looping=False, deduplicate=False)
_HELD_OUT = (1, 3, 5)  # of each seven groups

FIXED_TEXTS = [
    ("A town opened a bridge.", "Town Opens Bridge"),
    ("A bakery won a prize for bread after two years.", "Bakery Wins Prize"),
    ("The council met.", "Council Meets on Monday After Work"),
    ("A farm sold its bread to the baker of a small town.", "Farm Sells Bread"),
    ("The assistant thanked the user.", "Thanks"),
    ("A system of work was new.", "New System for the Council of a Small Town"),
    ("The bridge was small.", "Small Bridge"),
    ("The prize went to a farm on Monday.", "Farm Wins"),
]


@dataclass(frozen=True)
class Chain:
    """Where the artefacts of a run are, and the spec of its teacher."""

    teacher: str
    completions: Path
    dataset: Path
    signal: Path

    @property
    def model_dir(self) -> Path:
        return Path(self.teacher.removeprefix("local:"))


def make_chain(folder: Path, model_dir: Path) -> Chain:
    """Collect, curate and capture: 32 training examples, 24 held-out ones in 12 groups."""
    spec = f"local:{model_dir}"
    chain = Chain(spec, folder / "completions", folder / "dataset", folder / "signal")
    collect(prompts(), chain.completions, teacher=spec, config=CollectConfig(sampling=SAMPLING))
    curate(chain.completions, chain.dataset, config=KEEP_EVERYTHING)
    capture(
        chain.dataset,
        chain.signal,
        teacher=spec,
        config=CaptureConfig(top_k=TOP_K),
        completions=chain.completions,
    )
    return chain


def prompts() -> list[Prompt]:
    """Prompts of very different lengths, two in a group."""
    return [
        Prompt(
            id=f"p{number}",
            messages=(Message(role="user", content=_question(number)),),
            split="held_out" if number // 2 % 7 in _HELD_OUT else "train",
            group=f"subject {number // 2}",
        )
        for number in range(56)
    ]


def _question(number: int) -> str:
    return f"Headline {number} for the town" + " and the bridge" * (number % 5)


def settings(chain: Chain, **changes: Any) -> TrainConfig:
    """A quick training of a two-layer student: 4 steps an epoch, 8 in all."""
    base: dict[str, Any] = {
        "base": chain.teacher,
        "keep_layers": 2,
        "epochs": 2.0,
        "batch_size": 8,
        "learning_rate": 1e-2,
    }
    return TrainConfig(**{**base, **changes})


def metrics_of(student: Path) -> list[dict[str, float]]:
    """The lines of a student's metrics."""
    return [json.loads(line) for line in (student / "metrics.jsonl").read_bytes().splitlines()]


def losses_of(student: Path) -> list[float]:
    """The loss of each step, after a check that the log holds each step once."""
    metrics = metrics_of(student)
    assert [line["step"] for line in metrics] == list(range(len(metrics)))
    return [line["train/loss_nats"] for line in metrics]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model folder."""
    weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return weights


def are_same_weights(a: Path, b: Path) -> bool:
    """Whether two model folders hold the same tensors, bit for bit."""
    left, right = weights_of(a), weights_of(b)
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def write_dataset(
    folder: Path,
    teacher: str,
    texts: Sequence[tuple[str, str]] = FIXED_TEXTS,
    *,
    split: Split = "train",
    group: str | None = None,
) -> Artifact:
    """A dataset of given prompts and completions that claims `teacher` as their author."""
    with open_teacher(teacher) as source:
        info = source.info
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={"texts": len(texts)})
    examples = (
        Example(
            id=f"e{number}",
            prompt_id=f"p{number}",
            request_id=f"r{number}",
            messages=(Message(role="user", content=prompt),),
            completion=completion,
            split=split,
            group=group,
        )
        for number, (prompt, completion) in enumerate(texts)
    )
    writer.write_rows("examples", examples, Example)
    return writer.finish(
        counts=Counts.model_validate({"in": len(texts), "kept": len(texts)}),
        teacher=TeacherRef(id=info.id, provider=info.provider, revision=info.revision),
        tokenizer_sha256=info.tokenizer_sha256,
        chat_template_sha256=info.chat_template_sha256,
        sampling=SAMPLING,
    )
