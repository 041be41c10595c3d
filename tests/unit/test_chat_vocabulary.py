"""The bytes behind ids: a token's bytes must be those that decoding writes."""

import hashlib
import itertools
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import tokenizers
import transformers

from stillhouse.chat import ChatTokenizer, token_bytes, vocabulary_sha256
from stillhouse.models import load_chat, locate_model


@pytest.fixture(scope="module")
def chat(tiny_folder: Path) -> ChatTokenizer:
    return load_chat(locate_model(tiny_folder))


def byte_level(vocabulary: dict[str, int]) -> transformers.PreTrainedTokenizerFast:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend)


def sentencepiece() -> transformers.PreTrainedTokenizerFast:
    vocabulary = {"<unk>": 0, "<0x0A>": 1, "▁the": 2, "x": 3, "<0xff>": 4, "▁": 5, "<0x0A>x": 6}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True)
    )
    backend.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
        ]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def test_every_single_byte_has_its_token(chat: ChatTokenizer) -> None:
    table = token_bytes(chat.tokenizer)
    assert {bytes([byte]) for byte in range(256)} <= set(table)


def test_the_bytes_of_a_text_are_those_of_its_tokens(chat: ChatTokenizer) -> None:
    table = token_bytes(chat.tokenizer)
    for text in ("The town's bridge.\n\n  x\t", "naïve 你好 😀", "\x00\x7f\xa0\xad"):
        ids = chat.tokenizer.encode(text)
        assert b"".join(table[token_id] for token_id in ids) == text.encode()


def test_special_tokens_stand_for_their_text(chat: ChatTokenizer) -> None:
    assert token_bytes(chat.tokenizer)[:3] == [b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>"]


def test_sentencepiece_marks_become_spaces_and_bytes() -> None:
    assert token_bytes(sentencepiece()) == [
        b"<unk>",
        b"\n",
        b" the",
        b"x",
        b"\xff",
        b" ",
        b"<0x0A>x",
    ]


def test_a_hole_in_the_ids_is_no_bytes() -> None:
    assert token_bytes(byte_level({"a": 0, "b": 3})) == [b"a", b"", b"", b"b"]


def test_the_fingerprint_is_what_the_format_says() -> None:
    tokenizer = byte_level({"a": 0, "Ġb": 1})
    by_hand = b"\0\0\0\0\1\0\0\0a\1\0\0\0\2\0\0\0 b"
    assert vocabulary_sha256(tokenizer) == hashlib.sha256(by_hand).hexdigest()


def test_fingerprints_tell_vocabularies_apart() -> None:
    vocabularies = [
        {"a": 0, "b": 1},
        {"b": 0, "a": 1},
        {"a": 0, "b": 1, "c": 2},
        {"a": 0, "b": 2},
        {"ab": 0},
    ]
    fingerprints = [vocabulary_sha256(byte_level(vocabulary)) for vocabulary in vocabularies]
    for one, other in itertools.combinations(fingerprints, 2):
        assert one != other


def test_the_fingerprint_survives_saving(chat: ChatTokenizer, tmp_path: Path) -> None:
    chat.tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert vocabulary_sha256(again) == chat.vocabulary_sha256
