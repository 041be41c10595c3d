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

from collections.abc import Hashable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from stillhouse.collect._prompts import messages_hash
from stillhouse.collect._recipe_texts import Drawn, RecipeTexts, draw_distinct
from stillhouse.errors import ConfigError
from stillhouse.records import Message, Prompt, Record, Split

_ID_HEX_DIGITS = 16  # as for the rows of a prompts file, so that equal prompts have equal ids
_MAX_SHOWN_CHARS = 60

SlotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


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
    data = _read_mapping(path)
    try:
        return Recipe.model_validate(data)
    except ValidationError as err:
        raise ConfigError(f"{path}: {_describe(err)}") from err


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
        id=messages_hash(messages)[:_ID_HEX_DIGITS],
        messages=messages,
        split=split,
        group=texts.group_of(drawn),
    )


class _Loader(yaml.SafeLoader):
    """The safe loader, which would silently take the last of two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        # _Loader is a SafeLoader: it makes plain data only.
        data = yaml.load(path.read_bytes().decode("utf-8-sig"), Loader=_Loader)
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}). Check the path.") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8 (byte {err.start}). Save it as UTF-8.") from err
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: {err.problem}. Correct the YAML.") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        reason = str(err).splitlines()[0]
        raise ConfigError(f"{path} is not YAML that can be read ({reason}). Correct it.") from err
    if not isinstance(data, dict):
        what = "empty" if data is None else f"a {type(data).__name__}"
        raise ConfigError(f"{path} is {what}; a recipe holds 'template:', 'values:' and counts.")
    return data


def _describe(err: ValidationError) -> str:
    # A misspelt key is often why another one is missing, so it is told first.
    first = min(err.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    name = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = list(Recipe.model_fields)
        near = get_close_matches(name, allowed, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{name} is not a key of a recipe.{hint} Keys are {', '.join(allowed)}."
    if first["type"] == "missing":
        return f"{name} is missing. Add it."
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}."
    return f"{name} is {_shown(first['input'])}: {_requirement(first)}."


def _dotted(loc: tuple[int | str, ...]) -> str:
    # pydantic marks a wrong key of a mapping by this last part.
    parts = [part for part in loc if part != "[key]"]
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).removeprefix(".")


def _requirement(error: ErrorDetails) -> str:
    if error["type"] == "string_type":
        return "must be text; put it in quotes"
    if error["type"] == "string_pattern_mismatch":
        return "the name of a slot has letters, digits and '_' only, and no digit first"
    if error["type"] == "too_short":
        return "must have at least one value"
    return error["msg"].replace("Input should", "must")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
