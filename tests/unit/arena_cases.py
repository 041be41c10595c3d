"""A realistic arena for the tests of its report, and small ones that are really held."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from stillhouse.evaluate._arena._results import (
    Agreement,
    ArenaExample,
    ArenaModel,
    ArenaResults,
    Claim,
    Contrast,
    JudgeResult,
    OrderEffects,
    PairResult,
    Standing,
    Verdict,
)
from stillhouse.evaluate._results import Estimate
from stillhouse.pages import LineageNode
from stillhouse.records import Usage

NUM_PROMPTS = 300


def estimate(value: float, low: float, high: float, *, n: int = NUM_PROMPTS) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, num_clusters=min(n, NUM_PROMPTS))


def around(value: float, half_width: float, *, n: int = NUM_PROMPTS) -> Estimate:
    return estimate(value, value - half_width, value + half_width, n=n)


def standing(points: float, rank: int, best: int, worst: int, half_width: float = 34) -> Standing:
    rating = around(points, half_width, n=1800)
    return Standing(rating=rating, rank=rank, best_rank=best, worst_rank=worst)


def model(name: str, points: Standing, **changes: Any) -> ArenaModel:
    facts: dict[str, Any] = {
        "name": name,
        "teacher": f"openai:{name}",
        "num_answers": NUM_PROMPTS,
        "num_missing": 0,
        "num_cut": 0,
        "answer_chars": around(1100, 60),
        "win_rate": around(0.5, 0.04, n=900),
        "standing": points,
        "standing_equal_length": None,
        "usage": Usage(prompt_tokens=60_000, completion_tokens=90_000, cost_usd=0.41, seconds=95),
    }
    return ArenaModel(**(facts | changes))


def models() -> tuple[ArenaModel, ...]:
    return (
        model(
            "teacher",
            standing(1142, 1, 1, 1),
            teacher="openai:gpt-large-2026-05-01",
            win_rate=around(0.71, 0.035, n=900),
            standing_equal_length=standing(1118, 1, 1, 2),
            answer_chars=around(1460, 80),
            usage=Usage(
                prompt_tokens=60_210, completion_tokens=121_400, cost_usd=1.83, seconds=214
            ),
        ),
        model(
            "student",
            standing(1048, 2, 2, 3),
            teacher="local:student@3f21c0aa91d2",
            win_rate=around(0.56, 0.041, n=900),
            standing_equal_length=standing(1071, 2, 1, 2),
            num_cut=2,
            answer_chars=around(1080, 55),
            usage=Usage(
                prompt_tokens=60_210, completion_tokens=88_300, cost_usd=0.0, seconds=1_730
            ),
        ),
        model(
            "rival-mini",
            standing(1019, 3, 2, 3),
            teacher="replay:5f0c11ab9e3d7702",
            answered_by=("claude-mini-4",),
            win_rate=around(0.52, 0.04, n=900),
            standing_equal_length=standing(1013, 3, 3, 3),
            answer_chars=around(1190, 61),
        ),
        model(
            "base",
            standing(791, 4, 4, 4, half_width=46),
            teacher="local:SmolLM2-135M-Instruct",
            win_rate=around(0.21, 0.03, n=900),
            standing_equal_length=standing(798, 4, 4, 4, half_width=47),
            num_missing=3,
            num_cut=31,
            answer_chars=around(730, 48),
            usage=Usage(
                prompt_tokens=60_210, completion_tokens=60_900, cost_usd=0.0, seconds=1_912
            ),
        ),
    )


def contrast(
    points: float, half_width: float, claim: Verdict, reverse: Verdict, needed: int | None = None
) -> Contrast:
    return Contrast(
        difference=around(points, half_width, n=1800),
        claim=Claim(verdict=claim, num_groups_needed=needed if claim == "inconclusive" else None),
        reverse=Claim(
            verdict=reverse, num_groups_needed=needed if reverse == "inconclusive" else None
        ),
    )


def pair(a: str, b: str, wins: Sequence[int], ahead: Contrast, **changes: Any) -> PairResult:
    a_wins, ties, b_wins = wins
    rate = (a_wins + ties / 2) / sum(wins)
    facts: dict[str, Any] = {
        "a": a,
        "b": b,
        "a_wins": a_wins,
        "b_wins": b_wins,
        "ties": ties,
        "num_identical": 0,
        "num_unreadable": 0,
        "a_win_rate": around(rate, 0.045),
        "contrast": ahead,
        "contrast_equal_length": None,
    }
    return PairResult(**(facts | changes))


def pairs() -> tuple[PairResult, ...]:
    better = contrast(94, 47, "better", "worse")
    return (
        pair(
            "teacher",
            "student",
            (141, 88, 71),
            better,
            num_identical=4,
            contrast_equal_length=contrast(47, 49, "non_inferior", "inconclusive", 410),
        ),
        pair(
            "teacher",
            "rival-mini",
            (150, 83, 65),
            contrast(123, 48, "better", "worse"),
            num_unreadable=2,
            contrast_equal_length=contrast(105, 50, "better", "worse"),
        ),
        pair(
            "teacher",
            "base",
            (231, 49, 20),
            contrast(351, 60, "better", "worse"),
            contrast_equal_length=contrast(320, 61, "better", "worse"),
        ),
        pair(
            "student",
            "rival-mini",
            (109, 93, 98),
            contrast(29, 46, "non_inferior", "inconclusive", 760),
            contrast_equal_length=contrast(58, 48, "better", "worse"),
        ),
        pair(
            "student",
            "base",
            (188, 71, 41),
            contrast(257, 58, "better", "worse"),
            contrast_equal_length=contrast(273, 60, "better", "worse"),
        ),
        pair(
            "rival-mini",
            "base",
            (181, 70, 49),
            contrast(228, 57, "better", "worse"),
            contrast_equal_length=contrast(215, 59, "better", "worse"),
        ),
    )


def agreement(**changes: Any) -> Agreement:
    facts: dict[str, Any] = {
        "source": "labels",
        "name": "labels.jsonl",
        "num_pairs": 240,
        "num_unreadable": 2,
        "agreement": around(0.742, 0.056, n=240),
        "kappa": around(0.58, 0.09, n=240),
        "decided_agreement": around(0.89, 0.05, n=162),
        "counts": ((81, 14, 9), (17, 34, 11), (9, 15, 50)),
    }
    return Agreement(**(facts | changes))


def judge(**changes: Any) -> JudgeResult:
    facts: dict[str, Any] = {
        "teacher": "google:gemini-3-pro",
        "template": "pairwise, version 1",
        "template_sha256": "0" * 64,
        "num_asked": 3_592,
        "problems": {"no_verdict": 4},
        "order": OrderEffects(
            num_pairs=1_790,
            position_bias=around(0.118, 0.016, n=1_790),
            first_place=around(0.71, 0.062, n=211),
            half_decided=around(0.072, 0.012, n=1_790),
        ),
        "agreements": (agreement(),),
        "usage": Usage(
            prompt_tokens=2_410_000, completion_tokens=402_000, cost_usd=6.24, seconds=1_204
        ),
    }
    return JudgeResult(**(facts | changes))


def examples() -> tuple[ArenaExample, ...]:
    return (
        ArenaExample(
            prompt_id="p17",
            prompt="Explain to a ten-year-old why the sky is blue, in three sentences.",
            a="teacher",
            b="student",
            a_text="Sunlight looks white, but it is a mix of all colours. When it meets the air, "
            "the tiny pieces of air scatter blue light much more than red. So blue comes to your "
            "eyes from everywhere, and the sky looks blue.",
            b_text="The sky is blue because air scatters blue light. Blue light has short waves. "
            "That is why you see it.",
            winner="a",
            order_effect="none",
            reason="Both are right. Answer A says where the blue comes from and keeps to three "
            "sentences; answer B leaves out what is scattered.\n\n[[A]]",
        ),
        ArenaExample(
            prompt_id="p203",
            prompt="Write a polite refusal to a wedding invitation.",
            a="student",
            b="rival-mini",
            a_text="Thank you for the invitation. Sadly I cannot come. I wish you a lovely day.",
            b_text="Dear both, thank you so much for thinking of me. I am sorry that I cannot be "
            "there, and I wish you a day full of joy.",
            winner="tie",
            order_effect="first",
            reason="A is shorter, B warmer.\n\n[[A]]",
        ),
    )


def results(**changes: Any) -> ArenaResults:
    facts: dict[str, Any] = {
        "title": "Short answers for the help desk",
        "verdict": "teacher is better than all 3 others on 300 held-out prompts; 5 of 6 "
        "differences hold; student is no worse than rival-mini.",
        "warnings": (
            "Length matters: telling teacher from student and student from rival-mini depends on "
            "whether the lengths of answers are allowed for.",
            "31 of 300 answers of base are cut off at sampling.max_tokens, which a judge holds "
            "against them. Raise it.",
            "base gave no answer to 3 prompts; these are left out, and may be the hard ones.",
        ),
        "models": models(),
        "pairs": pairs(),
        "judge": judge(),
        "long_answer_wins": around(0.578, 0.021, n=1_790),
        "margin": 0.05,
        "split": "held_out",
        "num_prompts": NUM_PROMPTS,
        "num_groups": NUM_PROMPTS,
        "num_planned": 1_800,
        "num_possible": 1_800,
        "examples": examples(),
        "example_rule": "the first pairs of the plan, which goes round all models at random.",
        "created_utc": datetime(2026, 11, 28, 12, 0, tzinfo=UTC),
        "seconds": 5_310.0,
    }
    return ArenaResults(**(facts | changes))


def lineage() -> list[LineageNode]:
    named = [f"answers of {one.name}" for one in models()]
    nodes = [
        LineageNode(name, "completions", "collect", f"{number}" * 64, (), "300 rows")
        for number, name in enumerate(named, start=1)
    ]
    names = [*named, "judgements", "judgements of labelled pairs"]
    nodes += [
        LineageNode(name, "completions", "collect", letter * 64, (), "3,592 rows")
        for name, letter in zip(names[-2:], "ab", strict=True)
    ]
    return [*nodes, LineageNode("arena", "evaluation", "arena", "", tuple(names))]


def extras(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "lineage": lineage(),
        "command": "stillhouse arena prompts.jsonl --model teacher=openai:gpt-large --model "
        "student=local:run/student --judge google:gemini-3-pro --gold labels.jsonl",
        "environment": {"stillhouse": "0.1.0", "Python": "3.12.4", "Machine": "Linux, 2 cores"},
    }
    return facts | changes
