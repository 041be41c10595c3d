"""What a report says of terms and signatures, from records that were really written."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import economics_cases as cases
import pytest
from report_checks import plain
from test_evaluate_task import QUICK, make_dataset, make_student

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.errors import SignatureError
from stillhouse.evaluate import evaluate_task
from stillhouse.evaluate._provenance import DUTIES, VERDICTS, provenance_of
from stillhouse.provenance import attest
from stillhouse.signing import create_key, load_private_key
from stillhouse.terms import NOTE, ClauseRef, Duty, SourceFinding, TermsRecord

DUTY = Duty(kind="name_prefix", value="Llama", clause="llama-4/1.b.i", sources=("llama-4",))


def finding(**changes: Any) -> SourceFinding:
    clause = ClauseRef(
        id="llama-4/1.b.i", url="https://example.org/llama", date="2025-04-05", text_sha256=None,
        disputed=True, summary="a model that outputs improve begins with Llama",
    )  # fmt: skip
    usual: dict[str, Any] = {
        "source": "llama-4", "origin": "teacher local:llama", "rows": 40, "share": 1.0,
        "verdict": "allow_with_duties", "clauses": (clause,), "duties": (DUTY,), "reason": "As is.",
    }  # fmt: skip
    return SourceFinding(**(usual | changes))


def record(**changes: Any) -> TermsRecord:
    usual: dict[str, Any] = {
        "registry_version": "2026.11", "registry_sha256": "ab" * 32, "judged_on": "2026-11-29",
        "declaration": {}, "findings": (finding(),), "verdict": "allow_with_duties",
        "duties": (DUTY,),
    }  # fmt: skip
    return TermsRecord(**(usual | changes))


def student_of(folder: Path, terms: TermsRecord | None) -> Artifact:
    dataset = cases.stage_of(
        folder / "dataset", [cases.calls_of(folder / "calls")], kind="dataset", stage="curate"
    )
    results = {} if terms is None else {"terms": terms.model_dump(mode="json")}
    return cases.stage_of(
        folder / "student", [dataset], kind="classifier", stage="fit", results=results
    )


def test_verdict_clause_date_and_duty_of_the_record_are_told(tmp_path: Path) -> None:
    found = provenance_of(student_of(tmp_path, record()))
    assert (found.verdict, found.is_allowed) == ("allowed with duties", True)
    assert found.judged == "registry 2026.11, judged on 2026-11-29"
    (line,) = found.lines
    assert line.what == "teacher local:llama, llama-4"
    assert line.details == (
        "100\N{NO-BREAK SPACE}% of rows",
        "llama-4/1.b.i of 2025-04-05, disputed",
    )
    assert line.clauses == ("llama-4/1.b.i: a model that outputs improve begins with Llama",)
    assert found.duties == ("Its name begins with: Llama (llama-4/1.b.i)",)
    assert found.notes == ("No terms were recorded when calls were made.",)
    assert found.signatures == ()


def test_what_does_not_allow_says_why(tmp_path: Path) -> None:
    unknown = finding(
        source="", verdict="unknown", clauses=(), duties=(), share=None,
        reason="Nobody said which terms these are under; declare them.",
    )  # fmt: skip
    given = record(findings=(unknown,), verdict="unknown", duties=())
    found = provenance_of(student_of(tmp_path, given))
    assert (found.verdict, found.is_allowed) == ("not known to be allowed", False)
    (line,) = found.lines
    assert line.what == "teacher local:llama, terms unknown"
    assert line.details == (unknown.reason,)


def test_a_student_without_a_base_model_is_told_so(tmp_path: Path) -> None:
    own = finding(source="own", origin="base model no base model", role="base_model", duties=())
    found = provenance_of(student_of(tmp_path, record(findings=(own,))))
    assert found.lines[0].what == "no base model, own"


def test_artefacts_without_records_say_so(tmp_path: Path) -> None:
    found = provenance_of(student_of(tmp_path, None))
    assert found.verdict == ""
    assert found.notes == ("No terms were recorded when calls, student were made.",)


def test_a_signature_is_told_and_a_changed_byte_of_it_is_found(tmp_path: Path) -> None:
    student = student_of(tmp_path, record())
    now = datetime.now(UTC) + timedelta(seconds=1)
    create_key(
        tmp_path / "key.pem", name="release", valid_from=now - timedelta(days=1),
        valid_until=now + timedelta(days=1), now=now,
    )  # fmt: skip
    key = load_private_key(tmp_path / "key.pem")
    attest(student.path, key, now=now)
    found = provenance_of(student)
    assert len(found.signatures) == 2
    assert found.signatures[0].startswith("student: distillation, signed by release on 20")
    assert found.signatures[0].endswith(f"key {key.key_id[:12]}")
    path = student.path / "attestations.jsonl"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SignatureError):
        provenance_of(student)


def test_every_verdict_and_duty_has_words() -> None:
    for field, words in (("verdict", VERDICTS), ("duties", DUTIES)):
        assert field in TermsRecord.model_fields
        assert all(text and text[0].isprintable() for text in words.values())
    assert set(VERDICTS) == {"allow", "allow_with_duties", "unknown", "forbid"}
    kinds = Duty.model_fields["kind"].annotation
    assert set(DUTIES) == set(kinds.__args__)  # type: ignore[union-attr]


def test_the_report_of_a_task_has_the_section(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    good = make_student(dataset, tmp_path / "good")
    evaluation = evaluate_task(
        dataset, tmp_path / "evaluation", students={"good": good}, config=QUICK
    )
    words = plain(evaluation.file("report.html").read_text("utf-8"))
    section = words[words.index("Provenance and terms") : words.index("Do it again")]
    assert "Verdict and duties: not recorded." in section
    assert "No terms were recorded when completions, good were made." in section
    assert "None was there when this report was made." in section
    assert re.search(r"The teacher's answers so far \$0\.048\d* 480 answers", section)
    assert "Pays back after" in section
    assert section.endswith(f"{NOTE} ")
    assert open_artifact(evaluation.path).manifest.stage == "evaluate"
