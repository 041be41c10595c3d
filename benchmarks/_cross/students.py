"""The students that are compared, and how much of the way to their teacher each goes."""

import json
import time
from dataclasses import dataclass
from typing import Any

from benchmarks._cross.materials import Materials, make_materials
from benchmarks._cross.options import Options
from benchmarks._texts import completion_logprobs

from stillhouse.models import LanguageModel, load_model, pruned
from stillhouse.records import Example
from stillhouse.train import TrainConfig, train

LAYERS = 12
BATCH_SIZE = 16
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Arm:
    """One way to learn.

    Attributes:
        name: In the results.
        is_same: Whether the tokenizer is the teacher's.
        objective: What is minimised.
        codec: Of the signal; None learns the text alone.
    """

    name: str
    is_same: bool
    objective: str
    codec: str | None


WHOLE = "same tokenizer, forward_kl"
ARMS = (
    Arm(WHOLE, True, "forward_kl", "topk"),
    Arm("other tokenizer, alm", False, "alm", "actual"),
    Arm("other tokenizer, forward_kl", False, "forward_kl", "topk"),
    Arm("same tokenizer, sft", True, "sft", None),
    Arm("other tokenizer, sft", False, "sft", None),
)


def run(options: Options) -> dict[str, Any]:
    """Train and measure each arm once a seed."""
    materials = make_materials(options)
    floor = nats_per_byte(load_model(""), materials.held_out)
    arms = {}
    for arm in (ARMS[int(number)] for number in options.arms.split(",")):
        before = nats_per_byte(_untrained(arm, materials), materials.held_out)
        made = [_student(arm, seed, materials, options) for seed in range(options.rounds)]
        print(f"{arm.name}: {before:.3f} to", *(f"{one['nats_per_byte']:.3f}" for one in made))
        arms[arm.name] = {
            "untrained_nats_per_byte": before,
            "nats_per_byte": [one["nats_per_byte"] for one in made],
            "seconds": [one["seconds"] for one in made],
        }
    return {
        "seeds": options.rounds,
        "sizes": {"prompts": options.prompts, "epochs": options.epochs, "layers": LAYERS},
        "held_out": len(materials.held_out),
        "teacher_nats_per_byte": floor,
        "arms": with_shares(arms, floor),
    }


def with_shares(arms: dict[str, Any], floor: float) -> dict[str, Any]:
    """What each arm closes of the gap to the teacher, and as a share of what `WHOLE` closes."""
    closed = {
        name: [
            (arm["untrained_nats_per_byte"] - one) / (arm["untrained_nats_per_byte"] - floor)
            for one in arm["nats_per_byte"]
        ]
        for name, arm in arms.items()
    }
    found = {}
    for name, arm in arms.items():
        pairs = zip(closed[name], closed.get(WHOLE, ()), strict=False)
        shares = [one / whole for one, whole in pairs]
        share = {"mean": sum(shares) / len(shares), "least": min(shares)} if shares else None
        found[name] = {**arm, "gap_closed": closed[name], "share_of_same_tokenizer": share}
    return found


def nats_per_byte(model: LanguageModel, rows: list[Example]) -> float:
    """-log q(text and its end) per byte of text, in the model's own tokens."""
    # Not the teacher's tokens, which other tokenizers do not have: all models read the text.
    encoded = [model.chat.encode_example(row.messages, row.completion) for row in rows]
    encoded.sort(key=lambda example: len(example.ids))
    total = sum(float(one.double().sum()) for one in completion_logprobs(model, encoded))
    return -total / sum(len(row.completion.encode()) for row in rows)


def _student(arm: Arm, seed: int, materials: Materials, options: Options) -> dict[str, float]:
    """Make and measure one student, or take what was found of this very student."""
    out = options.work / "students" / f"{arm.objective}-{arm.is_same}-{seed}"
    out.parent.mkdir(exist_ok=True)
    kept = out.with_suffix(".json")
    signal = materials.signal(arm.codec) if arm.codec else None
    config = _config(arm, materials, options, seed)
    started_s = time.monotonic()
    made = train(materials.dataset.path, out, config=config, signal=signal, replace=True)
    if kept.exists() and (found := json.loads(kept.read_text()))["of"] == made.manifest_sha256:
        scores: dict[str, float] = found["scores"]
        return scores
    scores = {
        "seconds": time.monotonic() - started_s,
        "nats_per_byte": nats_per_byte(load_model(out), materials.held_out),
    }
    kept.write_text(json.dumps({"of": made.manifest_sha256, "scores": scores}))
    return scores


def _config(arm: Arm, materials: Materials, options: Options, seed: int) -> TrainConfig:
    is_cross = not arm.is_same and arm.codec is not None
    return TrainConfig.model_validate(
        {
            "objective": arm.objective,
            "base": materials.base(is_same=arm.is_same),
            "keep_layers": LAYERS,
            "epochs": options.epochs,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "seed": seed,
            "cross": {"teacher": "local:"} if is_cross else {},
        }
    )


def _untrained(arm: Arm, materials: Materials) -> LanguageModel:
    base = load_model(materials.base(is_same=arm.is_same).removeprefix("local:"))
    return pruned(base, LAYERS, name="untrained")
