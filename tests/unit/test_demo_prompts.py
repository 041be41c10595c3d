import re
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from stillhouse.collect import read_prompts
from stillhouse.collect._recipe import expand_recipe, load_recipe
from stillhouse.records import Prompt

RECIPE_PATH = Path(str(files("stillhouse.pipeline") / "demo_prompts.yaml"))

# id, split and story: the prompts of the published demo.
GOLDEN = [
    (
        "3d23e78bf38726bd",
        "train",
        "A driver in Warsaw was fined for eating soup at the wheel, the police said on Saturday.",
    ),
    (
        "d7e19f00cbabdc82",
        "train",
        "A hiker in Thunder Valley was fined for swimming in a lake, rangers said on Thursday.",
    ),
    (
        "e6e8e00db39b43f0",
        "train",
        "A restaurant in Geneva has banned loud music, a spokesman said on Friday.",
    ),
    (
        "02a6c505d60ea2c9",
        "held_out",
        "A cafe in Hobart will offer free soup to students, its owner said on Thursday.",
    ),
]


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return read_prompts(RECIPE_PATH)


def stories(prompts: list[Prompt], split: str | None = None) -> list[str]:
    return [prompt.messages[-1].content for prompt in prompts if split in (None, prompt.split)]


def groups(prompts: list[Prompt], split: str) -> set[str]:
    return {prompt.group for prompt in prompts if prompt.split == split and prompt.group}


def test_the_demo_has_1200_training_prompts_and_160_held_out(prompts: list[Prompt]) -> None:
    assert Counter(prompt.split for prompt in prompts) == {"train": 1200, "held_out": 160}
    assert len(set(stories(prompts))) == len({prompt.id for prompt in prompts}) == 1360


def test_the_first_prompts_of_the_demo_are_these(prompts: list[Prompt]) -> None:
    first = prompts[:3] + prompts[1200:1201]
    assert [(one.id, one.split, one.messages[-1].content) for one in first] == GOLDEN


def test_no_held_out_subject_is_named_in_a_training_story(prompts: list[Prompt]) -> None:
    held_out = groups(prompts, "held_out")
    assert len(held_out) >= 20
    assert not held_out & groups(prompts, "train")
    train = "\n".join(stories(prompts, "train"))
    assert [subject for subject in held_out if re.search(rf"\b{subject}\b", train)] == []


def test_every_story_names_its_subject_and_no_other(prompts: list[Prompt]) -> None:
    subjects = groups(prompts, "train") | groups(prompts, "held_out")
    for prompt in prompts:
        story = prompt.messages[-1].content
        assert [s for s in subjects if re.search(rf"\b{s}\b", story)] == [prompt.group]


def test_stories_are_short_sentences_with_nothing_left_to_fill_in(prompts: list[Prompt]) -> None:
    for story in stories(prompts):
        assert 10 <= len(story.split()) <= 24, story
        assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9 ,.'-]*[a-z0-9]\.", story), story
        assert not any(one == other for one, other in pairwise(story.split())), story
        assert not re.search(r"\b[Aa] [aeioAEIO]|\b[Aa]n [^aeiouAEIOU]", story), story


def test_all_prompts_share_one_short_instruction(prompts: list[Prompt]) -> None:
    (instruction,) = {prompt.messages[0] for prompt in prompts}
    assert instruction.role == "system"
    assert len(instruction.content.split()) <= 12
    assert {len(prompt.messages) for prompt in prompts} == {2}


def test_fifteen_kinds_of_news_come_up_evenly_in_both_splits() -> None:
    recipe = load_recipe(RECIPE_PATH)
    kinds = {
        f"<{name.strip('{}')}>": recipe.values[name.strip("{}")] for name in recipe.values["story"]
    }
    assert len(kinds) == 15
    # Each pattern says of which kind it is, so that the draw can be counted.
    values = dict(recipe.values)
    for kind, patterns in kinds.items():
        values[kind.strip("<>")] = tuple(f"{kind} {pattern}" for pattern in patterns)
    marked = expand_recipe(recipe.model_copy(update={"values": values}))
    for split, expected in (("train", 1200 / 15), ("held_out", 160 / 15)):
        counts = Counter(story.split()[0] for story in stories(marked, split))
        assert set(counts) == set(kinds)
        assert max(counts.values()) < 2.5 * expected
        assert min(counts.values()) > 0.25 * expected


def test_the_demo_could_draw_thousands_of_stories() -> None:
    recipe = load_recipe(RECIPE_PATH).model_copy(update={"num_train": 8000, "num_held_out": 1000})
    assert len(set(stories(expand_recipe(recipe)))) == 9000


def test_the_recipe_is_a_small_file() -> None:
    assert len(RECIPE_PATH.read_bytes()) < 25_000


def test_the_quick_demo_asks_the_same_of_cities_that_training_has_not_seen(
    prompts: list[Prompt],
) -> None:
    quick = read_prompts(RECIPE_PATH.with_name("demo_quick_prompts.yaml"))
    assert Counter(prompt.split for prompt in quick) == {"train": 400, "held_out": 60}
    assert {prompt.messages[0] for prompt in quick} == {prompt.messages[0] for prompt in prompts}
    assert not groups(quick, "train") & groups(quick, "held_out")
