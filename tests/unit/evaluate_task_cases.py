"""Simulated evaluations of tasks: real conclusions from answers that no model gave."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import report_cases

from stillhouse.answers import Given
from stillhouse.economics import TeacherCalls
from stillhouse.evaluate._task import (
    LearningPoint,
    RunFacts,
    TaskEvaluateConfig,
    TaskResults,
    render_task_report,
)
from stillhouse.evaluate._task._conclude import Inputs, conclude
from stillhouse.evaluate._task._held_out import HeldOut, problem_counts
from stillhouse.evaluate._task._measure._analysis import Analyst
from stillhouse.evaluate._task._measure._measured import Measured
from stillhouse.evaluate._task._measure._scores import score
from stillhouse.evaluate._task._records import Validation
from stillhouse.evaluate._task._results import ContaminationFacts, CountFacts
from stillhouse.evaluate._task._systems._answers import SystemFacts
from stillhouse.evaluate._task._validation import ValidationRows
from stillhouse.pages import CountRow, LineageNode, StageCost
from stillhouse.records import canonical_json
from stillhouse.tasks import Task, TaskAnswer

LABELS = (
    "activate_card", "card_arrival", "card_delivery_estimate", "card_linking", "card_not_working",
    "card_payment_fee_charged", "cash_withdrawal_charge", "change_pin", "compromised_card",
    "declined_card_payment", "declined_cash_withdrawal", "edit_personal_details", "exchange_rate",
    "lost_or_stolen_card", "lost_or_stolen_phone", "passcode_forgotten", "pending_card_payment",
    "pending_transfer", "request_refund", "top_up_failed", "transfer_fee_charged",
    "transfer_not_received_by_recipient", "transfer_timing", "wrong_amount_of_cash_received",
)  # fmt: skip
PHRASES = (
    "I still have not got what I ordered two weeks ago, what is going on?",
    "Why was I charged for this? Nobody told me there would be a fee.",
    "My phone is gone and I think someone has it.",
    "It says pending since Monday.",
    "How long until the money is there when I send it to another bank?",
    "The machine gave me less than I asked for!",
    "can u change my address pls",
    "I typed the code wrong three times and now nothing works any more.",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "date": {"type": "string"},
        "total": {"type": "number"},
        "currency": {"type": "string"},
    },
    "required": ["number"],
}


def classification(**changes: Any) -> Task:
    settings: dict[str, Any] = {
        "name": "bank requests", "kind": "classification", "labels": LABELS, "reference": "label"
    }  # fmt: skip
    return Task(**(settings | changes))


def extraction(**changes: Any) -> Task:
    settings: dict[str, Any] = {"name": "invoices", "kind": "extraction", "schema": SCHEMA}
    return Task(**(settings | changes))


def rewriting(**changes: Any) -> Task:
    return Task(**({"name": "plain words", "kind": "text"} | changes))


def label_rows(
    number: int,
    *,
    split: str,
    seed: int = 0,
    labels: Sequence[str] = LABELS,
    has_gold: bool = True,
    num_groups: int | None = None,
    num_answers: int = 1,
    num_invalid: int = 0,
) -> list[TaskAnswer]:
    """Rows whose teacher is right on about 76 %, and mistakes neighbours for each other."""
    source = random.Random(seed)
    rows = []
    for place in range(number):
        gold = source.choice(labels)
        votes = [_near(gold, 0.76, source, labels) for _ in range(num_answers)]
        answer = max(dict.fromkeys(votes), key=votes.count)
        counts = {text: votes.count(text) for text in dict.fromkeys(votes)}
        is_invalid = place < num_invalid
        rows.append(
            TaskAnswer(
                prompt_id=f"{split}-{seed}-{place}",
                text=f"{source.choice(PHRASES)} ({place})",
                split=split,  # type: ignore[arg-type]
                group=None if num_groups is None else f"customer {place % num_groups}",
                answer=None if is_invalid else answer,
                probabilities={}
                if is_invalid
                else {text: times / num_answers for text, times in counts.items()},
                num_answers=num_answers,
                num_invalid=num_answers if is_invalid else 0,
                invalid=("unknown_label: 'no idea'",) * num_answers if is_invalid else (),
                reference=gold if has_gold else None,
                votes={} if is_invalid else {"fake:teacher": counts},
            )
        )
    return rows


def validation(share: float, n: int = 990) -> Validation:
    return Validation(agreement=share, low=share - 0.02, high=min(share + 0.02, 1.0), n=n)


def set_aside(
    shares: dict[str, float], *, number: int = 990, seed: int = 0
) -> dict[str, ValidationRows]:
    """Answers of students to the same rows: each is like the teacher on about its share."""
    source = random.Random(seed)
    difficulty = {f"v{n}": source.random() for n in range(number)}
    return {
        name: ValidationRows(
            agrees={row: hard < share for row, hard in difficulty.items()},
            groups={row: f"message {row}" for row in difficulty},
        )
        for name, share in shares.items()
    }


def held_out_of(task: Task, rows: Sequence[TaskAnswer], train: Sequence[TaskAnswer]) -> HeldOut:
    return HeldOut(task, tuple(rows), tuple(train))


def labelled(number: int = 600, **changes: Any) -> HeldOut:
    task = changes.pop("task", None) or classification()
    return held_out_of(
        task,
        label_rows(number, split="held_out", seed=1, **changes),
        label_rows(200, split="train", seed=2, labels=changes.get("labels", LABELS)),
    )


def answers_like(
    held_out: HeldOut, share: float, *, seed: int, sharpness: float = 6.0, labels: Any = None
) -> list[Given]:
    """A student that gives the teacher's answer on about `share`, and is surer where it does."""
    source = random.Random(seed)
    known = labels or held_out.task.labels
    given = []
    for row in held_out.rows:
        target = row.answer or source.choice(known)
        # Where the teacher is wrong it is also hard to imitate, and half of what differs is right.
        is_hard = row.reference is not None and row.reference != target
        is_like = source.random() < 1 - (1 - share) * (2.5 if is_hard else 0.55)
        text = target
        if not is_like:
            is_right = is_hard and source.random() < 0.6
            text = str(row.reference) if is_right else _near(target, 0.0, source, known)
        mean = 0.93 if is_like else 0.62
        given.append(Given(text, source.betavariate(sharpness * mean, sharpness * (1 - mean))))
    return given


def always(held_out: HeldOut, text: str) -> list[Given]:
    return [Given(text) for _ in held_out.rows]


def measured(
    held_out: HeldOut,
    given: Sequence[Given],
    *,
    latency_s: float | None = 0.002,
    seed: int = 0,
    **facts: Any,
) -> Measured:
    """What a system did that took about `latency_s` for an answer."""
    settings: dict[str, Any] = {"role": "student", "answered_by": "classifier"}
    times: list[float] = []
    batches: list[tuple[int, float]] = []
    if latency_s is not None:
        generator = np.random.default_rng(seed)
        times = (latency_s * generator.lognormal(0.0, 0.15, 200)).tolist()
        batches = [(64, 64 * latency_s / 3 * x) for x in generator.lognormal(0.0, 0.1, 10)]
    return Measured(
        facts=SystemFacts(**(settings | facts)),
        scored=score(held_out, given),
        times_s=tuple(times),
        batches=tuple(batches),
    )


def calls(usd: float | None = 2.1e-4, number: int = 3_000) -> TeacherCalls:
    generator = np.random.default_rng(3)
    costs = None if usd is None else tuple((usd * generator.lognormal(0, 0.3, number)).tolist())
    return TeacherCalls(
        usd_N=costs,
        seconds_N=tuple((0.61 * generator.lognormal(0, 0.4, number)).tolist()),
        total_usd=None if costs is None else sum(costs),
        num_calls=number,
    )


def inputs_of(held_out: HeldOut, **changes: Any) -> Inputs:
    rows = [*held_out.rows, *held_out.train]
    counts = CountFacts(
        held_out=len(held_out.rows),
        groups=held_out.num_groups,
        with_teacher=int(held_out.has_teacher_N.sum()),
        with_gold=int(held_out.has_gold_N.sum()),
        train=len(held_out.train),
        teacher_answers=sum(row.num_answers for row in rows),
        invalid_answers=problem_counts(rows),
    )
    settings: dict[str, Any] = {
        "title": "Which bank request is it?",
        "counts": counts,
        "contamination": ContaminationFacts(
            is_checked=True,
            num_held_out=len(held_out.rows),
            found={"exact": 0, "near": 0, "ngram": 0},
        ),
        "learning_curve": (),
        "missing": {},
        "validation": {},
        "started_s": 0.0,
    }
    return Inputs(**(settings | changes))


def conclusions(
    held_out: HeldOut,
    systems: Sequence[Measured],
    *,
    config: TaskEvaluateConfig | None = None,
    teacher_calls: TeacherCalls | None = None,
    **inputs: Any,
) -> TaskResults:
    analyst = Analyst(held_out, config or TaskEvaluateConfig(), teacher_calls or calls())
    found = conclude(analyst, systems, inputs_of(held_out, **inputs))
    return found.model_copy(update={"seconds": 83.0})


def bake_off(number: int = 3_075, **changes: Any) -> TaskResults:
    """Four students, their base and the cheap baselines, on a task with right answers."""
    held_out = labelled(number, num_answers=2, num_invalid=7, **changes)
    systems = [
        _student(held_out, "minilm", "encoder", 0.905, 0.0019, (22_700_000, 24_300_000), 1_310),
        _student(held_out, "embedding", "embedding", 0.861, 0.0016, (22_700_000, 23_900_000), 41),
        _student(
            held_out, "smollm", "language model", 0.897, 0.21, (134_515_008, 538_000_000), 5_400
        ),
        _student(held_out, "ngram", "ngram", 0.842, 0.0004, (1_970_000, 6_100_000), 9),
        measured(
            held_out, answers_like(held_out, 0.41, seed=9), latency_s=0.0017, name="untuned base",
            role="base", answered_by="names", num_parameters=22_700_000,
        ),
        measured(
            held_out, always(held_out, LABELS[0]), latency_s=None, name="majority",
            role="majority", answered_by="constant",
        ),
    ]  # fmt: skip
    shares = {"minilm": 0.905, "embedding": 0.861, "smollm": 0.897, "ngram": 0.842}
    return conclusions(
        held_out, systems, learning_curve=learning_curve(), validation=set_aside(shares)
    )


def learning_curve() -> tuple[LearningPoint, ...]:
    sizes = ((500, 0.62), (1_000, 0.74), (2_000, 0.83), (4_000, 0.88), (9_900, 0.905))
    points = [LearningPoint(num_answers=n, agreement=_estimate(y, 0.011)) for n, y in sizes]
    predicted = LearningPoint(
        num_answers=20_000, agreement=_estimate(0.919, 0.016), is_predicted=True
    )
    return (*points, predicted)


def run_facts(**changes: Any) -> RunFacts:
    settings: dict[str, Any] = {
        "stages": [
            StageCost("collect", 1_260.0, 1_410_000, 62_000, 0.63),
            StageCost("curate", 3.1, cost_usd=0.0),
            StageCost("fit minilm", 1_310.0, cost_usd=0.0),
            StageCost("fit embedding", 41.0, cost_usd=0.0),
            StageCost("train smollm", 5_400.0, cost_usd=0.0),
            StageCost("evaluate", 83.0, cost_usd=0.0),
        ],
        "counts": [
            CountRow("collect", 13_083, 13_076, {"error": 7}),
            CountRow("curate", 13_076, 12_951, {"invalid_answer": 94, "duplicate": 31}),
            CountRow("fit minilm", 9_876, 9_876),
        ],
        "lineage": [
            LineageNode("answers", "completions", "collect", "ab" * 32, (), "13,076 rows"),
            LineageNode("dataset", "dataset", "curate", "cd" * 32, ("answers",), "12,951 rows"),
            LineageNode("minilm", "classifier", "fit", "ef" * 32, ("dataset",)),
            LineageNode("smollm", "student", "train", "01" * 32, ("dataset",)),
            LineageNode("evaluation", "evaluation", "evaluate", "", ("minilm", "smollm")),
        ],
        "provenance": report_cases.provenance(),
        "command": "stillhouse evaluate data --student minilm=fit-minilm --student smollm=trained",
        "environment": {"stillhouse": "0.1.0", "Python": "3.13.1", "Machine": "Linux, 2 cores"},
    }
    return RunFacts(**(settings | changes))


def page(results: TaskResults, **changes: Any) -> str:
    return render_task_report(results, run_facts(**changes))


def extraction_held_out(number: int = 240, *, has_gold: bool = True) -> HeldOut:
    source = random.Random(5)
    rows = []
    for place in range(number):
        gold = {
            "number": f"INV-{source.randrange(9_999):04d}",
            "date": f"2026-{source.randrange(1, 13):02d}-{source.randrange(1, 29):02d}",
            "total": source.randrange(100, 99_999) / 100,
            "currency": source.choice(["EUR", "USD", "GBP"]),
        }
        answer = _mutated(gold, 0.03, source)
        rows.append(
            TaskAnswer(
                prompt_id=f"i{place}",
                text=f"{gold['number']} of {gold['date']}: {gold['total']} {gold['currency']}",
                split="held_out",
                answer=answer,
                probabilities={answer: 1.0},
                num_answers=1,
                num_invalid=0,
                reference=_canonical(gold) if has_gold else None,
                votes={"fake:teacher": {answer: 1}},
            )
        )
    train = [row.model_copy(update={"split": "train"}) for row in rows[:20]]
    return held_out_of(extraction(), rows, train)


def extractions(held_out: HeldOut, error: float, *, seed: int) -> list[Given]:
    import json

    source = random.Random(seed)
    given = []
    for row in held_out.rows:
        if source.random() < 0.02:
            given.append(Given(None, 0.2, "schema"))
            continue
        answer = _mutated(json.loads(row.answer or "{}"), error, source)
        sure = 0.95 if answer == row.answer else 0.6
        given.append(Given(answer, min(max(sure + source.gauss(0, 0.12), 0.01), 0.999)))
    return given


def rewritten(held_out: HeldOut, error: float, *, seed: int) -> list[Given]:
    source = random.Random(seed)
    given = []
    for row in held_out.rows:
        words = (row.answer or "").split()
        kept = [word for word in words if source.random() > error]
        if source.random() < 0.03:
            kept = kept[:3] * 4
        sure = 1 - 0.8 * (1 - len(kept) / max(len(words), 1)) + source.gauss(0, 0.05)
        given.append(Given(" ".join(kept) or "no", min(max(sure, 0.01), 0.999)))
    return given


def text_held_out(number: int = 240) -> HeldOut:
    source = random.Random(6)
    rows = []
    for place in range(number):
        text = " ".join(source.choices(" ".join(PHRASES).split(), k=source.randrange(8, 22)))
        answer = " ".join(word for word in text.split() if word.isalpha()) or "yes"
        rows.append(
            TaskAnswer(
                prompt_id=f"t{place}", text=text, split="held_out", answer=answer,
                probabilities={answer: 1.0}, num_answers=1, num_invalid=0,
                votes={"fake:teacher": {answer: 1}},
            )
        )  # fmt: skip
    train = [row.model_copy(update={"split": "train"}) for row in rows[:20]]
    return held_out_of(rewriting(), rows, train)


def _student(
    held_out: HeldOut,
    name: str,
    kind: str,
    share: float,
    latency_s: float,
    sizes: tuple[int, int],
    seconds: float,
) -> Measured:
    seed = sum(map(ord, name))
    return measured(
        held_out,
        answers_like(held_out, share, seed=seed),
        latency_s=latency_s,
        seed=seed,
        name=name,
        kind=kind,
        answered_by="label_trie" if kind == "language model" else "classifier",
        num_threads=1 if kind == "ngram" else 2,
        num_parameters=sizes[0],
        num_bytes=sizes[1],
        training_seconds=float(seconds),
        validation=validation(share + 0.002),
    )


def _near(label: str, share: float, source: random.Random, labels: Sequence[str]) -> str:
    if source.random() < share:
        return label
    place = labels.index(label)
    others = [one for one in labels if one != label]
    return labels[(place + 1) % len(labels)] if source.random() < 0.5 else source.choice(others)


def _mutated(value: dict[str, Any], error: float, source: random.Random) -> str:
    changed = dict(value)
    for name in list(changed):
        if source.random() < error and name != "number":
            changed.pop(name)
        elif source.random() < error:
            changed[name] = "?" if isinstance(changed[name], str) else -1
    return _canonical(changed)


def _canonical(value: dict[str, Any]) -> str:
    return canonical_json(value).decode()


def _estimate(value: float, half: float) -> Any:
    from stillhouse.evaluate._results import Estimate

    return Estimate(value=value, low=value - half, high=value + half, n=3_075, num_clusters=3_075)
