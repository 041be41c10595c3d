"""One conversation, as the model was taught to read it."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stillhouse.chat._spans import TokenSpans, token_spans
from stillhouse.chat._vocabulary import token_bytes, vocabulary_sha256
from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import FinishReason, Message, Tool


@dataclass(frozen=True)
class EncodedExample:
    """Token ids of a prompt and its completion.

    Attributes:
        ids: Prompt ids, then completion ids with the end-of-turn token.
        num_prompt: How many of them are the prompt.
    """

    ids: tuple[int, ...]
    num_prompt: int

    @property
    def loss_mask(self) -> tuple[bool, ...]:
        """True where a token is learnt: by position, so an end-of-turn that is also pad counts."""
        return tuple(position >= self.num_prompt for position in range(len(self.ids)))

    @property
    def completion_ids(self) -> tuple[int, ...]:
        """The learnt ids."""
        return self.ids[self.num_prompt :]

    @property
    def signal_key(self) -> str:
        """SHA-256 of prompt and completion ids, the key of a teacher signal (docs/format.md)."""
        digest = hashlib.sha256()
        digest.update(self.num_prompt.to_bytes(4, "little"))
        for token_id in self.ids:
            digest.update(token_id.to_bytes(4, "little"))
        return digest.hexdigest()


class ChatTokenizer:
    """A model's tokenizer together with its chat template.

    Text that spells out a control token of the model, such as `<|im_end|>`, is refused wherever it
    would be tokenised: its author could otherwise end a turn or open one in another role.

    Args:
        tokenizer: A `transformers` tokenizer.
        end_of_turn_ids: Ids that end a completion, from the model's generation config.
        name: What to call the model in errors.

    Raises:
        ConfigError: the tokenizer has no chat template, or no end-of-turn token is known.
    """

    def __init__(self, tokenizer: Any, *, end_of_turn_ids: Sequence[int], name: str) -> None:
        if not tokenizer.chat_template:
            raise ConfigError(
                f"{name} has no chat template, so messages cannot be turned into its tokens. "
                "Use an instruction-tuned model, or add a chat_template.jinja to its folder."
            )
        if not end_of_turn_ids:
            raise ConfigError(
                f"{name} names no end-of-turn token. Set eos_token_id in generation_config.json."
            )
        self.tokenizer = tokenizer
        self.name = name
        self.end_of_turn_ids = tuple(sorted(set(end_of_turn_ids)))

    @cached_property
    def vocabulary_sha256(self) -> str:
        """Fingerprint of the id-to-bytes map."""
        return vocabulary_sha256(self.tokenizer)

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids that are no text: special tokens, and what ends a turn."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            {token_id for token_id, token in added if token.special} | set(self.end_of_turn_ids)
        )

    @cached_property
    def text_bytes(self) -> list[bytes]:
        """The text that each id writes, index = id: nothing for control tokens."""
        table = token_bytes(self.tokenizer)
        for token_id in self.control_ids:
            table[token_id] = b""
        return table

    @cached_property
    def template_sha256(self) -> str:
        """Hash of the chat template's text."""
        return hashlib.sha256(self.tokenizer.chat_template.encode()).hexdigest()

    @cached_property
    def reads_tools(self) -> bool:
        """Whether the template shows tools; others leave them out without a word."""
        return "tools" in self.tokenizer.chat_template

    def encode_prompt(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> tuple[int, ...]:
        """Ids of `messages` up to the point where the model answers.

        Args:
            messages: The conversation.
            tools: What the model may call, for a template that `reads_tools`.

        Raises:
            RecordError: the template refuses the messages, or one spells out a control token.
        """
        return self._encode(self._render_prompt(messages, tools))

    def encode_example(
        self,
        messages: Sequence[Message],
        completion: str,
        completion_token_ids: Sequence[int] | None = None,
    ) -> EncodedExample:
        """Ids of a prompt and its completion, ended as the model ends a turn.

        The prompt and the completion are tokenised apart, which is how a model meets them when it
        generates. What the template writes after the end-of-turn token is left out: no model has
        to produce it.

        Args:
            messages: The prompt.
            completion: The assistant's text.
            completion_token_ids: The tokens that a teacher with this tokenizer really produced,
                end-of-turn included; they win over `completion`.

        Raises:
            ConfigError: the template rewrites the conversation when the answer is appended, or
                does not end the turn with a known token.
            RecordError: the template refuses the messages, or a text spells out a control token.
        """
        prompt = self._render_prompt(messages)
        prompt_ids = self._encode(prompt)
        if completion_token_ids is None:
            self.refuse_control_tokens(completion)
            closing = self._closing_ids(messages, prompt, completion)
            completion_token_ids = (*self._encode(completion), *closing)
        return EncodedExample(ids=(*prompt_ids, *completion_token_ids), num_prompt=len(prompt_ids))

    def decode_completion(self, ids: Sequence[int]) -> tuple[str, FinishReason]:
        """The text of generated ids and whether the model ended it (`stop`) or was cut."""
        is_ended = bool(ids) and ids[-1] in self.end_of_turn_ids
        kept = ids[:-1] if is_ended else ids
        text: str = self.tokenizer.decode(
            list(kept), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text, "stop" if is_ended else "length"

    def encode_pieces(self, pieces: Sequence[str]) -> list[tuple[int, ...]]:
        """Ids of pieces of text, each by itself, as they are: for what compares vocabularies."""
        if not pieces:
            return []
        encoded = self.tokenizer(list(pieces), add_special_tokens=False)
        return [tuple(ids) for ids in encoded["input_ids"]]

    def spans(self, ids: Sequence[int], text: str) -> TokenSpans:
        """Where the tokens of a completion lie in its text, in bytes.

        Raises:
            RecordError: they do not write the text, or one is no token: a model may draw such an
                id where its head has more rows than there are tokens.
        """
        if (largest := max(ids, default=0)) >= len(self.text_bytes):
            raise RecordError(
                f"A completion holds the id {largest}, for which {self.name} has no token: its "
                f"tokenizer ends at {len(self.text_bytes) - 1}. Leave the completion out."
            )
        return token_spans([self.text_bytes[token_id] for token_id in ids], text)

    def _closing_ids(
        self, messages: Sequence[Message], prompt: str, completion: str
    ) -> tuple[int, ...]:
        answer = Message(role="assistant", content=completion)
        whole = self._render([*messages, answer], generation=False)
        if not whole.startswith(prompt + completion):
            raise ConfigError(
                f"The chat template of {self.name} rewrites the conversation once it is answered "
                "(it trims or reorders text), so the answer's tokens cannot be told apart. "
                "Strip the completion's outer white space, or use a template that only appends."
            )
        ids = self._encode(whole[len(prompt + completion) :])
        ends = [index for index, token_id in enumerate(ids) if token_id in self.end_of_turn_ids]
        if not ends:
            raise ConfigError(
                f"The chat template of {self.name} does not end a turn with one of its stop "
                f"tokens {list(self.end_of_turn_ids)}. Correct eos_token_id or the template."
            )
        return ids[: ends[0] + 1]

    @cached_property
    def _control_tokens(self) -> re.Pattern[str]:
        added = self.tokenizer.added_tokens_decoder
        texts = [added[token_id].content for token_id in sorted(self.control_ids & added.keys())]
        return re.compile("|".join(map(re.escape, texts)) if texts else "(?!)")

    def refuse_control_tokens(self, text: str) -> None:
        """Raise where a text spells out a control token.

        Raises:
            RecordError: it does.
        """
        if found := self._control_tokens.search(text):
            raise RecordError(
                f"A text holds {found.group()!r}, which {self.name} reads as a control token and "
                "not as text. Remove or reword it."
            )

    def _render_prompt(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        for message in messages:
            self.refuse_control_tokens(message.content)
            for call in message.tool_calls:
                self.refuse_control_tokens(f"{call.name} {call.arguments}")
        for tool in tools:
            self.refuse_control_tokens(f"{tool.name} {tool.description} {tool.parameters}")
        return self._render(messages, tools, generation=True)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, generation: bool
    ) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                [_for_template(message) for message in messages],
                tools=[_function(tool) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=generation,
            )
        except Exception as err:  # jinja raises what the template's author chose
            raise RecordError(
                f"The chat template of {self.name} refuses these messages ({err}). "
                "Check the order of roles."
            ) from err
        return text

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _for_template(message: Message) -> dict[str, Any]:
    """A message as templates expect it: calls in the form of the OpenAI API, arguments parsed."""
    fields = message.model_dump()
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _parsed(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return fields


def _function(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": _parsed(tool.parameters),
    }
    return {"type": "function", "function": function}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a model may write what is no JSON
