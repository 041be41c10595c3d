"""The metrics log, above all after a kill."""

from pathlib import Path

import pytest

from stillhouse.errors import IntegrityError
from stillhouse.runlog import MetricsLog, read_metrics


def write(path: Path, steps: range, *, resume_at_step: int = 0) -> None:
    with MetricsLog(path, resume_at_step=resume_at_step) as log:
        for step in steps:
            log.append(step, {"train/loss_nats": step / 2})


def steps_of(path: Path) -> list[int]:
    return [line["step"] for line in read_metrics(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_what_is_appended_is_read_back(path: Path) -> None:
    write(path, range(2))
    assert list(read_metrics(path)) == [
        {"step": 0, "train/loss_nats": 0.0},
        {"step": 1, "train/loss_nats": 0.5},
    ]


def test_a_line_can_be_read_before_the_log_is_closed(path: Path) -> None:
    with MetricsLog(path) as log:
        log.append(0, {"x": 1})
        assert steps_of(path) == [0]


def test_resuming_drops_the_steps_from_there_on(path: Path) -> None:
    write(path, range(10))
    write(path, range(4, 6), resume_at_step=4)
    assert steps_of(path) == [0, 1, 2, 3, 4, 5]


def test_resuming_drops_a_half_written_line(path: Path) -> None:
    write(path, range(3))
    with path.open("ab") as stream:
        stream.write(b'{"step":3,"train/lo')
    write(path, range(3, 5), resume_at_step=3)
    assert steps_of(path) == [0, 1, 2, 3, 4]


def test_a_whole_line_without_its_newline_counts_as_half_written(path: Path) -> None:
    path.write_bytes(b'{"step":0}\n{"step":1}')
    write(path, range(1, 2), resume_at_step=1)
    assert list(read_metrics(path)) == [{"step": 0}, {"step": 1, "train/loss_nats": 0.5}]


def test_a_log_that_is_not_resumed_begins_empty(path: Path) -> None:
    write(path, range(3))
    write(path, range(1))
    assert steps_of(path) == [0]


def test_text_with_a_unicode_line_separator_stays_on_its_line(path: Path) -> None:
    with MetricsLog(path) as log:
        log.append(0, {"note": "a\u2028b\x85c"})
    assert list(read_metrics(path)) == [{"step": 0, "note": "a\u2028b\x85c"}]


def test_a_value_that_is_not_finite_is_written_as_null(path: Path) -> None:
    with MetricsLog(path) as log:
        log.append(0, {"train/loss_nats": float("nan")})
    assert list(read_metrics(path)) == [{"step": 0, "train/loss_nats": None}]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff"])
def test_a_damaged_line_is_refused_by_number(path: Path, line: bytes) -> None:
    path.write_bytes(b'{"step":0}\n' + line + b"\n")
    with pytest.raises(IntegrityError, match="line 2 is not"):
        list(read_metrics(path))
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="line 2 is not"):
        MetricsLog(path, resume_at_step=5)
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"{}", b'{"step":"1"}'])
def test_a_log_without_steps_is_not_resumed(path: Path, line: bytes) -> None:
    path.write_bytes(line + b"\n")
    with pytest.raises(IntegrityError, match="line 1 has no whole number"):
        MetricsLog(path, resume_at_step=5)
