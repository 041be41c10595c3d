"""A prompt recipe: a YAML file with a template and lists of values, read into prompts.

    template: "Write a headline for: {story}"
    system: You write headlines.            # may be left out
    values:
      story: ["{team} won on {day}.", "{company} will hire {number} people."]
      team: [Ashford Rovers, Torvik United, Dunmore Town]
      company: [Norvex, Halden]
      day: [Monday, Friday]
      number: ["20", "300"]
    group_by: [team, company]               # what a prompt is about
    num_train: 12
    num_held_out: 4
    seed: 0

`{name}` in a text stands for one of the values of that name, which may hold slots themselves. A
slot that occurs twice in one prompt has the same value both times. `{{` and `}}` are braces.
"""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from stillhouse.collect._recipe_texts import Drawn, RecipeTexts, draw_distinct
from stillhouse.errors import ConfigError
from stillhouse.records import Message, Prompt, Record, Split, messages_identity
from stillhouse.settings import check_settings, read_yaml

_ID_HEX_DIGITS = 16  # as for the rows of a prompts file, so that equal prompts have equal ids
_SLOT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _check_slot_name(name: str) -> str:
    if not _SLOT_NAME.fullmatch(name):
        raise ValueError("the name of a slot has letters, digits and '_' only, and no digit first")
    return name


SlotName = Annotated[str, AfterValidator(_check_slot_name)]


class Recipe(Record):
    """What prompts to make. The module's docstring shows one as YAML."""

    template: str = Field(min_length=1)
    """The user message."""
    system: str | None = None
    """The system message of every prompt, taken as it stands: it has no slots."""
    values: dict[SlotName, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    group_by: tuple[str, ...] = ()
    """Slots that say what a prompt is about. Each prompt uses exactly one of them, and held-out
    prompts use values that no training prompt has. Without it, prompts have no group, and only
    their texts differ between the splits."""
    num_train: int = Field(ge=0)
    num_held_out: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.num_train + self.num_held_out == 0:
            raise ValueError("num_train and num_held_out are both 0; ask for at least one prompt")
        return self


def read_recipe(path: Path) -> list[Prompt]:
    """The prompts of a recipe file.

    Raises:
        ConfigError: the file is not a recipe, or no such prompts can be made; it names the file.
    """
    recipe = load_recipe(path)
    try:
        return expand_recipe(recipe)
    except ConfigError as err:
        raise ConfigError(f"{path}: {err}") from err


def load_recipe(path: Path) -> Recipe:
    """The recipe in a file, not yet expanded.

    Raises:
        ConfigError: it cannot be read, is not YAML, gives a key twice, or has a wrong setting.
    """
    hint = "Give the path of a prompt recipe: 'template:', 'values:' and counts."
    return check_settings(Recipe, read_yaml(path, hint=hint), where=str(path))


def expand_recipe(recipe: Recipe) -> list[Prompt]:
    """The prompts of a recipe: training first, then held out, no two with one text.

    A prompt is drawn by taking one value for each slot, each value of a list as likely as every
    other, however many texts it can grow into. Equal recipes give equal prompts in every process
    and Python version: all randomness is SHA-256 and `random.Random.random`, whose sequence
    Python guarantees.

    Raises:
        ConfigError: a slot is unknown, unused or refers to itself, a text uses no group or two,
            or fewer distinct prompts are possible than asked for.
    """
    texts = RecipeTexts(recipe.template, recipe.values, group_by=recipe.group_by)
    num_prompts = {"train": recipe.num_train, "held_out": recipe.num_held_out}
    sides = texts.split_groups(
        seed=recipe.seed, held_out_fraction=recipe.num_held_out / sum(num_prompts.values())
    )
    prompts: list[Prompt] = []
    taken: set[str] = set()
    splits: tuple[Split, ...] = ("train", "held_out")
    for split in splits:
        drawn = draw_distinct(
            sides[split], num_prompts[split], seed=f"{recipe.seed}:{split}", taken=taken
        )
        if len(drawn) < num_prompts[split]:
            raise ConfigError(
                f"num_{split} is {num_prompts[split]}, but only {len(drawn)} distinct prompts were "
                f"found for that split. Lower it, or add values."
            )
        prompts += [_prompt(recipe, texts, one, split) for one in drawn]
    return prompts


def _prompt(recipe: Recipe, texts: RecipeTexts, drawn: Drawn, split: Split) -> Prompt:
    system = () if recipe.system is None else (Message(role="system", content=recipe.system),)
    messages = (*system, Message(role="user", content=drawn.text))
    return Prompt(
        id=messages_identity(messages)[:_ID_HEX_DIGITS],
        messages=messages,
        split=split,
        group=texts.group_of(drawn),
    )
