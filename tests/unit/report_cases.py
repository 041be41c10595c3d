"""A realistic evaluation for the report's tests: the demo's shapes and plausible numbers."""

import math
import random
from datetime import UTC, datetime
from typing import Any

from stillhouse.evaluate._report import TrainingCurve
from stillhouse.evaluate._results import (
    Comparison,
    Estimate,
    EvaluationResults,
    ModelResult,
    PositionPoint,
    SampleRow,
    Target,
)
from stillhouse.pages import CountRow, LineageNode, Provenance, StageCost, TermsLine, Tile

STORIES = (
    (
        "The city council of Leeds approved a plan to plant 4,000 trees along its ring road before "
        "the end of next winter.",
        "Leeds City Council Approves Plan to Plant 4,000 Trees Along Ring Road",
        "Leeds City Council Approves 4,000 Trees on Ring Road",
        "Leeds City Council Plans Plans to Plant Trees for the Ring",
    ),
    (
        "Engineers in Osaka tested a hydrogen ferry that crossed the bay in forty minutes.",
        "Osaka Engineers Test Hydrogen Ferry That Crosses Bay in 40 Minutes",
        "Engineers in Osaka Test Hydrogen Ferry Across the Bay",
        "Hydrogen Ferry: A New Ferry in Osaka for the Bay Bay",
    ),
    (
        "Harwick Rovers beat Northmoor 3-1 on Sunday and moved to second place in the league.",
        "Harwick Rovers Beat Northmoor 3-1 to Move to Second Place",
        "Harwick Rovers Beat Northmoor 3-1, Move to Second",
        "Rovers Beat Rovers Beat Rovers Beat Northmoor",
    ),
    (
        "A small bakery in Porto won a national prize for its rye bread.",
        "Porto Bakery Wins National Prize for Rye Bread",
        "Porto Bakery Wins National Prize for Rye Bread",
        "Small Bakery Wins Bread in Porto Prize",
    ),
    (
        "Doctors at a hospital in Tampere found that short walks after meals lowered blood sugar.",
        "Short Walks After Meals Lower Blood Sugar, Tampere Doctors Find",
        "Short Walks After Meals Lower Blood Sugar, Doctors Find",
        "Doctors Find Walks of Blood Meals in Hospital",
    ),
    (
        "Heavy snow closed the mountain pass near Altdorf for the third day in a row.",
        "Heavy Snow Closes Mountain Pass Near Altdorf for Third Day",
        "Heavy Snow Closes Mountain Pass for Third Day",
        "Heavy Snow Pass: The Snow Closed in Mountain",
    ),
    (
        "The museum in Ghent opened a free exhibition of early maps from private collections.",
        "Ghent Museum Opens Free Exhibition of Early Maps",
        "Ghent Museum Opens Free Exhibition of Early Maps",
        "Museum Opens Maps: A Free Museum of Collections",
    ),
    (
        "Brightwell Foods will close two factories and move production to a larger site in Derby.",
        "Brightwell Foods to Close Two Factories, Move Production to Derby",
        "Brightwell Foods to Close Two Factories in Derby",
        "Brightwell Foods Close Factories Close Production",
    ),
)


def estimate(
    value: float, low: float, high: float, *, n: int = 3120, num_clusters: int = 160
) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, num_clusters=num_clusters)


def rate(value: float, low: float, high: float) -> Estimate:
    return estimate(value, low, high, n=160, num_clusters=160)


def by_position(first: float, last: float, *, noise: float, seed: int) -> tuple[PositionPoint, ...]:
    source = random.Random(seed)
    points = []
    for position in range(40):
        share = 1 - math.exp(-position / 6)
        value = max((first + (last - first) * share) * (1 + source.uniform(-noise, noise)), 0.05)
        half_width = value * (0.05 + position * 0.006)
        kl = estimate(value, value - half_width, value + half_width, n=160 - 3 * position)
        points.append(PositionPoint(position=position, forward_kl=kl))
    return tuple(points)


def teacher() -> ModelResult:
    return ModelResult(
        name="teacher",
        role="teacher",
        num_parameters=134_515_008,
        num_embedding_parameters=28_311_552,
        num_layers=30,
        weight_bytes=538_090_408,
        memory_bytes=702_000_000,
        generation_tokens_per_s=431.7,
        latency_s_per_completion=0.412,
        teacher_text_perplexity=estimate(1.84, 1.78, 1.91),
        looping_fraction=rate(0.00625, 0.0, 0.01875),
    )


def pruned(name: str, **changes: Any) -> ModelResult:
    facts: dict[str, Any] = {
        "name": name,
        "role": "student",
        "num_parameters": 70_808_832,
        "num_embedding_parameters": 28_311_552,
        "num_layers": 12,
        "weight_bytes": 283_245_000,
        "memory_bytes": 371_000_000,
        "generation_tokens_per_s": 803.2,
        "latency_s_per_completion": 0.187,
    }
    return ModelResult(**(facts | changes))


def student() -> ModelResult:
    return pruned(
        "student",
        objective="forward_kl",
        num_steps=200,
        forward_kl_nats=estimate(1.204, 1.131, 1.279),
        top1_agreement=estimate(0.612, 0.597, 0.628),
        teacher_text_perplexity=estimate(6.41, 5.92, 6.97),
        looping_fraction=rate(0.01875, 0.0, 0.04375),
        by_position=by_position(0.7, 1.35, noise=0.12, seed=1),
    )


def student_sft() -> ModelResult:
    return pruned(
        "student-sft",
        objective="sft",
        num_steps=200,
        generation_tokens_per_s=798.0,
        forward_kl_nats=estimate(1.602, 1.504, 1.701),
        top1_agreement=estimate(0.561, 0.545, 0.577),
        teacher_text_perplexity=estimate(6.98, 6.41, 7.63),
        looping_fraction=rate(0.0375, 0.0125, 0.06875),
        by_position=by_position(0.9, 1.85, noise=0.12, seed=2),
    )


def untrained() -> ModelResult:
    return pruned(
        "student untrained",
        role="untrained",
        generation_tokens_per_s=None,
        latency_s_per_completion=None,
        forward_kl_nats=estimate(11.71, 11.62, 11.8),
        top1_agreement=estimate(0.0006, 0.0, 0.0016),
        teacher_text_perplexity=estimate(212_400.0, 195_100.0, 231_800.0),
        looping_fraction=rate(0.94, 0.9, 0.975),
        by_position=by_position(12.4, 11.6, noise=0.03, seed=3),
    )


def samples() -> tuple[SampleRow, ...]:
    babble = "the the of, and the the Ste Ste Ste olog olog iac the"
    return tuple(
        SampleRow(
            prompt_id=f"held-out-{index}",
            prompt=story,
            texts={
                "teacher": by_teacher,
                "student": by_student,
                "student-sft": by_sft,
                "student untrained": babble,
            },
        )
        for index, (story, by_teacher, by_student, by_sft) in enumerate(STORIES)
    )


def targets() -> tuple[Target, ...]:
    rows = (
        ("Time of the demo", "at most 8 min", "7 min 7 s", True),
        ("Parameters of the teacher's", "at most 0.62", "0.526", True),
        ("Generation speed", "at least 1.7 x the teacher's", "1.86 x", True),
        ("Held-out forward KL", "at most 25 % of untrained", "10.3 %", True),
        ("Better than SFT", "intervals apart", "1.13-1.28 and 1.50-1.70", True),
        ("Looping completions", "at most the teacher's + 1 point", "+1.3 points", False),
    )
    return tuple(Target(name=n, wanted=w, reached=r, is_met=ok) for n, w, r, ok in rows)


def results(**changes: Any) -> EvaluationResults:
    facts: dict[str, Any] = {
        "title": "News headlines: SmolLM2-135M-Instruct into 12 of its 30 layers",
        "verdict": (
            "With 53 % of the parameters and 1.9 times the speed, the student comes within 1.20 "
            "nats per token of its teacher, from 11.7 before training."
        ),
        "models": (teacher(), student(), student_sft(), untrained()),
        "comparisons": (
            Comparison(
                metric="forward_kl_nats",
                a="student",
                b="student-sft",
                difference=estimate(-0.398, -0.461, -0.337),
                ratio=estimate(0.752, 0.716, 0.788),
                verdict="Learning from distributions brings the student closer than text alone.",
            ),
            Comparison(
                metric="top1_agreement",
                a="student",
                b="student-sft",
                difference=estimate(0.051, 0.038, 0.064),
                verdict="The student ranks the teacher's token first more often.",
            ),
        ),
        "samples": samples(),
        "sample_rule": "the eight held-out prompts with the smallest SHA-256 of their id.",
        "targets": targets(),
        "num_prompts": 160,
        "num_tokens": 3120,
        "created_utc": datetime(2026, 11, 24, 6, 30, tzinfo=UTC),
        "seconds": 35.2,
    }
    return EvaluationResults(**(facts | changes))


def curve(name: str, start: float, end: float, *, seed: int) -> TrainingCurve:
    source = random.Random(seed)

    def level(step: int) -> float:
        return end + (start - end) * math.exp(-step / 38)

    return TrainingCurve(
        name=name,
        points=tuple((s, level(s) * source.uniform(0.86, 1.16)) for s in range(1, 301)),
        held_out=tuple((s, level(s) * 1.08) for s in range(60, 301, 60)),
    )


def lineage() -> list[LineageNode]:
    def node(name: str, kind: str, stage: str, detail: str, *parents: str) -> LineageNode:
        source = random.Random(name)
        return LineageNode(
            name=name,
            kind=kind,
            stage=stage,
            sha256=f"{source.getrandbits(256):064x}",
            parents=parents,
            detail=detail,
        )

    return [
        node("prompts", "prompts", "", "1,160 prompts"),
        node("completions", "completions", "collect", "1,160 completions", "prompts"),
        node("dataset", "dataset", "curate", "1,147 examples", "completions"),
        node("signal", "signal", "capture", "top-64 + tail", "dataset"),
        node("student", "student", "train", "forward KL", "dataset", "signal"),
        node("student-sft", "student", "train", "sft", "dataset"),
        node(
            "evaluation",
            "evaluation",
            "evaluate",
            "160 prompts",
            "student",
            "student-sft",
            "signal",
        ),
    ]


def provenance() -> Provenance:
    """Terms of two teachers, a duty, a signature and who pays."""
    return Provenance(
        verdict="allowed with duties",
        is_allowed=True,
        judged="registry 2026.11, judged on 2026-11-29",
        lines=(
            TermsLine(
                "teacher openai:gpt-5, openai-business",
                "allowed",
                True,
                ("82 % of rows", "openai-business/3.3e of 2026-01-01"),
                ("openai-business/3.3e: a classifier may be made of outputs",),
            ),
            TermsLine(
                "teacher local:llama, llama-4",
                "allowed with duties",
                True,
                ("18 % of rows", "1.b.i of 2025-04-05, disputed"),
            ),
        ),
        duties=("Its name begins with: Llama (1.b.i)", "Show: Built with Llama (1.b.i)"),
        signatures=("student: distillation, signed by release on 2026-11-29, key 0123456789ab",),
        notes=("No terms were recorded when answers were made.",),
        tiles=(
            Tile("The teacher's answers so far", "$1.31", ("13,076 answers",)),
            Tile("Training", "$0.073", ("1 h 30 min",)),
            Tile("1,000 answers", "$0.00063", ("of the teacher $0.10",)),
            Tile("Pays back after", "13,900", ("requests",)),
        ),
    )


def extras(**changes: Any) -> dict[str, Any]:
    """The keyword arguments of `render_report`."""
    facts: dict[str, Any] = {
        "training": {
            "student": curve("student", 11.6, 1.1, seed=4),
            "student-sft": curve("student-sft", 12.3, 1.75, seed=5),
        },
        "stages": [
            StageCost("collect", 95.1, 41_760, 21_344, 0.0),
            StageCost("curate", 0.4, 0, 0, 0.0),
            StageCost("capture", 1.0, 0, 0, 0.0),
            StageCost("train student", 150.3, 0, 0, 0.0),
            StageCost("train student-sft", 145.2, 0, 0, 0.0),
            StageCost("evaluate", 35.2, 0, 0, 0.0),
        ],
        "counts": [
            CountRow("collect", 1160, 1160, {}),
            CountRow("curate", 1160, 1147, {"cut off at max_tokens": 9, "duplicate": 4}),
            CountRow("capture", 1147, 1147, {}),
            CountRow("evaluate", 160, 160, {}),
        ],
        "lineage": lineage(),
        "provenance": provenance(),
        "command": "stillhouse demo --out still-demo --seed 0",
        "environment": {
            "stillhouse": "0.1.0 (f0cd8ea)",
            "Python": "3.11.2",
            "Platform": "Linux x86_64",
            "torch": "2.13.0+cpu, 2 threads",
            "transformers": "5.23.0",
            "Device": "cpu, float32",
        },
    }
    return facts | changes
