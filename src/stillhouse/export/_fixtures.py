"""Conversations and texts on which an exported tokenizer and template must not differ.

All are made here, the same ones each time. Unicode is in composed form: llama.cpp does not
normalise text, which some tokenizers do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stillhouse.records import Message, Tool, ToolCall

_SUBJECTS = (
    "the ferry to the island", "a bakery in a small town", "the price of copper",
    "a letter that never arrived", "the moons of Jupiter", "a broken bicycle pump",
    "the rules of chess", "how glaciers move", "a late train", "the oldest tree in the park",
    "fixing a leaking tap", "a choir of thirty people",
)  # fmt: skip
_ASKED = (
    "Tell me about {}.",
    "Write a short note on {}, please.",
    "What should I know about {}?",
)
_UNICODE = (
    "Zażółć gęślą jaźń, Ærøskøbing, Ωμέγα", "Привет, как дела? Съешь ещё этих булок.",
    "今日は天気がいいですね。東京へ行きます。", "안녕하세요 세계", "مرحبا بالعالم ١٢٣", "שלום עולם",
    "नमस्ते दुनिया", "e = mc², x ≤ y, ∑ᵢ aᵢ → ∞", "“quotes” — dash … ellipsis",
)  # fmt: skip
_EMOJI = (
    "\U0001f44d\U0001f3fd ok", "\U0001f468‍\U0001f469‍\U0001f467",
    "\U0001f1e9\U0001f1f0\U0001f1ef\U0001f1f5", "❤️ and ❤ \U0001f642\U0001f642",
)  # fmt: skip
_SPACES = (
    " leading", "trailing ", "two  spaces   three", "tab\tand\ttab", "line\nline\n\nline",
    "windows\r\nline", "\n\nbefore", "after\n\n", "non breaking", "   ", "\n", "​zero width",
)  # fmt: skip
_CONTROL_LIKE = (
    "<|im_start", "im_end|>", "<|user|>", "</s>", "[INST] hello [/INST]", "<start_of_turn>user",
    "### Response:", "<| im_end |>", "{{ bos_token }}", "{% if x %}y{% endif %}", "<think>",
    "assistant\n", "user: hi\nassistant:", "\\n\\u0041 &lt;b&gt;",
)  # fmt: skip
_NUMBERS = (
    "1234567890", "3.14159 and 2,718.28", "1e-9 0x1F 0b1011", "2024-02-29T23:59:60Z",
    "+45 12 34 56 78", "7/8 50% $1,000.00", "٣٤٥ ½ Ⅻ",
)  # fmt: skip
_CODE = (
    "def f(x):\n    return {'a': [x ** 2], \"b\": None}\n", "SELECT * FROM t WHERE a <> 'b';",
    "<div class=\"x\">it's</div>", "\\frac{1}{2} $x_i$", "```python\nprint('hi')\n```",
    '{"a": [1, 2, {"b": "\\u00e9"}]}', "if (a && b || !c) { a->b(); }",
    "http://user@host:80/p?q=1#x",
)  # fmt: skip
_SYSTEMS = ("You answer in one sentence.", "")
_ANSWER = "Here is an answer: 42.\nIt has two lines."
_TOOLS = (
    Tool(
        name="get_weather",
        description="The weather of a place, today or on another day.",
        parameters='{"type": "object", "properties": {"city": {"type": "string"}, "days": '
        '{"type": "integer", "minimum": 0}}, "required": ["city"]}',
    ),
    Tool(name="now", parameters='{"type": "object", "properties": {}}'),
)
_CALLS = (
    ('{"city": "Ærøskøbing"}', '{"sky": "clear", "degrees": 21.5}'),
    ('{"city": "東京", "days": 2}', "rain \U0001f327️ until noon"),
    ('{"city": ""}', ""),
    ('{"city": "a \\"b\\" \\\\ c"}', "line\nline"),
)


@dataclass(frozen=True)
class Fixture:
    """A conversation and the tools that it may use."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


def fixture_texts() -> tuple[str, ...]:
    """About a hundred short texts and one long one, each of a kind that goes wrong somewhere."""
    plain = [form.format(subject) for subject in _SUBJECTS for form in _ASKED]
    long = " ".join(f"{number}. {text}" for number, text in enumerate(plain * 3))
    kinds = (_UNICODE, _EMOJI, _SPACES, _CONTROL_LIKE, _NUMBERS, _CODE)
    return (*plain, "", long, *(text for kind in kinds for text in kind))


def fixture_conversations() -> Iterator[Fixture]:
    """More than 400 conversations, each of which ends with the user or a tool."""
    yield from _plain_conversations()
    yield from _tool_conversations()


def _plain_conversations() -> Iterator[Fixture]:
    for number, text in enumerate(fixture_texts()):
        user = Message(role="user", content=text)
        answered = (user, Message(role="assistant", content=_ANSWER))
        yield Fixture((user,))
        yield Fixture((*answered, Message(role="user", content="And then?")))
        system = Message(role="system", content=_SYSTEMS[number % len(_SYSTEMS)])
        yield Fixture((system, user))
        yield Fixture((system, *answered, user))


def _tool_conversations() -> Iterator[Fixture]:
    """Tools that are offered, called and answered, with and without a system turn."""
    for number, (arguments, result) in enumerate(_CALLS):
        system = (Message(role="system", content=_SYSTEMS[number % len(_SYSTEMS)]),)
        user = Message(role="user", content=_ASKED[0].format(_SUBJECTS[number]))
        call = ToolCall(id=f"call_{number}", name=_TOOLS[0].name, arguments=arguments)
        called = Message(role="assistant", content="", tool_calls=(call,))
        answered = Message(role="tool", content=result, tool_call_id=call.id)
        for first in ((), system):
            yield Fixture((*first, user), _TOOLS[: 1 + number % 2])
            yield Fixture((*first, user, called, answered), _TOOLS)
            done = Message(role="assistant", content=_ANSWER)
            yield Fixture((*first, user, called, answered, done, user), _TOOLS)


def probe_prompts() -> Sequence[tuple[Message, ...]]:
    """Prompts whose answers a student is compared on where no data is given."""
    count = len(_SUBJECTS)
    return [
        (Message(role="user", content=_ASKED[(number + number // count) % 3].format(subject)),)
        for number, subject in enumerate(_SUBJECTS * 2)
    ]
