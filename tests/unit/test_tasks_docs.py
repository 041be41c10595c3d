"""The page on tasks shows what there is: its files are read, its tables name everything."""

import re
from pathlib import Path
from typing import get_args

import pytest

from stillhouse.curate import ContaminationRule, Overlap
from stillhouse.graders import GRADERS
from stillhouse.tasks import GRADERS_BY_KIND, AnswerProblem, Task, TaskAnswer, read_task

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_task_of_the_page_is_one(block: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(block, encoding="utf-8")
    assert read_task(path).name in block


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """The names in the first column of the tables of a section."""
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", section(title), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([a-z0-9_.]+)`", cell)]


def test_every_setting_of_a_task_is_explained_with_its_default() -> None:
    fields = {field.alias or name: field for name, field in Task.model_fields.items()}
    assert first_cells("The file") == list(fields)
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]*) \|", section("The file"), re.MULTILINE))
    assert rows["margin"] == f"`{fields['margin'].default}`"
    assert rows["prompt"] == f'`"{fields["prompt"].default}"`'


def test_every_problem_of_an_answer_is_explained() -> None:
    assert set(get_args(AnswerProblem)) <= set(first_cells("What counts as an answer"))


def test_every_field_of_an_answer_is_explained() -> None:
    assert set(first_cells("The table `answers`")) == set(TaskAnswer.model_fields)


def test_every_grader_is_explained_with_its_kind_and_scores() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", section("Graders"), re.MULTILINE)
    assert [(name, kind) for name, kind, _ in rows] == [
        (name, kind) for kind, names in GRADERS_BY_KIND.items() for name in names
    ]
    for name, _, scores in rows:
        if name in GRADERS:
            assert (scores.strip() == "0 or 1") == GRADERS[name].is_binary


def test_every_rule_and_kind_of_contamination_is_explained() -> None:
    named = {*get_args(ContaminationRule), *get_args(Overlap)}
    assert named <= set(first_cells("Contamination"))
