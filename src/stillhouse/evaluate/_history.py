"""What the report tells about how the students came to be, read from the manifests."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse import __version__
from stillhouse.artifacts import Artifact
from stillhouse.evaluate._report import TrainingCurve
from stillhouse.pages import CountRow, LineageNode, StageCost
from stillhouse.provenance import folder_name, lineage
from stillhouse.runlog import read_metrics


@dataclass(frozen=True)
class History:
    """Every artefact that an evaluation descends from, parents before children."""

    nodes: tuple[Artifact, ...]
    parents: Mapping[Path, tuple[Path, ...]]

    @classmethod
    def of(cls, artifacts: Sequence[Artifact]) -> "History":
        """The joint lineage of `artifacts`."""
        nodes: dict[Path, Artifact] = {}
        parents: dict[Path, tuple[Path, ...]] = {}
        for artifact in artifacts:
            graph = lineage(artifact.path)
            resolved = [node.path.resolve() for node in graph.nodes]
            for number, node in enumerate(graph.nodes):
                nodes.setdefault(resolved[number], node)
                parents[resolved[number]] = tuple(
                    resolved[edge.parent] for edge in graph.edges if edge.child == number
                )
        return cls(nodes=tuple(nodes.values()), parents=parents)

    @property
    def seconds(self) -> float:
        """Time of all stages together."""
        return sum(node.manifest.usage.seconds for node in self.nodes)

    def stage_costs(self, *, evaluate_s: float) -> list[StageCost]:
        """One entry per artefact, then this evaluation."""
        costs = [
            StageCost(
                stage=_stage_name(node),
                seconds=node.manifest.usage.seconds,
                prompt_tokens=node.manifest.usage.prompt_tokens,
                completion_tokens=node.manifest.usage.completion_tokens,
                cost_usd=node.manifest.usage.cost_usd,
            )
            for node in self.nodes
        ]
        return [*costs, StageCost(stage="evaluate", seconds=evaluate_s, cost_usd=0.0)]

    def count_rows(self) -> list[CountRow]:
        """Rows in, kept and dropped per artefact."""
        return [
            CountRow(
                stage=_stage_name(node),
                num_in=node.manifest.counts.num_in,
                kept=node.manifest.counts.kept,
                dropped=node.manifest.counts.dropped,
            )
            for node in self.nodes
        ]

    def training_curves(self, students: Mapping[str, Artifact]) -> dict[str, TrainingCurve]:
        """The training loss of each student."""
        curves = {}
        for name, artifact in students.items():
            lines = read_metrics(artifact.file("metrics.jsonl"))
            points = tuple((int(line["step"]), float(line["train/loss_nats"])) for line in lines)
            curves[name] = TrainingCurve(name=name, points=points)
        return curves

    def lineage_nodes(self, students: Mapping[str, Artifact]) -> list[LineageNode]:
        """The graph with the evaluation at its end; students carry their names in the report."""
        names = {artifact.path.resolve(): name for name, artifact in students.items()}
        for node in reversed(self.nodes):  # of two that are called alike, the later has the name
            path = node.path.resolve()
            names.setdefault(path, folder_name(path, set(names.values())))
        graph = [
            LineageNode(
                name=names[path := node.path.resolve()],
                kind=node.manifest.kind,
                stage=node.manifest.stage,
                sha256=node.manifest_sha256,
                parents=tuple(names[parent] for parent in self.parents[path]),
                detail=f"{node.manifest.counts.kept:,} rows",
            )
            for node in self.nodes
        ]
        ends = tuple(names[artifact.path.resolve()] for artifact in students.values())
        end = LineageNode(
            name="evaluation", kind="evaluation", stage="evaluate", sha256="", parents=ends
        )
        return [*graph, end]

    def environment(self) -> dict[str, str]:
        """Machine and versions, from the newest artefact."""
        recorded = self.nodes[-1].manifest.environment
        packages = [f"{name} {version}" for name, version in sorted(recorded.packages.items())]
        return {
            "stillhouse": __version__,
            "Python": recorded.python,
            "torch": recorded.torch or "none",
            "Packages": ", ".join(packages),
            "Machine": f"{recorded.platform}, {os.cpu_count()} cores",
        }


def _stage_name(node: Artifact) -> str:
    stage = node.manifest.stage
    return f"{stage} {node.path.name}" if stage in ("train", "fit") else stage
