"""The schema of results.json: what it accepts, refuses and keeps."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import report_cases as cases
from pydantic import ValidationError

from stillhouse.errors import IntegrityError
from stillhouse.evaluate._results import Estimate, read_results


def test_results_come_back_from_their_bytes_unchanged(tmp_path: Path) -> None:
    results = cases.results()
    path = tmp_path / "results.json"
    path.write_bytes(results.to_bytes())
    assert read_results(path) == results


def test_bytes_are_sorted_json_that_ends_in_a_newline() -> None:
    raw = cases.results().to_bytes()
    data = json.loads(raw)
    assert raw.endswith(b"}\n")
    assert list(data) == sorted(data)
    assert data["schema_version"] == 1


def test_an_interval_that_is_upside_down_is_refused() -> None:
    with pytest.raises(ValidationError, match="upside down"):
        Estimate(value=1.0, low=1.2, high=0.8, n=10, num_clusters=5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_estimate_is_a_finite_number(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Estimate(value=value, low=0.0, high=1.0, n=10, num_clusters=5)


def test_an_estimate_over_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Estimate(value=0.0, low=0.0, high=0.0, n=0, num_clusters=1)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="name twice: student, student"):
        cases.results(models=(cases.student(), cases.student()), comparisons=(), samples=())


def test_a_sample_of_an_unlisted_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="'student-sft' is not a model"):
        cases.results(models=(cases.teacher(), cases.student(), cases.untrained()))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        cases.results(created_utc=datetime(2026, 11, 24))  # noqa: DTZ001 - the point of the test


def test_roles_find_the_models_the_evaluation_is_about() -> None:
    results = cases.results()
    named = [model.name for model in (results.teacher, results.student, results.untrained) if model]
    assert named == ["teacher", "student", "student untrained"]
    alone = cases.results(models=(cases.student_sft(),), comparisons=(), samples=())
    assert alone.student == cases.student_sft()
    assert alone.teacher is None


def test_a_time_keeps_its_instant_through_the_file(tmp_path: Path) -> None:
    east = datetime(2026, 11, 24, 8, 30, tzinfo=timezone(timedelta(hours=2)))
    path = tmp_path / "results.json"
    path.write_bytes(cases.results(created_utc=east).to_bytes())
    assert read_results(path).created_utc.astimezone(UTC).hour == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"num_prompts": "160"}, "num_prompts"),
    ],
)
def test_a_foreign_results_file_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(json.loads(cases.results().to_bytes()) | change))
    with pytest.raises(IntegrityError, match=told) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


def test_a_cut_off_results_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(cases.results().to_bytes()[:-40])
    with pytest.raises(IntegrityError, match=r"results\.json: document: Invalid JSON"):
        read_results(path)


def test_a_missing_results_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"nowhere\.json cannot be read"):
        read_results(tmp_path / "nowhere.json")
