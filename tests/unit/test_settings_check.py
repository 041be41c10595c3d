from typing import Annotated, Any, Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stillhouse.errors import ConfigError
from stillhouse.settings import check_settings


def _check_cask_name(name: str) -> str:
    if not name.isalpha():
        raise ValueError("a cask's name is made of letters")
    return name


class Cask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wood: Literal["oak", "cherry"] = "oak"
    years: int = Field(default=3, ge=0)
    staves: int | tuple[int, ...] = 30


class Room(BaseModel):
    model_config = ConfigDict(extra="forbid")

    humidity: float | None = Field(default=None, ge=0)


class Still(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    notes: tuple[str, ...] = ()
    copper: bool = True
    min_litres: int = 0
    max_litres: int = 100
    room: Room = Room()
    casks: dict[Annotated[str, AfterValidator(_check_cask_name)], Cask] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.min_litres > self.max_litres:
            raise ValueError(f"max_litres={self.max_litres} is below min_litres={self.min_litres}")
        return self


GOOD: dict[str, Any] = {"name": "Old", "casks": {"a": {}}}


def _refusal(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_settings(Still, data, where="still.yaml")
    message = str(caught.value)
    assert message.startswith("still.yaml: ")
    assert "\n" not in message
    return message.removeprefix("still.yaml: ")


def test_what_fits_becomes_the_model() -> None:
    still = check_settings(Still, GOOD | {"casks": {"a": {"staves": [1, 2]}}}, where="still.yaml")
    assert still.casks["a"].staves == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"nmae": "x"},
            "nmae is not a setting. Did you mean name? Settings there: name, notes, copper, "
            "min_litres, max_litres, room, casks.",
        ),
        # A key in the wrong section: where it belongs is named.
        (
            {"years": 3},
            "years is not a setting. Did you mean casks.NAME.years? Settings there: name, notes, "
            "copper, min_litres, max_litres, room, casks.",
        ),
        (
            {"room": {"humidty": 1}},
            "room.humidty is not a setting. Did you mean humidity? Settings there: humidity.",
        ),
        ({"name": 3}, "name is 3; it must be text; put it in quotes."),
        ({"name": True}, "name is True; it must be text; put it in quotes."),
        ({"name": None}, "name is None; it must be text."),
        ({"notes": ["x", 12]}, "notes[1] is 12; it must be text; put it in quotes."),
        ({"room": {"humidity": -1}}, "room.humidity is -1; it must be greater than or equal to 0."),
        (
            {"casks": {"a": {"wood": "pine"}}},
            "casks.a.wood is 'pine'; it must be 'oak' or 'cherry'.",
        ),
        ({"casks": ["a"]}, "casks is ['a']; it must hold settings as 'name: value'."),
        ({"casks": {"a": 1}}, "casks.a is 1; it must hold settings as 'name: value'."),
        ({"min_litres": 101}, "max_litres=100 is below min_litres=101."),
    ],
)
def test_a_mistake_is_one_line_with_place_value_and_what_is_allowed(
    change: dict[str, Any], message: str
) -> None:
    assert _refusal(GOOD | change) == message


def test_each_kind_that_a_value_may_have_is_named() -> None:
    message = _refusal(GOOD | {"casks": {"a": {"staves": "all"}}})
    assert message.startswith("casks.a.staves is 'all'; it must be a valid integer")
    assert " or must be a valid tuple" in message


def test_a_name_that_the_user_chose_is_shown_with_the_rule_that_it_breaks() -> None:
    message = _refusal(GOOD | {"casks": {"a b": {}}})
    assert message.startswith("casks.a b is 'a b'")
    assert message.endswith("a cask's name is made of letters.")


def test_a_missing_key_is_named() -> None:
    assert _refusal({"casks": {"a": {}}}) == "name is missing. Add it."


def test_a_misspelt_key_is_told_before_the_missing_one_that_it_causes() -> None:
    message = _refusal({"nmae": "x", "casks": {"a": {}}})
    assert message.startswith("nmae is not a setting. Did you mean name?")
    assert message.endswith("(1 more to correct after that.)")


def test_a_long_value_is_cut() -> None:
    message = _refusal(GOOD | {"copper": "x" * 500})
    assert "xxx..." in message
    assert len(message) < 200


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(["name", "casks", "notes", "room", "max_litres", "other"]),
)
def test_no_value_whatever_gives_anything_but_a_model_or_one_line(value: Any, key: str) -> None:
    message = "c.yaml: "
    try:
        check_settings(Still, GOOD | {key: value}, where="c.yaml")
    except ConfigError as err:
        message = err.args[0]
    assert message.startswith("c.yaml: ")
    assert len(message) < 1000
