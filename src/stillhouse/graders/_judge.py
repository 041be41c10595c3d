"""What a judge is asked: which of two answers to a request is better, in a template's words."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Message, Record, content_hash
from stillhouse.settings import check_settings, read_yaml

_DEFAULT = Path(__file__).with_name("judge_pairwise.yaml")
_PLACE = re.compile(r"\{([a-z_]+)\}")
# What each part of a template may hold; `reference` in `user` is where the section goes.
_PLACES = {
    "system": frozenset[str](),
    "user": frozenset({"request", "first", "second", "reference", "mark"}),
    "reference": frozenset({"known", "mark"}),
}
_NEEDED = {"user": ("request", "first", "second"), "reference": ("known",)}
_MARK_DIGITS = 8
_EMPTY = "(The answer is empty.)"


class JudgeTemplate(Record):
    """The words in which a judge is asked about two answers.

    A name in braces that is none of the places is refused, so that a slip is not sent to a judge as
    it stands; other braces, such as those of JSON, are left alone.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    """Raised with every change, so that figures of two versions are not taken for one."""
    system: str | None = None
    """Who the judge is and what counts."""
    user: str
    """The request and both answers, at `{request}`, `{first}` and `{second}`; `{mark}` is made for
    each question."""
    reference: str | None = None
    """What stands at `{reference}` of `user` where there is a reference, which it shows at
    `{known}`. Null shows none."""

    @model_validator(mode="after")
    def _has_its_places(self) -> Self:
        for part, allowed in _PLACES.items():
            text: str = getattr(self, part) or ""
            found = _PLACE.findall(text)
            for place in found:
                if place not in allowed:
                    known = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "none"
                    raise ValueError(f"{part} holds {{{place}}}; places there are {known}")
            for place in _NEEDED.get(part, ()):
                if text and place not in found:
                    raise ValueError(f"{part} lacks {{{place}}}; add it")
        if self.reference is not None and "reference" not in _PLACE.findall(self.user):
            raise ValueError("there is a reference section, but user lacks {reference}; add it")
        return self

    @property
    def sha256(self) -> str:
        """Hash of all its words."""
        return content_hash(self)


def read_judge_template(path: Path | None = None) -> JudgeTemplate:
    """The template in a YAML file; ours when None.

    Raises:
        ConfigError: the file is missing or not YAML, or a part of the template is wrong.
    """
    hint = "Give the path of a judge's template, or none for the one that comes with stillhouse."
    source = path or _DEFAULT
    return check_settings(JudgeTemplate, read_yaml(source, hint=hint), where=str(source))


def judge_messages(
    template: JudgeTemplate,
    request: Sequence[Message],
    first: str,
    second: str,
    *,
    reference: str | None = None,
) -> tuple[Message, ...]:
    """What is sent to the judge about `first` and `second`, in the order in which it sees them.

    Args:
        template: In whose words.
        request: The conversation that both answer.
        first: One answer.
        second: The other.
        reference: An answer that is known to be right; shown where the template has a place for it.
    """
    shown = _conversation(request)
    # From all that is shown: whoever wrote one answer cannot know it without the other.
    mark = content_hash([shown, first, second, reference])[:_MARK_DIGITS]
    section = ""
    if reference is not None and template.reference is not None:
        section = _filled(template.reference, {"known": reference, "mark": mark})
    places = {
        "request": shown,
        "first": first.strip() or _EMPTY,
        "second": second.strip() or _EMPTY,
        "reference": section,
        "mark": mark,
    }
    asked = Message(role="user", content=_filled(template.user, places).strip())
    if template.system is None:
        return (asked,)
    return (Message(role="system", content=template.system), asked)


def _filled(text: str, places: Mapping[str, str]) -> str:
    # In one pass: a place that an answer holds is not filled.
    return _PLACE.sub(lambda match: places[match[1]], text)


def _conversation(messages: Sequence[Message]) -> str:
    """The text of a single question as it is; turns with their roles where there are several."""
    if len(messages) == 1:
        return messages[0].content.strip()
    return "\n\n".join(f"[{message.role}]\n{message.content.strip()}" for message in messages)
