"""A small graph of real artefacts for the tests of documents; no model is trained for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from stillhouse.artifacts import Artifact, Counts, StudentInfo, TeacherRef, begin_artifact
from stillhouse.curate import CurateConfig, curate
from stillhouse.records import Completion, Message, Prompt, Request, Sampling, Usage
from stillhouse.terms import TermsRecord

SAMPLING = Sampling(temperature=0.7, max_tokens=64)
START = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
TEACHER = "openai:gpt-5-mini"
MODEL = "gpt-5-mini-2025-08-07"
SECOND_MODEL = "gpt-5-mini-2026-01-15"
NUM_PROMPTS = 12
KEEP_EVERYTHING = CurateConfig(deduplicate=False)

ABOUT = """\
name: Headliner
version: 1.2.0
dataset_name: Headlines
provider:
  name: Example Stills GmbH
  contact: info@example.org
license: Apache-2.0
dataset_license: CC-BY-4.0
languages: [en]
homepage: https://example.org/headliner
download: https://example.org/headliner/model
dataset_download: https://example.org/headliner/data
released: "2026-05-01"
union_market: "2026-05-02"
intended_use: Writes headlines for short news.
limitations: Knows one kind of text only.
data:
  owners: The newsroom of Example Stills.
  public_datasets: {used: false}
  crawled: {used: false}
  has_personal_information: "no"
  personal_information: None that is known.
"""


@dataclass(frozen=True)
class Case:
    """Where the artefacts are."""

    root: Path

    @property
    def completions(self) -> Path:
        return self.root / "completions"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def student(self) -> Path:
        return self.root / "students" / "student"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"


def make_case(
    root: Path,
    *,
    teacher: TeacherRef | None = None,
    terms: dict[str, Any] | None = None,
    with_evaluation: bool = True,
    task: dict[str, Any] | None = None,
    base: str = "SmolLM2-135M-Instruct",
) -> Case:
    """Completions of two revisions of a teacher, a dataset, a student and its evaluation."""
    case = Case(root)
    teacher = teacher or TeacherRef(id=TEACHER, provider="openai", revision=None)
    write_completions(case.completions, teacher, terms=terms)
    dataset = curate(case.completions, case.dataset, config=KEEP_EVERYTHING)
    student = write_student(case.student, dataset, base=base, terms=terms, task=task)
    if with_evaluation:
        write_evaluation(case.evaluation, dataset, student)
    return case


def write_completions(
    folder: Path, teacher: TeacherRef, *, num_prompts: int = NUM_PROMPTS, terms: Any = None
) -> Artifact:
    """Answers of a teacher: every fourth prompt is held out, two prompts make a group."""
    writer = begin_artifact(
        folder,
        kind="completions",
        stage="collect",
        config={"samples_per_prompt": 1, "teacher": teacher.id, "prompts_sha256": "0" * 64},
    )
    asked = [_prompt(number) for number in range(num_prompts)]
    writer.write_rows("completions", _answers(asked, teacher.id), Completion)
    writer.write_rows("prompts", asked, Prompt)
    return writer.finish(
        counts=Counts(num_in=num_prompts, kept=num_prompts),
        teacher=teacher,
        sampling=SAMPLING,
        seeds={"sampling": 0},
        usage=Usage(
            prompt_tokens=20 * num_prompts, completion_tokens=9 * num_prompts, cost_usd=0.5
        ),
        results={"terms": terms} if terms else {},
    )


def _prompt(number: int) -> Prompt:
    return Prompt(
        id=f"p{number}",
        messages=(Message(role="user", content=f"Headline for text {number}?"),),
        split="held_out" if number % 4 == 3 else "train",
        group=f"subject {number // 2}",
    )


def _answers(asked: list[Prompt], teacher: str) -> Iterator[Completion]:
    for number, prompt in enumerate(asked):
        request = Request.of(prompt, teacher=teacher, sampling=SAMPLING)
        yield Completion(
            request_id=request.id,
            prompt_id=prompt.id,
            text=f"Town Opens Bridge {number}",
            finish_reason="stop",
            model=MODEL if number % 3 else SECOND_MODEL,
            usage=Usage(prompt_tokens=20, completion_tokens=9, cost_usd=0.001),
            created_utc=START + timedelta(hours=number),
            teacher=teacher,
        )


def write_student(
    folder: Path,
    dataset: Artifact,
    *,
    base: str = "SmolLM2-135M-Instruct",
    terms: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
) -> Artifact:
    """A folder that looks like what `train` leaves, or `fit` where there is a `task`."""
    writer = begin_artifact(
        folder,
        kind="classifier" if task else "student",
        stage="fit" if task else "train",
        config={"epochs": 2.0, "learning_rate": 0.001, "batch_size": 8, "seed": 7},
        parents=[dataset],
    )
    writer.new_file("model.safetensors").write_bytes(b"weights")
    writer.new_file("config.json").write_bytes(b'{"architectures": ["LlamaForCausalLM"]}')
    results: dict[str, Any] = {"objective": "forward_kl", "steps": 12, "parameters": 70_800_000}
    results |= {"layers": 12, "final_loss_nats": 1.25}
    if task:
        results = {"student": "ngram", "task": task, "parameters": 4_288}
    if terms:
        results["terms"] = terms
    return writer.finish(
        counts=Counts(num_in=9, kept=9),
        teacher=dataset.manifest.teacher,
        student=StudentInfo(base=base, revision="a" * 40),
        sampling=SAMPLING,
        seeds={"order": 7},
        device="cpu",
        usage=Usage(completion_tokens=162, cost_usd=0.0, seconds=30.0),
        results=results,
    )


def write_evaluation(folder: Path, dataset: Artifact, *students: Artifact) -> Artifact:
    """Results of a language model's evaluation."""
    writer = begin_artifact(
        folder, kind="evaluation", stage="evaluate", config={}, parents=[dataset, *students]
    )
    document = {
        "title": "Headliner",
        "verdict": "The student is close to its teacher.",
        "num_prompts": 3,
        "created_utc": "2026-04-01T10:00:00Z",
        "models": [
            {"name": "teacher", "role": "teacher", "looping_fraction": _estimate(0.0, 0.0, 0.1)},
            *(
                {
                    "name": student.path.name,
                    "role": "student",
                    "forward_kl_nats": _estimate(0.42, 0.38, 0.47),
                    "top1_agreement": _estimate(0.81, 0.79, 0.83),
                }
                for student in students
            ),
        ],
    }
    writer.new_file("results.json").write_bytes(orjson.dumps(document))
    return writer.finish(
        counts=Counts(num_in=3, kept=3),
        teacher=dataset.manifest.teacher,
        results={"verdict": document["verdict"]},
    )


def _estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": 27, "num_clusters": 3}


def terms_record(**changes: Any) -> dict[str, Any]:
    """A verdict with two duties, as a stage writes it into its manifest."""
    clause = {
        "id": "llama-4/1.b.i",
        "url": "https://example.org/llama-4",
        "date": "2025-04-05",
        "text_sha256": "b" * 64,
        "disputed": False,
        "summary": "Models made with outputs carry the name in front.",
        "evidence": "copy",
    }
    duties = [
        {
            "kind": "name_prefix",
            "value": "Llama",
            "clause": "llama-4/1.b.i",
            "sources": ["llama-4-community"],
        },
        {
            "kind": "notice",
            "value": "Built with Llama",
            "clause": "llama-4/1.b.i",
            "sources": ["llama-4-community"],
        },
    ]
    record = {
        "registry_version": "2026-11-01",
        "registry_sha256": "c" * 64,
        "judged_on": "2026-03-01",
        "declaration": {"purpose": "headlines", "competes": False},
        "findings": [
            {
                "source": "llama-4-community",
                "origin": f"teacher {TEACHER}",
                "role": "teacher",
                "rows": 9,
                "share": 1.0,
                "verdict": "allow_with_duties",
                "clauses": [clause],
                "duties": duties,
                "reason": "Allowed with a name and a notice.",
            }
        ],
        "verdict": "allow_with_duties",
        "duties": duties,
        **changes,
    }
    made: dict[str, Any] = TermsRecord.model_validate(record).model_dump(mode="json")
    return made
