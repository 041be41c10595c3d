import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.collect import read_prompts
from stillhouse.collect._recipe import Recipe, expand_recipe, load_recipe, read_recipe
from stillhouse.errors import ConfigError
from stillhouse.records import Prompt

NEWS = """
template: "Write a headline for: {story}"
system: You write headlines.
values:
  story: ["{team} won {score} on {day}.", "{company} fell on {day}.", "{firm}"]
  firm: ["{company} will hire {number} people."]
  team: [Ashford Rovers, Torvik United, Dunmore Town, Oakley Rangers]
  company: [Norvex, Halden, Lumora]
  day: [Monday, Tuesday, Friday]
  score: [3-1, 2-0]
  number: ["20", "300"]
group_by: [team, company]
num_train: 20
num_held_out: 8
seed: 5
"""

# id, group and user message of the first two prompts and of the last.
GOLDEN = [
    ("7838e12f8f7041dc", "Torvik United", "Write a headline for: Torvik United won 3-1 on Monday."),
    ("e8ee8fb478cc05d8", "Lumora", "Write a headline for: Lumora fell on Tuesday."),
    ("01d173d15b9cc84e", "Norvex", "Write a headline for: Norvex fell on Tuesday."),
]


def news(**changes: Any) -> Recipe:
    recipe = {
        "template": "{story}",
        "values": {
            "story": ["{team} won on {day}.", "{company} fell on {day}."],
            "team": ["Rovers", "United", "Town"],
            "company": ["Norvex", "Halden"],
            "day": ["Monday", "Friday"],
        },
        "group_by": ["team", "company"],
        "num_train": 4,
        "num_held_out": 2,
    }
    return Recipe.model_validate(recipe | changes)


def plain(template: str, num_train: int, **values: list[str]) -> Recipe:
    return Recipe.model_validate({"template": template, "values": values, "num_train": num_train})


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def texts(prompts: list[Prompt]) -> list[str]:
    return [prompt.messages[-1].content for prompt in prompts]


def test_a_recipe_file_gives_its_prompts_with_system_split_and_group(tmp_path: Path) -> None:
    path = written(tmp_path, NEWS)
    prompts = read_recipe(path)
    assert prompts == read_prompts(path)
    assert [prompt.split for prompt in prompts] == ["train"] * 20 + ["held_out"] * 8
    assert len(set(texts(prompts))) == len({prompt.id for prompt in prompts}) == 28
    for prompt in prompts:
        system, user = prompt.messages
        assert (system.role, system.content) == ("system", "You write headlines.")
        assert user.content.startswith("Write a headline for: ")
        assert prompt.group is not None
        assert prompt.group in user.content


def test_held_out_prompts_are_about_subjects_that_training_never_saw(tmp_path: Path) -> None:
    prompts = read_recipe(written(tmp_path, NEWS))
    train = {prompt.group for prompt in prompts if prompt.split == "train"}
    held_out = {prompt.group for prompt in prompts if prompt.split == "held_out"}
    assert not train & held_out
    assert train | held_out <= {
        *("Ashford Rovers", "Torvik United", "Dunmore Town", "Oakley Rangers"),
        *("Norvex", "Halden", "Lumora"),
    }
    assert not any(group in text for group in held_out if group for text in texts(prompts[:20]))


def test_the_prompts_of_a_seed_never_change(tmp_path: Path) -> None:
    prompts = read_recipe(written(tmp_path, NEWS))
    assert [(p.id, p.group, p.messages[-1].content) for p in prompts[:2] + prompts[-1:]] == GOLDEN


def test_another_process_with_other_hashing_makes_the_same_prompts(tmp_path: Path) -> None:
    path = written(tmp_path, NEWS)
    script = (
        "import sys; from pathlib import Path; from stillhouse.collect import read_prompts;"
        "print([prompt.id for prompt in read_prompts(Path(sys.argv[1]))])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{[prompt.id for prompt in read_recipe(path)]}\n"}


def test_another_seed_makes_other_prompts() -> None:
    one, other = (texts(expand_recipe(news(seed=seed))) for seed in (1, 2))
    assert one != other


def test_the_side_of_a_subject_does_not_depend_on_where_it_is_listed() -> None:
    recipe = news(num_train=6)
    turned = news(num_train=6, values={name: list(v)[::-1] for name, v in recipe.values.items()})
    trained_on = [
        {prompt.group for prompt in expand_recipe(one) if prompt.split == "train"}
        for one in (recipe, turned)
    ]
    assert trained_on[0] == trained_on[1]
    assert len(trained_on[0]) == 3


def test_values_are_drawn_evenly_and_not_by_how_many_texts_they_grow_into() -> None:
    recipe = plain(
        "{kind} {mark}",
        400,
        kind=["few", "{a}{b}{c}"],
        a=list("abcdefgh"),
        b=list("abcdefgh"),
        c=list("abcdefgh"),
        mark=[str(number) for number in range(400)],
    )
    kinds = Counter(text.startswith("few ") for text in texts(expand_recipe(recipe)))
    assert 120 < kinds[True] < 280


def test_a_slot_has_one_value_throughout_a_prompt() -> None:
    recipe = plain("{x} and {y}", 4, x=["1", "2"], y=["{x}!", "{x}?"])
    assert sorted(texts(expand_recipe(recipe))) == ["1 and 1!", "1 and 1?", "2 and 2!", "2 and 2?"]


def test_doubled_braces_are_braces_and_values_are_not_parsed_twice() -> None:
    recipe = plain("{{{x}}} {{x}}", 1, x=["a{{b}}"])
    assert texts(expand_recipe(recipe)) == ["{a{b}} {x}"]


def test_every_possible_prompt_can_be_asked_for_however_rare() -> None:
    rare = [f"r{number}" for number in range(200)]
    recipe = plain("{kind}", 201, kind=["common", "{hidden}"], hidden=["{deep}"], deep=rare)
    assert set(texts(expand_recipe(recipe))) == {"common", *rare}


def test_without_groups_the_splits_differ_in_their_texts() -> None:
    recipe = plain("{x}{y}", 10, x=list("abcd"), y=list("efgh")).model_copy(
        update={"num_held_out": 6}
    )
    prompts = expand_recipe(recipe)
    assert len(set(texts(prompts))) == 16
    assert {prompt.group for prompt in prompts} == {None}


def test_without_held_out_prompts_all_subjects_are_trained_on() -> None:
    prompts = expand_recipe(news(num_train=10, num_held_out=0))
    assert {prompt.group for prompt in prompts} == {"Rovers", "United", "Town", "Norvex", "Halden"}


def test_a_recipe_may_have_no_slots() -> None:
    (prompt,) = expand_recipe(plain("Say hello.", 1))
    assert (texts([prompt]), prompt.group) == (["Say hello."], None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_subjects=st.integers(2, 8),
    num_held_out=st.integers(1, 4),
    num_days=st.integers(4, 6),
)
def test_every_recipe_gives_the_counts_asked_for_and_disjoint_subjects(
    seed: int, num_subjects: int, num_held_out: int, num_days: int
) -> None:
    values = {
        "subject": [f"s{number}" for number in range(num_subjects)],
        "day": [f"d{number}" for number in range(num_days)],
    }
    recipe = Recipe.model_validate(
        {
            "template": "{subject} {day}",
            "values": values,
            "group_by": ["subject"],
            "num_train": 4,
            "num_held_out": num_held_out,
            "seed": seed,
        }
    )
    prompts = expand_recipe(recipe)
    assert prompts == expand_recipe(recipe)
    assert Counter(p.split for p in prompts) == {"train": 4, "held_out": num_held_out}
    assert len(set(texts(prompts))) == len(prompts)
    sides = [{p.group for p in prompts if p.split == side} for side in ("train", "held_out")]
    assert not sides[0] & sides[1]


BASE = news().model_dump(mode="json")["values"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": 9}, "num_train is 9, but only 6 distinct prompts were found"),
        ({"num_held_out": 90}, "num_held_out is 90, but only "),
        (
            {"values": BASE | {"story": ["{team} won on {dy}."]}},
            r"'\{team\} won on \{dy\}.' uses the unknown slot 'dy'. Did you mean 'day'\? Slots",
        ),
        ({"values": BASE | {"month": ["May"]}}, "values.month is used by no text"),
        ({"group_by": ["team", "compny"]}, "unknown slot 'compny'. Did you mean 'company'"),
        (
            {"values": BASE | {"day": ["{hour}"], "hour": ["{day}"]}},
            r"The slot 'day' comes back to itself \(day -> hour -> day\)",
        ),
        ({"values": BASE | {"company": ["Norvex"]}}, "group slot 'company' has one value"),
        ({"values": BASE | {"day": ["Monday", "Monday"]}}, "values.day holds 'Monday' twice"),
        (
            {"values": BASE | {"company": ["Norvex", "Rovers"]}},
            "'Rovers' is in the group slots 'team' and 'company'",
        ),
        ({"values": BASE | {"company": ["Norvex", "{day} Inc"]}}, "must be plain text"),
        (
            {"values": BASE | {"story": ["{team} and {company} on {day}"]}},
            r"'\{team\} and \{company\} on \{day\}' can use two group slots \(company, team\)",
        ),
        (
            {"values": BASE | {"story": ["{team} or {company}?", "{team} on {day}"]}},
            r"'\{team\} or \{company\}\?' can use two group slots",
        ),
        (
            {
                "values": BASE
                | {
                    "story": ["{first}", "{team} {company_story}"],
                    "first": ["{team} won.", "It rained on {day}."],
                    "company_story": ["lost on {day}.", "bought {company}."],
                }
            },
            "can use two group slots",
        ),
        (
            {
                "values": BASE
                | {
                    "story": ["{first}", "{company} fell."],
                    "first": ["{team} won.", "It rained on {day}."],
                }
            },
            r"'It rained on \{day\}.' uses no group slot. Each prompt needs one of team, company",
        ),
        ({"template": "{story} {"}, "'{story} {' has a single '{' at character 9"),
        ({"template": "} {story}"}, "has a single '}' at character 1"),
        ({"template": "{story} {two words}"}, "has a single '{' at character 9"),
    ],
)
def test_a_recipe_that_cannot_be_expanded_says_why_in_one_line(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        expand_recipe(news(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templat: x\nnum_train: 1", "templat is not a setting. Did you mean template"),
        ("template: x", "num_train is missing. Add it."),
        ("template: x\nnum_train: 0", "num_train and num_held_out are both 0"),
        ("template: x\nnum_train: -1", "num_train is -1; it must be greater than or equal to 0"),
        (
            "template: x\nnum_train: 1\nvalues: {a: []}",
            r"values.a is \[\]; it must have at least 1 item",
        ),
        (
            "template: '{a}'\nnum_train: 1\nvalues: {a: [x, 12]}",
            r"values.a\[1\] is 12; it must be text; put it in quotes",
        ),
        (
            "template: x\nnum_train: 1\nvalues: {a b: [x]}",
            "values.a b is 'a b'.* the name of a slot has",
        ),
        ("template: x\nnum_train: 1\nnum_train: 2", "line 3, column 1: the key 'num_train' is giv"),
        ("template: [x", "line 1, column 13: .*Correct the YAML"),
        ("template: '{a}'\nnum_train: 2\nvalues: {a: [x]}", "num_train is 2, but only 1 distinct"),
        ("", "is empty.* a prompt recipe: 'template:'"),
        ("- x", "is a list.* a prompt recipe: 'template:'"),
        ("template: !!python/object:os.system x", "could not determine a constructor"),
        ("? [a]\n: x", "unhashable key"),
        ("template: 2020-13-45", "line 1, column 11.*put it in quotes"),
        (b"template: \xff", "is not UTF-8"),
    ],
)
def test_a_damaged_recipe_file_is_named_with_what_is_wrong(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be read"):
        load_recipe(tmp_path / "nothing.yaml")
