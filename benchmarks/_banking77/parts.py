"""What each part of the benchmark measures."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.measuring import Expected, Result, measure, summary
from benchmarks._banking77.options import Options
from benchmarks._banking77.published import PEERS, SOURCE
from benchmarks._banking77.rows import LabelSet, banking77, corrupted, gold_set
from benchmarks._banking77.students import fitted, kinds, validation_agreement

from stillhouse.statistics import fraction_interval


def teacher_part(options: Options) -> dict[str, Any]:
    """Students of the recorded teacher, beside the figures of the peer."""
    found = banking77(options)
    entry = _students(found, options)
    expected = Expected.of(found)
    num_right = int(expected.teacher_right_N.sum())
    return {
        **entry,
        "teacher": {
            "name": found.teacher,
            "gold": asdict(fraction_interval(num_right, len(found.test))),
            "invalid_answers": sum(answer is None for answer in expected.teacher),
        },
        "peers": {"source": SOURCE, "systems": [dict(peer) for peer in PEERS]},
    }


def noise_part(options: Options) -> dict[str, Any]:
    """The same students from labels of which every second one is wrong, and what helps."""
    clean = banking77(options)
    labels = clean.task.labels
    spoilt = replace(clean, train=tuple(corrupted(clean.train, labels, seed=0)))
    wrong = [a.answer != b.answer for a, b in zip(clean.train, spoilt.train, strict=True)]
    dataset = make_dataset(spoilt, options.work / "noise")
    before = make_dataset(clean, options.work / clean.name)
    students, chosen_by = {}, {}
    for kind in kinds(options):
        arms = {}
        for name, data, method in (
            ("clean", before, "auto"),
            ("corrupted, left alone", dataset, "off"),
            ("corrupted, corrected", dataset, "auto"),
        ):
            folder = options.work / (clean.name if data is before else "noise")
            made = list(fitted(data, folder, kind, seeds=options.noise_rounds, noise=method))
            arms[name] = _summary([measure(one, clean, latency_messages=1) for one in made], clean)
            if name == "clean":
                chosen_by[kind] = validation_agreement(made)
        students[kind] = {**arms, "drop_points": _drop(arms)}
    chosen = max(chosen_by, key=lambda kind: chosen_by[kind])
    return {
        "train": len(clean.train),
        "test": len(clean.test),
        "corrupted_fraction": float(np.mean(wrong)),
        "chosen": chosen,
        "drop_points": students[chosen]["drop_points"],
        "students": students,
    }


def gold_part(name: str, options: Options) -> dict[str, Any]:
    """Students of a data set whose gold labels stand in for a teacher."""
    return _students(gold_set(name, options), options)


def _students(found: LabelSet, options: Options) -> dict[str, Any]:
    dataset = make_dataset(found, options.work / found.name)
    students, chosen_by = {}, {}
    for kind in kinds(options):
        made = list(fitted(dataset, options.work / found.name, kind, seeds=options.rounds))
        results = [measure(one, found, latency_messages=options.latency_messages) for one in made]
        students[kind] = {**_summary(results, found), "by_scope": _by_scope(results, found)}
        chosen_by[kind] = validation_agreement(made)
    best = max(chosen_by, key=lambda kind: chosen_by[kind])
    return {
        "train": len(found.train),
        "test": len(found.test),
        "labels": len(found.task.labels),
        "answers_of": found.teacher,
        "cost_usd": sum(row.call.get("usage", {}).get("cost_usd", 0.0) for row in found.train),
        "validation_agreement": {kind: round(value, 5) for kind, value in chosen_by.items()},
        "chosen": best,
        "best": students[best],
        "students": students,
    }


def _summary(results: list[Result], found: LabelSet) -> dict[str, Any]:
    return summary(results, Expected.of(found), margin=found.task.margin)


def _drop(arms: dict[str, Any]) -> float:
    """Points of agreement that corrected labels lose against clean ones."""
    clean, after = (arms[name]["agreement"]["value"] for name in ("clean", "corrupted, corrected"))
    return round(100 * (clean - after), 3)


def _by_scope(results: list[Result], found: LabelSet) -> dict[str, Any]:
    """Of a task with texts that no label fits: accuracy on the others, and recall on these."""
    outside = found.task.out_of_scope
    if outside is None:
        return {}
    is_outside_N = np.array([row.gold == outside for row in found.test])
    sides = {"in_scope_accuracy": ~is_outside_N, "out_of_scope_recall": is_outside_N}
    return {
        name: [
            asdict(fraction_interval(int(one.right_N[side].sum()), int(side.sum())))
            for one in results
        ]
        for name, side in sides.items()
        if side.any()
    }
