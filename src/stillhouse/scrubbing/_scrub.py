"""Take personal data and secrets out of text, so that what is left can still be learned from.

Each is replaced by a placeholder such as `[EMAIL_1]`. Within one text, or one row of a prompt and
its completion, the same value has the same placeholder: an answer that copies from its prompt still
copies. What a pattern could not know for certain is confirmed by a checksum where there is one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stillhouse.records import Completion, Message, Prompt, Tool, ToolCall
from stillhouse.scrubbing._patterns import DETECTORS, NEED_DIGITS, Detector

# What one round takes out may free a neighbour that it touched, so rounds follow until one finds
# nothing. The bound keeps the time linear.
_MAX_ROUNDS = 8
_PLACEHOLDER = re.compile(r"\[([A-Z_]{2,20})_(\d{1,9})\]", re.ASCII)
_DIGIT = re.compile("[0-9]")


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A text without what was found in it.

    Attributes:
        text: With placeholders; the very same text where nothing was found.
        counts: How often each kind was found.
    """

    text: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class ScrubbedRow:
    """A prompt and its completion without what was found in them."""

    prompt: Prompt
    completion: Completion
    counts: dict[str, int]


def scrub(text: str) -> Scrubbed:
    """Replace personal data and secrets in `text`.

    Scrubbing again changes nothing. Takes time linear in the length of the text.
    """
    scrubber = _Scrubber([text])
    return Scrubbed(scrubber.clean(text), dict(scrubber.counts))


def scrub_texts(texts: Sequence[str]) -> list[str]:
    """Replace personal data and secrets in texts that belong together, with one numbering."""
    scrubber = _Scrubber(texts)
    return [scrubber.clean(text) for text in texts]


def scrub_row(prompt: Prompt, completion: Completion) -> ScrubbedRow:
    """Replace personal data and secrets in all texts of a row, with one numbering.

    Log-probabilities of a text that changed are dropped: they spell out what was removed. The ids
    are left, since what they were made from is the importer's affair.
    """
    scrubber = _Scrubber(_texts(prompt, completion))
    clean = scrubber.clean
    cleaned_prompt = prompt.model_copy(
        update={
            "messages": tuple(_clean_message(message, scrubber) for message in prompt.messages),
            "tools": tuple(_clean_tool(tool, scrubber) for tool in prompt.tools),
            "reference": None if prompt.reference is None else clean(prompt.reference),
        }
    )
    text = clean(completion.text)
    reasoning = None if completion.reasoning is None else clean(completion.reasoning)
    cleaned_completion = completion.model_copy(
        update={
            "text": text,
            "reasoning": reasoning,
            "tool_calls": _clean_calls(completion.tool_calls, scrubber),
            "logprobs": completion.logprobs if text == completion.text else None,
        }
    )
    return ScrubbedRow(cleaned_prompt, cleaned_completion, dict(scrubber.counts))


class _Scrubber:
    """Replaces with one numbering over several texts.

    Attributes:
        counts: How often each kind was replaced.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._names: dict[tuple[str, str], str] = {}
        self._last: Counter[str] = Counter()
        for text in texts:
            # A placeholder that is there already stands for some other value.
            for kind, number in _PLACEHOLDER.findall(text) if "[" in text else ():
                self._last[kind] = max(self._last[kind], int(number))

    def clean(self, text: str) -> str:
        """`text` with placeholders."""
        for _ in range(_MAX_ROUNDS):
            cleaned = self._round(text)
            if cleaned == text:
                break
            text = cleaned
        return text

    def _round(self, text: str) -> str:
        lowered = text.lower()
        has_digits = _DIGIT.search(text) is not None
        for detector in DETECTORS:
            if detector.kind in NEED_DIGITS and not has_digits:
                continue
            if not detector.triggers or _holds_one_of(detector.triggers, lowered):
                text = self._replace(text, detector)
        return text

    def _replace(self, text: str, detector: Detector) -> str:
        parts: list[str] = []
        position = 0
        for start, end in detector.spans(text):
            parts += (text[position:start], self._name(detector.kind, text[start:end]))
            position = end
        return "".join((*parts, text[position:])) if parts else text

    def _name(self, kind: str, value: str) -> str:
        self.counts[kind] += 1
        if (kind, value) not in self._names:
            self._last[kind] += 1
            self._names[kind, value] = f"[{kind}_{self._last[kind]}]"
        return self._names[kind, value]


def _holds_one_of(triggers: tuple[str, ...], lowered: str) -> bool:
    # A loop: `any` with a generator takes three times as long, and this is most of the time.
    for trigger in triggers:  # noqa: SIM110
        if trigger in lowered:
            return True
    return False


def _texts(prompt: Prompt, completion: Completion) -> Iterable[str]:
    for message in prompt.messages:
        yield message.content
        yield message.reasoning or ""
        yield from (call.arguments for call in message.tool_calls)
    yield prompt.reference or ""
    yield completion.text
    yield completion.reasoning or ""
    yield from (call.arguments for call in completion.tool_calls)


def _clean_message(message: Message, scrubber: _Scrubber) -> Message:
    content = scrubber.clean(message.content)
    reasoning = None if message.reasoning is None else scrubber.clean(message.reasoning)
    calls = _clean_calls(message.tool_calls, scrubber)
    return message.model_copy(
        update={"content": content, "reasoning": reasoning, "tool_calls": calls}
    )


def _clean_calls(calls: tuple[ToolCall, ...], scrubber: _Scrubber) -> tuple[ToolCall, ...]:
    return tuple(
        call.model_copy(update={"arguments": scrubber.clean(call.arguments)}) for call in calls
    )


def _clean_tool(tool: Tool, scrubber: _Scrubber) -> Tool:
    return tool.model_copy(update={"description": scrubber.clean(tool.description)})
