import re

import pytest
from report_cases import results

from stillhouse.cli._comparison import _number, comparison_text


def _cells(text: str) -> dict[str, list[str]]:
    rows = [re.split(r" {2,}", line.rstrip()) for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_the_teacher_comes_first_and_the_untrained_student_last() -> None:
    shown = results()
    header = comparison_text(shown).splitlines()[0].split("   ")
    names = [name.strip() for name in header if name.strip()]
    assert names[0] == "teacher"
    assert shown.untrained is not None
    assert names[-1] == shown.untrained.name
    assert sorted(names) == sorted(model.name for model in shown.models)


def test_values_come_with_their_intervals_and_the_teacher_has_no_distance_to_itself() -> None:
    shown = results()
    student = shown.student
    assert student is not None
    assert student.forward_kl_nats is not None
    estimate = student.forward_kl_nats
    cells = _cells(comparison_text(shown))["KL to teacher, nats"]
    assert cells[0] == "-"
    assert cells[1] == f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def test_what_nobody_measured_has_no_row() -> None:
    shown = results()
    bare = tuple(
        model.model_copy(update={"generation_tokens_per_s": None, "top1_agreement": None})
        for model in shown.models
    )
    text = comparison_text(shown.model_copy(update={"models": bare}))
    assert "tokens/s" not in text
    assert "same first choice" not in text
    assert "looping answers" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.234, "1.23"), (713.4, "713"), (1276, "1,276"), (88_400, "88 k"), (22_080_650, "22.1 M")],
)
def test_numbers_keep_about_three_digits(number: float, text: str) -> None:
    assert _number(number) == text
