"""The texts, their signal, and the students that are compared."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks._demo import demo_prompts
from benchmarks._quality.options import Options
from benchmarks._texts import num_tokens_learnt

from stillhouse.artifacts import Artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.models import LanguageModel, load_model, pruned
from stillhouse.records import Example, Prompt, Sampling
from stillhouse.train import TrainConfig, train

TEACHER = "local:"
MAX_TOKENS = 32
_TOP_K = 32

ARMS = ("untrained", "seqkd", "kd", "onpolicy", "kd_longer")
"""In the order in which they are made: later ones go on from earlier ones."""


@dataclass(frozen=True)
class Materials:
    """What all students learn from and are measured on.

    Attributes:
        dataset: The teacher's texts, in both splits.
        signal: Its distributions on them.
        held_out: The rows that no student learns.
    """

    dataset: Artifact
    signal: Artifact
    held_out: list[Example]


def make_materials(options: Options) -> Materials:
    """Let the teacher write, or take what an earlier run of the same settings left."""
    work, prompts = options.work, _prompts(options)
    work.mkdir(parents=True, exist_ok=True)
    sampling = Sampling(temperature=options.temperature, max_tokens=MAX_TOKENS, top_logprobs=_TOP_K)
    completions = work / "completions"
    collection = CollectConfig(sampling=sampling)
    collect(prompts, completions, teacher=TEACHER, config=collection, replace=True)
    # Nothing is left out: what is kept is a sample of the teacher as it is.
    everything = CurateConfig(drop_truncated=False, drop_looping=False, deduplicate=False)
    dataset = curate(completions, work / "dataset", config=everything, replace=True)
    signal = capture(
        dataset.path,
        work / "signal",
        teacher=TEACHER,
        config=CaptureConfig(top_k=_TOP_K),
        completions=completions,
        replace=True,
    )
    rows = dataset.rows("examples", Example)
    return Materials(dataset, signal, [row for row in rows if row.split == "held_out"])


def make_student(arm: str, materials: Materials, seed: int, options: Options) -> Artifact | None:
    """The student of an arm, None for the untrained one; a training that was stopped goes on."""
    if arm == "untrained":
        return None
    folder = options.work / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    of_all = {"seed": seed, "device": {"precision": options.precision}}
    config = TrainConfig.model_validate({**of_all, **_settings(arm, folder, options)})
    signal = materials.signal.path if config.guide == "signal" else None
    dataset = materials.dataset.path
    return train(dataset, folder / arm, config=config, signal=signal, replace=True)


def opened(student: Artifact | None, options: Options) -> LanguageModel:
    """What `make_student` made, ready to be asked."""
    if student is None:
        return pruned(load_model(TEACHER.removeprefix("local:")), options.layers, name="untrained")
    return load_model(student.path)


def cost_of(student: Artifact | None) -> dict[str, float]:
    """Tokens that a training learnt, and its time; nothing for the untrained one."""
    if student is None:
        return {"student_tokens": 0, "seconds": 0.0}
    seconds = student.manifest.usage.seconds
    return {"student_tokens": num_tokens_learnt(student.path), "seconds": round(seconds, 1)}


def _settings(arm: str, folder: Path, options: Options) -> dict[str, Any]:
    first = {
        "keep_layers": options.layers,
        "epochs": options.epochs,
        "batch_size": 8,
        "learning_rate": 7e-4,
        "warmup_fraction": 0.3,  # as in the demo: what pruning broke must settle first
    }
    onward = {"base": f"local:{folder / 'kd'}", "batch_size": 8, "learning_rate": 3e-4}
    match arm:
        case "seqkd":
            return {**first, "objective": "sft"}
        case "kd":
            return {**first, "objective": "forward_kl"}
        case "onpolicy":
            return {**onward, **_on_policy(options)}
        case "kd_longer":
            per_epoch = num_tokens_learnt(folder / "kd") / options.epochs
            epochs = num_tokens_learnt(folder / "onpolicy") / per_epoch
            return {**onward, "objective": "forward_kl", "epochs": epochs}
        case _:
            raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")


def _on_policy(options: Options) -> dict[str, Any]:
    return {
        "objective": "forward_kl",
        "source": "rollouts",
        "live": {"teachers": {"teacher": TEACHER}},
        "rollout": {"max_tokens": MAX_TOKENS, "refresh_steps": 4},
        "epochs": options.on_policy_epochs,
    }


def _prompts(options: Options) -> list[Prompt]:
    wanted = {"train": options.prompts, "held_out": options.held_out}
    return [
        prompt
        for split, number in wanted.items()
        for prompt in islice((one for one in demo_prompts() if one.split == split), number)
    ]
