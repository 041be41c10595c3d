"""Students and datasets that are certified in tests."""

from pathlib import Path

import numpy as np
from fit_cases import LABELS, a_dataset, a_task, a_text, an_answer

from stillhouse.fit import FitConfig, fit
from stillhouse.tasks import TaskAnswer


def bank_rows(
    number: int, *, seed: int = 0, held_out: int = 0, noise: float = 0.0
) -> list[TaskAnswer]:
    """Messages that a student of n-grams learns almost perfectly; the first are held out."""
    draws = np.random.default_rng(seed)
    rows = []
    for place in range(number):
        label = LABELS[place % len(LABELS)]
        answer = str(draws.choice(LABELS)) if draws.random() < noise else label
        text = f"{a_text(label, draws)} {a_text(label, draws)} {seed}-{place}"
        split = "held_out" if place < held_out else "train"
        rows.append(an_answer(place, answer, text, split=split, prompt_id=f"p{seed}-{place}"))
    return rows


def fitted_bank(folder: Path, rows: list[TaskAnswer]) -> tuple[Path, Path]:
    """A dataset of the rows and a student of n-grams that was fitted to it."""
    dataset = a_dataset(folder / "dataset", rows, task=a_task())
    student = fit(dataset.path, folder / "student", config=FitConfig(student="ngram"))
    return dataset.path, student.path
