"""A tokenizer as llama.cpp reads it: tokens, merges, how text is first cut, and special ids."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf import TokenType

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError
from stillhouse.records import Message

_SPLIT, _BYTES = "Split", "ByteLevel"
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_CUTS: Mapping[tuple[str, ...], str] = {
    (_BYTES,): "gpt-2",
    ("Digits", _BYTES): "smollm",
    (_QWEN2,): "qwen2",
    (_LLAMA3,): "llama-bpe",
}
"""How text is cut before pairs are merged, and what llama.cpp calls that."""


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer.

    Attributes:
        tokens: Text by id; byte-level text in GPT-2's alphabet, added tokens as they are.
        types: `TokenType` by id.
        merges: Pairs, separated by a space, the first ones first.
        cut: llama.cpp's name of how text is cut beforehand.
        special_ids: By key of the file, such as `eos_token_id`.
        adds_bos: Whether text gets the first special token where it does not begin with it.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    cut: str
    special_ids: Mapping[str, int]
    adds_bos: bool


def read_vocabulary(chat: ChatTokenizer, *, num_ids: int) -> Vocabulary:
    """The vocabulary of a model's tokenizer.

    Args:
        chat: The tokenizer.
        num_ids: Rows of the embedding; ids without a token become unused ones.

    Raises:
        ConfigError: it is no byte-level BPE, or cuts text in a way that has no name here.
    """
    backend = getattr(chat.tokenizer, "backend_tokenizer", None)
    definition: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    model = definition.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise ConfigError(
            f"The tokenizer of {chat.name} is {model.get('type', 'of an unknown kind')}"
            f"{' with byte fallback' if model.get('byte_fallback') else ''}; GGUF files are "
            "written with byte-level BPE. Export the model as safetensors."
        )
    tokens, types = _tokens(chat, model["vocab"], num_ids)
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]),
        cut=_cut(definition.get("pre_tokenizer") or {}, name=chat.name),
        special_ids=_special_ids(chat),
        adds_bos=_adds_bos(chat),
    )


def _tokens(
    chat: ChatTokenizer, vocabulary: Mapping[str, int], num_ids: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    texts = [f"[PAD{number}]" for number in range(num_ids)]
    types = [int(TokenType.UNUSED)] * num_ids
    for text, number in vocabulary.items():
        texts[number], types[number] = text, int(TokenType.NORMAL)
    for number, added in chat.tokenizer.added_tokens_decoder.items():
        is_control = added.special or number in chat.end_of_turn_ids
        texts[number] = added.content
        types[number] = int(TokenType.CONTROL if is_control else TokenType.USER_DEFINED)
    return tuple(texts), tuple(types)


def _cut(pre_tokenizer: Mapping[str, Any], *, name: str) -> str:
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    steps = tuple(filter(None, (_step(part) for part in parts)))
    if steps in _CUTS:
        return _CUTS[steps]
    kinds = [str(part.get("type")) for part in parts]
    raise ConfigError(
        f"The tokenizer of {name} cuts text by {' and '.join(kinds)} with settings that "
        f"llama.cpp's {', '.join(_CUTS.values())} do not have. Export the model as safetensors."
    )


def _step(part: Mapping[str, Any]) -> str:
    """A name for one step: its regular expression, its kind, or nothing where it cuts nothing."""
    kind = str(part.get("type"))
    if kind == _SPLIT:
        whole = part.get("behavior") == "Isolated" and not part.get("invert")
        return str(part["pattern"].get("Regex", "")) if whole else "another Split"
    if kind == _BYTES:
        if part.get("add_prefix_space"):
            return "ByteLevel with a space before the text"
        return _BYTES if part.get("use_regex", True) else ""
    if kind == "Digits":
        return kind if part.get("individual_digits") else "Digits in groups"
    return kind


def _special_ids(chat: ChatTokenizer) -> dict[str, int]:
    tokenizer, ends = chat.tokenizer, chat.end_of_turn_ids
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0]
    others = [number for number in ends if number != eos]
    found = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": eos,
        "eot_token_id": others[0] if others else None,
        "unknown_token_id": tokenizer.unk_token_id,
        "padding_token_id": tokenizer.pad_token_id,
    }
    return {key: int(number) for key, number in found.items() if number is not None}


def _adds_bos(chat: ChatTokenizer) -> bool:
    """Whether the tokenizer begins raw text so, and the template begins conversations so too.

    llama.cpp adds the token to rendered conversations as well, unless these have it already; where
    training saw none, it must not.
    """
    bos = chat.tokenizer.bos_token_id
    if bos is None or list(chat.tokenizer("")["input_ids"][:1]) != [bos]:
        return False
    return bool(chat.encode_prompt((Message(role="user", content="a"),))[0] == bos)
