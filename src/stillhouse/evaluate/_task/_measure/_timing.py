"""How fast systems answer: one message at a time, and in batches.

Letters: M messages timed.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from stillhouse.answers import Answerer, Given, Question
from stillhouse.evaluate._task._measure._estimates import estimate, mean_of_calls, quantile
from stillhouse.evaluate._task._records import Latency, TaskEstimate
from stillhouse.statistics import clustered_bootstrap

Clock = Callable[[], float]

_WARM_UP = 20  # calls that are not counted: caches and clocks are those of a running server


def time_alone(
    answerer: Answerer,
    questions: Sequence[Question],
    num_messages: int,
    *,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Seconds that single messages took, one after the other, after a warm-up.

    Args:
        answerer: What is timed, from text to answer.
        questions: Asked in order, from the first again when there are fewer than messages.
        num_messages: How many are timed.
        clock: Seconds from any start.
    """
    times = []
    for number in range(_WARM_UP + num_messages):
        asked = [questions[number % len(questions)]]
        started_s = clock()
        answerer.answer(asked)
        times.append(clock() - started_s)
    return times[_WARM_UP:]


def latency_of(
    times_s: Sequence[float], *, num_threads: int | None, is_logged: bool
) -> Latency | None:
    """Median, 95th percentile and mean; None below ten times, which say nothing."""
    if len(times_s) < 10:
        return None
    median = quantile(times_s, 0.5)
    if median is None:
        return None
    return Latency(
        median_s=median,
        p95_s=quantile(times_s, 0.95),
        mean_s=mean_of_calls(times_s),
        num_threads=num_threads,
        is_logged=is_logged,
    )


def answer_in_batches(
    answerer: Answerer,
    questions: Sequence[Question],
    batch_size: int,
    *,
    on_batch: Callable[[int], None],
    clock: Clock = time.perf_counter,
) -> tuple[list[Given], list[tuple[int, float]]]:
    """All answers, and of each batch how many they were and what they took in seconds.

    Args:
        answerer: Asked once without being timed, so that what is loaded on first use is there.
        questions: What is asked.
        batch_size: Asked together.
        on_batch: Is told the number of each batch's answers.
        clock: Seconds from any start.
    """
    answerer.answer(questions[:1])
    given: list[Given] = []
    batches = []
    for start in range(0, len(questions), batch_size):
        asked = questions[start : start + batch_size]
        started_s = clock()
        given += answerer.answer(asked)
        batches.append((len(asked), clock() - started_s))
        on_batch(len(asked))
    return given, batches


def throughput_of(batches: Sequence[tuple[int, float]], seed: int) -> TaskEstimate | None:
    """Messages per second over n full batches; None where they are fewer than five."""
    largest = max(number for number, _ in batches)
    full = [(number, seconds) for number, seconds in batches if number == largest]
    if len(full) < 5:
        return None
    numbers, seconds = zip(*full, strict=True)
    interval = clustered_bootstrap(numbers, seconds, clusters=np.arange(len(full)), seed=seed)
    return estimate(interval, "bootstrap")
