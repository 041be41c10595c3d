"""What a teacher that only answers in text can be learnt from, besides its text as it is."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from stillhouse.models import output_head
from stillhouse.train._adversarial import RatedRollouts
from stillhouse.train._batches import Schedule
from stillhouse.train._config import TrainConfig
from stillhouse.train._discriminator import Discriminator
from stillhouse.train._lessons import Lesson
from stillhouse.train._preference import PreferencePairs, Reference
from stillhouse.train._rollouts import StudentDrawer
from stillhouse.train._student import Student


def make_black_box(
    config: TrainConfig,
    texts: Sequence[Lesson],
    student: Student,
    *,
    schedule: Schedule,
    longest: int,
) -> PreferencePairs | RatedRollouts:
    """The source `pairs` or `rated`, before anything was learnt.

    Args:
        config: The settings.
        texts: The dataset's own.
        student: Draws rollouts; the reference, or the discriminator, begins as a copy of it.
        schedule: Which texts come when.
        longest: Tokens of prompt and completion together that the student can read.

    Raises:
        ConfigError: an adversarial run would end within its warm-up.
    """
    network = student.model.network
    draw = StudentDrawer(student.model, num_ids=output_head(network).shape[0])
    if config.source == "pairs":
        return PreferencePairs(
            texts,
            draw,
            Reference(copy.deepcopy(network)),
            schedule,
            config.rollout,
            longest=longest,
        )
    adversarial = config.adversarial
    discriminator = Discriminator(
        network, learning_rate=adversarial.learning_rate, clip_norm=config.clip_norm
    )
    return RatedRollouts(
        texts, draw, discriminator, schedule, adversarial, config.rollout, longest=longest
    )


def weigh_prompts_alike(texts: Sequence[Lesson]) -> list[Lesson]:
    """The same texts, each weighing 1 / answers to its prompt."""
    prompts = [text.example.ids[: text.example.num_prompt] for text in texts]
    answers = Counter(prompts)
    return [
        replace(text, weight=text.weight / answers[prompt])
        for text, prompt in zip(texts, prompts, strict=True)
    ]
