"""What terms decide, one case a line: what goes in, what is declared, and the clause with its date
that the verdict rests on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from terms_cases import built_in, origin, verdict_of

from stillhouse.terms import Verdict


class Case(NamedTuple):
    """A decision.

    Attributes:
        origins: What the student is made from, as `terms_cases` has it.
        declared: What the user states.
        verdict: What follows.
        clause: The clause that decides; empty where a contradiction does, or nothing is known.
        date: Of its text.
        duties: Kinds with values, joined by a colon; None is not looked at.
    """

    origins: tuple[str, ...]
    declared: dict[str, Any]
    verdict: Verdict
    clause: str
    date: str
    duties: tuple[str, ...] | None = None


OWN_USE = {"competes": False, "commercial": False, "distribution": "internal"}
SERVICE = {"competes": False, "commercial": True, "distribution": "service"}
WEIGHTS = {"competes": False, "commercial": True, "distribution": "weights"}
RIVAL = {"competes": True, "commercial": True, "distribution": "service"}
LM, CLASSIFIER = {"student": "language_model"}, {"student": "classifier"}
BUILT = "attribution:Built with Llama"

CASES = [
    # OpenAI: competing models are forbidden, but for private classifiers of business accounts.
    Case(("teacher openai-business",), {}, "unknown", "openai-business/3.3e", "2026-01-01"),
    Case(("teacher openai-business",), OWN_USE, "allow", "openai-business/3.3e", "2026-01-01"),
    Case(("teacher openai-business",), WEIGHTS, "allow", "openai-business/3.3e", "2026-01-01"),
    Case(("teacher openai-business",), RIVAL | LM, "forbid", "openai-business/3.3e", "2026-01-01"),
    Case(
        ("teacher openai-business",),
        RIVAL | CLASSIFIER | {"distribution": "internal"},
        "allow",
        "openai-business/3.3e",
        "2026-01-01",
    ),
    Case(
        ("teacher openai-business",),
        RIVAL | CLASSIFIER,
        "forbid",
        "openai-business/3.3e",
        "2026-01-01",
    ),
    Case(
        ("teacher openai-business",),
        {"competes": True, "distribution": "internal"},
        "unknown",
        "openai-business/3.3e",
        "2026-01-01",
    ),
    Case(("dataset openai-business",), RIVAL, "unknown", "openai-business/parties", "2026-01-01"),
    Case(("dataset openai-business",), OWN_USE, "allow", "openai-business/parties", "2026-01-01"),
    Case(("teacher openai-consumer",), OWN_USE, "forbid", "openai-consumer/extract", "2026-01-16"),
    Case(("dataset openai-consumer",), RIVAL, "unknown", "openai-consumer/compete", "2026-01-16"),
    # Anthropic: the usage policy bars training on outputs, competing or not.
    Case(
        ("teacher anthropic-commercial",),
        OWN_USE,
        "forbid",
        "anthropic-commercial/usage-policy-training",
        "2025-09-15",
    ),
    Case(
        ("teacher anthropic-commercial",),
        RIVAL,
        "forbid",
        "anthropic-commercial/D.4",
        "2025-06-17",
    ),
    Case(
        ("dataset anthropic-commercial",),
        RIVAL,
        "unknown",
        "anthropic-commercial/D.4",
        "2025-06-17",
    ),
    # Google.
    Case(
        ("teacher google-gemini-api",),
        {},
        "unknown",
        "google-gemini-api/use-restrictions",
        "2025-11-20",
    ),
    Case(
        ("teacher google-gemini-api",),
        SERVICE,
        "allow",
        "google-gemini-api/use-restrictions",
        "2025-11-20",
    ),
    Case(
        ("teacher google-gemini-api",),
        RIVAL | LM,
        "forbid",
        "google-gemini-api/no-extraction",
        "2025-11-20",
    ),
    Case(
        ("teacher google-gemini-api",),
        RIVAL | CLASSIFIER,
        "forbid",
        "google-gemini-api/use-restrictions",
        "2025-11-20",
    ),
    # xAI, AWS: no training on outputs at all.
    Case(("teacher xai-enterprise",), OWN_USE, "forbid", "xai-enterprise/3.2", "2026-08-14"),
    Case(("teacher xai-consumer",), OWN_USE, "forbid", "xai-consumer/distil", "2026-08-14"),
    Case(("teacher aws-bedrock",), OWN_USE, "forbid", "aws-bedrock/50.5", "2026-08-20"),
    Case(("teacher aws-bedrock+llama-3.3",), OWN_USE, "forbid", "aws-bedrock/50.5", "2026-08-20"),
    # Mistral and DeepSeek: allowed.
    Case(("teacher mistral-commercial",), {}, "allow", "mistral-commercial/2.2de", "2026-05-28"),
    Case(("teacher mistral-commercial",), RIVAL, "allow", "mistral-commercial/3.3", "2026-05-28"),
    Case(("teacher deepseek-api",), RIVAL | LM, "allow", "deepseek-api/4.2", "2026-04-29"),
    Case(("teacher deepseek-api",), {}, "allow", "deepseek-api/4.2", "2026-04-29"),
    Case(("teacher deepseek-mit",), RIVAL, "allow", "deepseek-mit/readme-7", "2025-04-09"),
    Case(
        ("teacher deepseek-license",),
        SERVICE,
        "allow_with_duties",
        "deepseek-license/4a",
        "2023-10-23",
        (
            "notice:a copy of the DeepSeek License Agreement 1.0",
            "use_policy:Attachment A of the DeepSeek License Agreement 1.0",
        ),
    ),
    Case(("teacher deepseek-license",), OWN_USE, "allow", "deepseek-license/1", "2023-10-23", ()),
    # Disputed, or not read: nobody is let through.
    Case(("teacher ai21",), RIVAL, "unknown", "ai21/competing-models", "2026-06-16"),
    Case(("teacher ai21",), OWN_USE, "unknown", "ai21/competing-models", "2026-06-16"),
    Case(("teacher azure-openai",), OWN_USE, "unknown", "azure-openai/similar-product", "2026"),
    Case(("teacher moonshot-api",), OWN_USE, "unknown", "moonshot-api/outputs", "2026"),
    Case(("teacher qwen-model-studio",), OWN_USE, "unknown", "qwen-model-studio/outputs", "2026"),
    Case(("teacher qwen-chat",), OWN_USE, "forbid", "qwen-chat/c", "2026-05-19"),
    Case(("teacher hosted-groq+llama-3.3",), OWN_USE, "unknown", "hosted-groq/service", "2026"),
    # Llama 3.1 and later: the name, at any share; before, no other model may be improved.
    Case(
        ("teacher llama-3.1",),
        SERVICE,
        "allow_with_duties",
        "llama-3.1/1.b.i-name",
        "2024-07-23",
        (BUILT, "name_prefix:Llama"),
    ),
    Case(
        ("teacher llama-3.2",),
        WEIGHTS,
        "allow_with_duties",
        "llama-3.2/1.b.i-name",
        "2024-09-25",
        (BUILT, "name_prefix:Llama"),
    ),
    Case(("teacher llama-3.3",), OWN_USE, "allow", "llama-3.3/1.b.i-name", "2024-12-06", ()),
    Case(
        ("base llama-4",),
        SERVICE,
        "allow_with_duties",
        "llama-4/1.b.iv",
        "2025-04-05",
        (BUILT, "name_prefix:Llama", "use_policy:https://www.llama.com/llama4/use-policy"),
    ),
    Case(
        ("teacher llama-4",),
        {},
        "allow_with_duties",
        "llama-4/1.b.i-name",
        "2025-04-05",
        (BUILT, "name_prefix:Llama"),
    ),
    Case(("teacher llama-3",), OWN_USE | LM, "unknown", "llama-3/1.b.v", "2024-04-18"),
    Case(
        ("teacher llama-3", "base apache-2.0"),
        OWN_USE | LM,
        "forbid",
        "llama-3/1.b.v",
        "2024-04-18",
    ),
    Case(
        ("teacher llama-3", "base llama-3"),
        OWN_USE | LM,
        "allow",
        "llama-3/1.b.v",
        "2024-04-18",
        (),
    ),
    Case(
        ("teacher llama-3", "base llama-3.1"),
        OWN_USE | LM,
        "forbid",
        "llama-3/1.b.v",
        "2024-04-18",
    ),
    Case(
        ("teacher llama-3", "base apache-2.0"),
        SERVICE | CLASSIFIER,
        "allow_with_duties",
        "llama-3/1.b.i",
        "2024-04-18",
        ("attribution:Built with Meta Llama 3", "name_prefix:Llama 3"),
    ),
    Case(("teacher llama-2", "base own"), OWN_USE | LM, "forbid", "llama-2/1.b.v", "2023-07-18"),
    Case(("dataset llama-2", "base own"), OWN_USE | LM, "forbid", "llama-2/1.b.v", "2023-07-18"),
    Case(
        ("teacher llama-2", "base own"),
        OWN_USE | CLASSIFIER,
        "allow",
        "llama-2/1.b.v",
        "2023-07-18",
    ),
    # Gemma: the student inherits the use policy; Gemma 4 is Apache.
    Case(
        ("teacher gemma-terms",),
        SERVICE,
        "allow_with_duties",
        "gemma-terms/3.1",
        "2026-04-01",
        (
            "notice:a copy of the Gemma Terms of Use",
            "use_policy:https://ai.google.dev/gemma/prohibited_use_policy",
        ),
    ),
    Case(("base gemma-terms",), OWN_USE, "allow", "gemma-terms/3.1", "2026-04-01", ()),
    Case(("teacher gemma-4",), WEIGHTS, "allow", "gemma-4/pointer", "2026-04-01", ()),
    Case(
        ("base gemma-4",),
        WEIGHTS,
        "allow_with_duties",
        "gemma-4/apache-4",
        "2004-01",
        ("notice:a copy of the Apache License 2.0 and the notices of Gemma 4",),
    ),
    # Qwen.
    Case(("teacher qwen-apache",), RIVAL | LM, "allow", "qwen-apache/4", "2004-01", ()),
    Case(
        ("teacher qwen-tongyi", "base own"),
        OWN_USE | LM,
        "forbid",
        "qwen-tongyi/5b",
        "2023-08-03",
    ),
    Case(
        ("teacher qwen-tongyi", "base qwen-license"),
        OWN_USE | LM,
        "allow",
        "qwen-tongyi/5b",
        "2023-08-03",
    ),
    Case(
        ("teacher qwen-research", "base own"),
        SERVICE | CLASSIFIER,
        "forbid",
        "qwen-research/2",
        "2023-11-30",
    ),
    Case(
        ("teacher qwen-license",),
        SERVICE,
        "allow_with_duties",
        "qwen-license/built-with",
        "2024",
        ("attribution:Improved using Qwen",),
    ),
    # EXAONE and OpenRAIL.
    Case(("teacher exaone-nc",), OWN_USE, "forbid", "exaone-nc/3.1", "2024-12-16"),
    Case(("base exaone-nc",), OWN_USE, "unknown", "exaone-nc/2.1c", "2024-12-16"),
    Case(
        ("base exaone-nc",), OWN_USE | {"research": False}, "forbid", "exaone-nc/2.1c", "2024-12-16"
    ),
    Case(
        ("base qwen-research",),
        OWN_USE | {"research": False},
        "forbid",
        "qwen-research/2",
        "2023-11-30",
    ),
    Case(
        ("base exaone-nc",),
        OWN_USE | {"research": True},
        "allow_with_duties",
        "exaone-nc/2.1c",
        "2024-12-16",
        ("name_prefix:EXAONE", "non_commercial:research only"),
    ),
    Case(("base exaone-nc",), WEIGHTS, "forbid", "exaone-nc/3.1", "2024-12-16"),
    Case(
        ("teacher openrail-m",),
        WEIGHTS,
        "allow_with_duties",
        "openrail-m/4",
        "2022-08-22",
        (
            "notice:a copy of the Open RAIL-M licence",
            "use_policy:Attachment A of the Open RAIL-M licence",
        ),
    ),
    # Licences of data and of software.
    Case(("teacher apache-2.0",), WEIGHTS, "allow", "apache-2.0/2", "2004-01", ()),
    Case(
        ("base apache-2.0",),
        {},
        "allow_with_duties",
        "apache-2.0/4",
        "2004-01",
        ("notice:a copy of the Apache License 2.0 and the work's notices",),
    ),
    Case(("base apache-2.0",), SERVICE, "allow", "apache-2.0/4", "2004-01", ()),
    Case(("base mit",), WEIGHTS, "allow_with_duties", "mit/notice", "2026-07-16"),
    Case(("dataset bsd-3-clause",), OWN_USE, "allow", "bsd-3-clause/notice", "2026-07-16", ()),
    Case(
        ("dataset cc-by-4.0",),
        SERVICE,
        "allow_with_duties",
        "cc-by-4.0/3a",
        "2013-11-25",
        ("attribution:the material's creators, under CC BY 4.0",),
    ),
    Case(
        ("dataset cc-by-sa-4.0",),
        WEIGHTS,
        "allow_with_duties",
        "cc-by-sa-4.0/3b",
        "2013-11-25",
        (
            "attribution:the material's creators, under CC BY-SA 4.0",
            "share_alike:CC-BY-SA-4.0",
        ),
    ),
    Case(
        ("dataset cc-by-sa-3.0",),
        SERVICE,
        "allow_with_duties",
        "cc-by-sa-3.0/4c",
        "2007-02-23",
        ("attribution:the material's creators, under CC BY-SA 3.0",),
    ),
    Case(("dataset cc-by-nc-4.0",), SERVICE, "forbid", "cc-by-nc-4.0/2a1", "2013-11-25"),
    Case(("dataset cc-by-nc-4.0",), {}, "unknown", "cc-by-nc-4.0/2a1", "2013-11-25"),
    Case(
        ("dataset cc-by-nc-4.0",),
        OWN_USE,
        "allow_with_duties",
        "cc-by-nc-4.0/2a1",
        "2013-11-25",
        ("non_commercial:non-commercial purposes only",),
    ),
    Case(("dataset cc0-1.0",), RIVAL, "allow", "cc0-1.0/2", "2026-07-16", ()),
    Case(
        ("dataset odc-by-1.0",),
        WEIGHTS,
        "allow_with_duties",
        "odc-by-1.0/4.3",
        "2026-07-16",
        ("attribution:the database, under ODC-By 1.0",),
    ),
    Case(("dataset odbl-1.0",), WEIGHTS, "allow_with_duties", "odbl-1.0/4.3", "2026-07-16"),
    Case(
        ("dataset cdla-permissive-2.0",),
        WEIGHTS,
        "allow",
        "cdla-permissive-2.0/3.1",
        "2026-07-16",
        (),
    ),
    Case(("base gpl-3.0",), WEIGHTS, "allow_with_duties", "gpl-3.0/5c", "2007-06-29"),
    Case(("teacher own",), RIVAL | LM, "allow", "own/statement", "2026-11-29", ()),
    # A dataset's licence does not clear the terms of the model that wrote it.
    Case(
        ("dataset mit+openai-business",), RIVAL, "unknown", "openai-business/parties", "2026-01-01"
    ),
    # The R1-Distill models carry their base's licence beside DeepSeek's.
    Case(
        ("teacher deepseek-mit+llama-3.3",),
        SERVICE,
        "allow_with_duties",
        "llama-3.3/1.b.i-name",
        "2024-12-06",
        (BUILT, "name_prefix:Llama"),
    ),
    # Mixes: the strictest counts.
    Case(
        ("teacher deepseek-api", "teacher xai-enterprise"),
        OWN_USE,
        "forbid",
        "xai-enterprise/3.2",
        "2026-08-14",
    ),
    Case(("teacher own", "dataset ?"), OWN_USE, "unknown", "", ""),
    Case(
        ("teacher llama-3.1", "dataset cc-by-4.0", "base apache-2.0"),
        WEIGHTS,
        "allow_with_duties",
        "llama-3.1/1.b.i-name",
        "2024-07-23",
        (
            BUILT,
            "attribution:the material's creators, under CC BY 4.0",
            "name_prefix:Llama",
            "notice:a copy of the Apache License 2.0 and the work's notices",
        ),
    ),
]


def _names() -> list[str]:
    names = []
    for number, case in enumerate(CASES):
        declared = ",".join(str(one) for one in case.declared.values())
        names.append(f"{number}-{'+'.join(case.origins)}-{declared}".replace(" ", "_"))
    return names


@pytest.mark.parametrize("case", CASES, ids=_names())
def test_a_decision_rests_on_its_clause(case: Case) -> None:
    record = verdict_of(*case.origins, **case.declared)
    assert record.verdict == case.verdict
    assert record.note == "A record, not legal advice."
    if case.duties is not None:
        assert tuple(f"{duty.kind}:{duty.value}" for duty in record.duties) == case.duties
    if not case.clause:
        return
    clauses = {clause.id: clause for finding in record.findings for clause in finding.clauses}
    assert clauses[case.clause].date == case.date
    deciding = [one for one in record.findings if one.verdict == record.verdict]
    assert any(case.clause in [clause.id for clause in one.clauses] for one in deciding)
    if case.verdict == "allow_with_duties":
        assert case.clause in [duty.clause for duty in record.duties]
    if case.verdict in ("forbid", "unknown"):
        reasons = " ".join(one.reason for one in deciding)
        assert f"{case.clause} ({case.date})" in reasons


def test_there_are_sixty_decisions_and_more_and_each_source_has_one() -> None:
    assert len(CASES) >= 60
    used = {
        source
        for case in CASES
        for text in case.origins
        for source in text.split(" ")[1].split("+")
    }
    hosts = {"hosted-together", "hosted-fireworks", "hosted-openrouter"}  # word for word as Groq
    assert set(built_in().sources) - used == hosts


@pytest.mark.parametrize("share", [1.0, 0.5, 1e-9])
def test_the_naming_duty_has_no_share_that_is_too_small(share: float) -> None:
    llama = origin("teacher llama-3.1", share=share, rows=1)
    record = verdict_of(llama, "teacher own", **WEIGHTS)
    assert ("name_prefix", "Llama") in [(duty.kind, duty.value) for duty in record.duties]


def test_a_teacher_of_which_no_row_is_left_binds_nothing() -> None:
    record = verdict_of(origin("teacher xai-enterprise", rows=0, share=0.0), "teacher own")
    assert record.verdict == "allow"
    assert record.findings[1].reason == "No row of it is left."


@pytest.mark.parametrize(
    ("origins", "clash"),
    [
        (("dataset cc-by-sa-4.0", "dataset cc-by-nc-4.0"), ("cc-by-sa-4.0", "cc-by-nc-4.0")),
        (("dataset gpl-3.0", "teacher gemma-terms"), ("gpl-3.0", "gemma-terms")),
        (("base gpl-3.0", "teacher openrail-m"), ("gpl-3.0", "openrail-m")),
        (("dataset cc-by-sa-3.0", "dataset gpl-3.0"), ("cc-by-sa-3.0", "gpl-3.0")),
        (("base exaone-nc", "teacher llama-3.1"), ("exaone-nc", "llama-3.1")),
    ],
)
def test_duties_that_contradict_forbid_distribution_and_name_both_sides(
    origins: tuple[str, ...], clash: tuple[str, str]
) -> None:
    declared = {**OWN_USE, "research": True, "distribution": "weights"}
    record = verdict_of(*origins, **declared)
    assert record.verdict == "forbid"
    assert any(all(name in one.reason for name in clash) for one in record.conflicts)
    kept = verdict_of(*origins, **{**declared, "distribution": "internal"})
    assert kept.conflicts == ()
    assert kept.verdict in ("allow", "allow_with_duties")
    del declared["distribution"]
    assert verdict_of(*origins, **declared).verdict == "unknown"


@pytest.mark.parametrize(
    "origins",
    [
        ("dataset cc-by-sa-3.0", "dataset cc-by-sa-4.0"),
        ("dataset cc-by-sa-4.0", "dataset gpl-3.0"),
        ("teacher llama-3", "teacher llama-3.1"),
        ("dataset cc-by-sa-4.0", "dataset cc-by-4.0"),
    ],
)
def test_duties_that_fit_together_do_not_contradict(origins: tuple[str, ...]) -> None:
    record = verdict_of(*origins, **WEIGHTS, **CLASSIFIER)
    assert record.conflicts == ()
    assert record.verdict == "allow_with_duties"


def test_a_disputed_clause_is_decided_by_a_reading_that_is_recorded() -> None:
    reading = {"verdict": "allow", "by": "Counsel", "date": "2026-11-28", "why": "read it"}
    declared = {**OWN_USE, "readings": {"hosted-groq/service": reading}}
    record = verdict_of("teacher hosted-groq+deepseek-mit", **declared)
    assert record.verdict == "allow"
    assert record.declaration["readings"]["hosted-groq/service"]["by"] == "Counsel"
    declared["readings"]["hosted-groq/service"] = {**reading, "verdict": "forbid"}
    assert verdict_of("teacher hosted-groq+deepseek-mit", **declared).verdict == "forbid"


def test_what_nobody_disputes_cannot_be_read_away() -> None:
    reading = {"verdict": "allow", "by": "Me", "date": "2026-11-28", "why": "I want to"}
    with pytest.raises(ValueError, match=r"nobody disputes what xai-enterprise/3\.2 says"):
        verdict_of("teacher xai-enterprise", readings={"xai-enterprise/3.2": reading})
    with pytest.raises(ValueError, match=r"xai-enterprise has no clause 'xai-enterprise/9'"):
        verdict_of("teacher xai-enterprise", readings={"xai-enterprise/9": reading})


def test_an_origin_of_a_source_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'openai-busines' is no source.*Did you mean openai-bu"):
        verdict_of("teacher openai-busines")


def test_every_process_judges_to_the_same_bytes() -> None:
    code = (
        "from terms_cases import origin, verdict_of\n"
        "mix = [origin('teacher own', rows=n) for n in (0, 5, 7)] + ['dataset ?', 'base mit']\n"
        "print(verdict_of(*mix).model_dump_json())"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
