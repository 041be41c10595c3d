"""Every system in turn: opened, asked, timed, scored and let go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stillhouse.answers import Question, require_confidences
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._scores import Scored, score
from stillhouse.evaluate._task._measure._timing import answer_in_batches, time_alone
from stillhouse.evaluate._task._systems._answers import System, SystemFacts


@dataclass(frozen=True)
class Measured:
    """What one system did.

    Attributes:
        facts: What it is.
        scored: Its answers.
        times_s: Of single messages; empty where it was not timed.
        batches: Messages and seconds of each batch; empty where it was not timed.
    """

    facts: SystemFacts
    scored: Scored
    times_s: tuple[float, ...]
    batches: tuple[tuple[int, float], ...]


def measure_system(
    system: System,
    held_out: HeldOut,
    questions: Sequence[Question],
    config: TaskEvaluateConfig,
    *,
    on_batch: Callable[[int], None],
) -> Measured:
    """The answers of a system to all held-out messages, and how long they took.

    Raises:
        IntegrityError: its confidences are no probabilities.
    """
    facts = system.facts
    given, batches = answer_in_batches(
        system.answerer, questions, config.batch_size, on_batch=on_batch
    )
    require_confidences(facts.name, given)
    times_s: list[float] = []
    if facts.is_timed and config.latency_messages:
        times_s = time_alone(system.answerer, questions, config.latency_messages)
    return Measured(
        facts=facts,
        scored=score(held_out, given),
        times_s=tuple(times_s),
        batches=tuple(batches) if facts.is_timed else (),
    )
