"""What a log says of the service: shares, audits, times, versions."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import run_here
from test_servicelog import a_row, an_audit, write

from stillhouse.errors import DataError
from stillhouse.evaluate import service_summary
from stillhouse.statistics import betting_interval, fraction_interval


def by_student(number: int, **changes: Any) -> dict[str, Any]:
    return a_row(number, route="student", reason="confident", **changes)


def audit(number: int, loss: float, **changes: Any) -> dict[str, Any]:
    return {**an_audit(), "id": f"r{number}", "loss": loss, **changes}


def test_shares_are_of_what_they_say_with_exact_intervals(tmp_path: Path) -> None:
    rows = [by_student(n, seconds=0.01 * (n + 1), audited=n < 20) for n in range(80)]
    rows += [audit(n, float(n < 3)) for n in range(19)]  # one teacher failed
    rows += [a_row(100 + n, audited=n < 5, seconds=1.0, first_s=0.5) for n in range(20)]
    rows += [a_row(200, route="server", reason="refused", status=400)]
    rows += [a_row(201, status=502, audited=True)]
    rows += [by_student(202, status=499, cancelled=True)]
    write(tmp_path, rows)
    total = service_summary(tmp_path).total
    assert (total.requests, total.refused, total.failed, total.cancelled) == (103, 1, 1, 1)
    assert total.routes == {"student": 81, "teacher": 21, "server": 1}
    share = fraction_interval(81, 102)
    assert total.student_share is not None
    assert (total.student_share.low, total.student_share.high) == (share.low, share.high)
    # Those that the teacher answered differ from nothing: 19 + 5 audits with 3 differences.
    assert (total.audited, total.unanswered_audits) == (24, 1)
    exact = fraction_interval(3, 24)
    assert total.difference is not None
    assert (total.difference.value, total.difference.high) == (exact.value, exact.high)
    assert total.student_difference is not None
    assert (total.student_difference.value, total.student_difference.n) == (3 / 19, 19)
    assert total.latency["student"].median_s == pytest.approx(0.405)
    assert total.latency["student"].first_median_s is None
    assert total.latency["teacher"].first_median_s == 0.5


def test_graded_losses_are_bounded_by_betting(tmp_path: Path) -> None:
    losses = [0.0, 0.25, 0.5, 0.0, 0.1]
    write(tmp_path, [a_row(), *(audit(n, loss) for n, loss in enumerate(losses))])
    found = service_summary(tmp_path).total.student_difference
    expected = betting_interval(losses)
    assert found is not None
    assert (found.value, found.high) == (expected.value, expected.high)


def test_versions_are_told_apart(tmp_path: Path) -> None:
    rows = [by_student(n, version="one") for n in range(3)]
    rows += [a_row(n, version="two") for n in range(2)] + [audit(0, 1.0, version="one")]
    write(tmp_path, rows)
    summary = service_summary(tmp_path)
    first, second = summary.versions
    assert (first.version, first.requests, first.audited) == ("one", 3, 1)
    assert (second.version, second.requests, second.audited) == ("two", 2, 0)
    assert second.difference is None
    assert summary.total.requests == 5


def test_a_log_without_requests_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, [audit(0, 0.0)])
    with pytest.raises(DataError, match="has no request"):
        service_summary(tmp_path)


def test_the_command_says_it_in_words_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [by_student(0, audited=True), audit(0, 1.0), a_row(1), by_student(2)])
    (file,) = tmp_path.iterdir()
    with file.open("ab") as stream:
        stream.write(b"torn")
    ran = run_here(capsys, "served", str(tmp_path))
    assert ran.code == 0
    assert "3 requests from 2026-11-29 12:00" in ran.out
    assert "66.7% [9.4% to 99.2%, n = 3]" in ran.out
    assert "100.0% [2.5% to 100.0%, n = 1]" in ran.out
    assert "1 lines without an end" in ran.out
    told = json.loads(run_here(capsys, "served", str(tmp_path), "--json").out)
    assert told["total"]["routes"] == {"student": 2, "teacher": 1}
    assert run_here(capsys, "served", str(tmp_path / "nowhere")).code == 2
