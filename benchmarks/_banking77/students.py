"""The students of one data set, fitted as a user fits them."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks._banking77.options import Options

from stillhouse.artifacts import Artifact
from stillhouse.fit import FitConfig, fit

KINDS = ("ngram", "embedding", "encoder")


def kinds(options: Options) -> list[str]:
    """The kinds that were asked for, cheapest first.

    Raises:
        ValueError: one is unknown.
    """
    wanted = [name.strip() for name in options.students.split(",")]
    if unknown := sorted(set(wanted) - set(KINDS)):
        raise ValueError(f"no student {unknown[0]!r}; there are {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in wanted]


def fitted(
    dataset: Artifact, folder: Path, kind: str, *, seeds: int, noise: str = "auto"
) -> Iterator[Artifact]:
    """One student a seed; what an earlier run made of the same rows is not made again.

    Args:
        dataset: What it learns.
        folder: Gets a folder for each.
        kind: Which student.
        seeds: How many.
        noise: What is done about wrong answers, as `noise.method` of fit.
    """
    for seed in range(seeds):
        config = FitConfig.model_validate(
            {"student": kind, "seed": seed, "noise": {"method": noise}}
        )
        started_s = perf_counter()
        artifact = fit(dataset.path, folder / f"{kind}-{noise}-{seed}", config=config, replace=True)
        print(f"{folder.name}: {kind}, seed {seed}, noise {noise}:", end=" ")
        print(f"{perf_counter() - started_s:.0f} s ({artifact.manifest.usage.seconds:.0f} s made)")
        yield artifact


def validation_agreement(students: list[Artifact]) -> float:
    """Mean agreement on the rows that fitting set aside: what a user chooses a student by."""
    found = [float(one.manifest.results["validation"]["agreement"]) for one in students]
    return sum(found) / len(found)
