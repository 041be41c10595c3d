"""A tiny student and its live teacher, and lessons as the student draws them."""

from dataclasses import dataclass
from typing import Any

import torch
from tiny_chain import Chain, settings

from stillhouse.artifacts import open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.models import LanguageModel, keep_layers, load_model
from stillhouse.records import Example
from stillhouse.train import TrainConfig
from stillhouse.train._batches import Schedule
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import LiveTeacher
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Draft, StudentDrawer
from stillhouse.train._step import Stepper

MAX_TOKENS = 12


@dataclass(frozen=True)
class Pair:
    """A teacher, a student that was cut from it, and the dataset's texts."""

    teacher: LiveTeacher
    student: LanguageModel
    texts: list[Lesson]


def make_pair(chain: Chain, *, layers: tuple[int, ...] = (0, 3), num_ids: int = 400) -> Pair:
    model = load_model(chain.model_dir)
    rows = open_artifact(chain.dataset).rows("examples", Example)
    texts = [
        Lesson(
            model.chat.encode_example(row.messages, row.completion, row.completion_token_ids),
            group=row.group,
        )
        for row in rows
        if row.split == "train"
    ]
    return Pair(LiveTeacher(model, num_ids), keep_layers(model, layers, name="student"), texts)


def schedule_of(texts: list[Lesson]) -> Schedule:
    lengths = [len(text.example.ids) for text in texts]
    return Schedule(lengths, batch_size=8, epochs=10.0, seed=0)


def rollouts_of(pair: Pair, *, share: float = 1.0, **changes: Any) -> Rollouts:
    return Rollouts(
        pair.texts,
        StudentDrawer(pair.student, num_ids=pair.teacher.num_ids),
        schedule_of(pair.texts),
        RolloutConfig(**{"max_tokens": MAX_TOKENS, **changes}),
        share=share,
        longest=256,
    )


def live_settings(chain: Chain, **changes: Any) -> TrainConfig:
    """A quick on-policy training; eight steps."""
    base: dict[str, Any] = {
        "source": "rollouts",
        "objective": "reverse_kl",
        "live": {"teachers": {"teacher": chain.teacher}},
        "rollout": {"max_tokens": MAX_TOKENS},
    }
    return settings(chain, **{**base, **changes})


def stepper_of(pair: Pair, config: TrainConfig) -> Stepper:
    return Stepper(pair.student.network, config, 10, num_ids=pair.teacher.num_ids)


def gradients(network: torch.nn.Module) -> torch.Tensor:
    """All gradients of a network in one vector, float64."""
    return torch.cat([one.grad.flatten().double() for one in network.parameters()])


def completion_logits(network: torch.nn.Module, example: EncodedExample) -> torch.Tensor:
    """Logits at the completion's tokens from a plain pass over one text, (T, V) float64."""
    logits_TV: torch.Tensor = network(input_ids=torch.tensor([example.ids])).logits[0]
    return logits_TV[example.num_prompt - 1 : -1].double()


def drafts_of(pair: Pair, number: int, max_tokens: int = MAX_TOKENS) -> list[Draft]:
    """The prompts of the first texts as drafts."""
    examples = [text.example for text in pair.texts[:number]]
    return [
        Draft(example.ids[: example.num_prompt], max_tokens, seed=100 + row)
        for row, example in enumerate(examples)
    ]
