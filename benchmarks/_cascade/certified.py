"""Banking77 with its recorded teacher: what is certified, for each kind of student."""

from pathlib import Path
from typing import Any

from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.rows import BANKING
from benchmarks._banking77.students import fitted, kinds, validation_agreement
from benchmarks._cascade.options import Options
from benchmarks._cascade.tasks import label_set

from stillhouse.artifacts import Artifact
from stillhouse.cascade import CascadeRule, open_cascade
from stillhouse.certify import CertifyConfig, certify

TARGETS = (0.97, 0.98)
PUBLISHED = (
    {
        "name": "taskdistill 0.1.1, 0.5 B, same teacher and rows",
        "target": 0.97,
        "agreement": 0.976,
        "escalation": 0.237,
        "guarantee": "none: the threshold is a point estimate",
    },
    {
        "name": "Jevstiller 0.5.3, its own teacher, 2,000 rows",
        "target": 0.98,
        "agreement": 0.994,
        "escalation": 0.383,
        "guarantee": "95 %",
        "agreement_is": "of the answers that the student gives",
    },
)
SOURCE = "READMEs of taskdistill 0.1.1 (2026-09) and Jevstiller 0.5.3 (2026-10)"


def banking77_part(options: Options) -> dict[str, Any]:
    """The certificates at both targets; the student of the goals is chosen on validation rows."""
    found = label_set(BANKING, options)
    folder = options.work / BANKING
    dataset = make_dataset(found, folder)
    students, chosen_by = {}, {}
    for kind in kinds(options.of_tasks):
        (student,) = fitted(dataset, folder, kind, seeds=1)
        chosen_by[kind] = validation_agreement([student])
        students[kind] = {
            f"{target:g}": certified(
                student, dataset, folder / f"cascade-{kind}-{target:g}", target
            )
            for target in TARGETS
        }
    best = max(chosen_by, key=lambda kind: chosen_by[kind])
    return {
        "train": len(found.train),
        "test": len(found.test),
        "validation_agreement": {kind: round(value, 5) for kind, value in chosen_by.items()},
        "chosen": best,
        "best": students[best],
        "students": students,
        "peers": {"source": SOURCE, "systems": list(PUBLISHED)},
    }


def certified(student: Artifact, dataset: Artifact, out: Path, target: float) -> dict[str, Any]:
    """One certificate in figures."""
    artifact = certify(
        student.path, dataset.path, out, config=CertifyConfig(target=target), replace=True
    )
    return figures(open_cascade(artifact.path).rule)


def figures(rule: CascadeRule) -> dict[str, Any]:
    """What a certificate says, and what the student's own answers are worth."""
    found = rule.certificate
    return {
        "n": found.n,
        "threshold": round(rule.threshold, 5),
        "bound": round(found.bound, 5),
        "agreement": round(1 - found.loss / found.n, 5),
        "coverage": found.coverage.model_dump(),
        "escalation": round(found.escalation, 5),
        "agreement_of_answers": round(1 - found.loss / max(found.answered, 1), 5),
        "refused_unfamiliar": found.refused_unfamiliar,
    }
