"""What the manifests of an artefact and its ancestors say of tokens, seconds and money."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.economics._calls import TeacherCalls, logged_calls
from stillhouse.economics._range import ZERO, Range
from stillhouse.errors import IntegrityError
from stillhouse.provenance import lineage

_PURPOSES = {
    "curate": "curation",
    "join": "curation",
    "yield-subset": "curation",
    "capture": "training",
    "train": "training",
    "fit": "training",
    "certify": "evaluation",
    "evaluate": "evaluation",
    "arena": "evaluation",
    "benchmarks": "evaluation",
    "export": "export",
}
_OTHER = "other stages"
ORDER = ("curation", "training", "evaluation", "export", _OTHER)
"""What stages are for, in the order of the accounts."""


@dataclass(frozen=True)
class StageUse:
    """What one stage took beside the teacher's answers.

    Attributes:
        name: The stage and its folder.
        purpose: One of `ORDER`.
        seconds: Of the machine it ran on.
        paid_usd: What it paid to others, such as a judge; None where that is unknown.
    """

    name: str
    purpose: str
    seconds: float
    paid_usd: float | None


@dataclass(frozen=True)
class Chain:
    """An artefact with all that it was made from, as far as money goes.

    Attributes:
        root: The artefact.
        calls: Of the teacher, behind all completions of the lineage.
        teachers: Ids of those who answered.
        stages: All but those that collected answers.
        num_rows: Rows of the dataset nearest to the root; None where there is none.
        teacher_share: Of requests that the teacher answers too, as a cascade's certificate says; 0
            for what is no cascade; None for a cascade that does not say.
    """

    root: Artifact
    calls: TeacherCalls
    teachers: tuple[str, ...]
    stages: tuple[StageUse, ...]
    num_rows: int | None
    teacher_share: Range | None


def read_chain(folder: Path) -> Chain:
    """The chain that ends in `folder`.

    Raises:
        IntegrityError: the lineage is damaged, or the certificate of a cascade is none.
    """
    nodes = lineage(folder).nodes
    completions = [node for node in nodes if node.manifest.kind == "completions"]
    teachers = dict.fromkeys(
        node.manifest.teacher.id
        for node in completions
        if node.manifest.teacher is not None and node.manifest.teacher.provider != "replay"
    )
    datasets = [node for node in nodes if node.manifest.kind == "dataset"]
    return Chain(
        root=nodes[-1],
        calls=logged_calls(completions),
        teachers=tuple(teachers),
        stages=tuple(_use(node) for node in nodes if node.manifest.kind != "completions"),
        num_rows=datasets[-1].manifest.counts.kept if datasets else None,
        teacher_share=_teacher_share(nodes),
    )


def _use(node: Artifact) -> StageUse:
    manifest = node.manifest
    return StageUse(
        name=f"{manifest.stage} {node.path.name}",
        purpose=_PURPOSES.get(manifest.stage, _OTHER),
        seconds=manifest.usage.seconds,
        paid_usd=manifest.usage.cost_usd,
    )


def _teacher_share(nodes: Sequence[Artifact]) -> Range | None:
    cascades = [node for node in nodes if node.manifest.kind == "cascade"]
    if not cascades:
        return ZERO
    found = cascades[-1].manifest.results.get("coverage")
    if found is None:
        return None
    try:
        ends = [1 - float(found[name]) for name in ("value", "high", "low")]
        share = Range(value=ends[0], low=ends[1], high=ends[2])
    except (TypeError, KeyError, ValueError) as err:
        raise IntegrityError(
            f"{cascades[-1].path}: the coverage in its manifest is {found!r:.60}, not a value with "
            "low and high. Certify again."
        ) from err
    return share
