"""A second tokenizer that shares nothing with the one of `tiny_model` but the texts it can write.

Of sentencepiece's kind: marks for spaces, tokens for bytes, its own control tokens and template,
a beginning-of-text token, and merges of its own.
"""

from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers

from stillhouse.chat import ChatTokenizer, VocabularyMap

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<turn>{{ message['role'] }}: "
    "{{ message['content'] }}</turn>{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant: {% endif %}"
)
_CONTROL = ["<pad>", "</turn>", "<bos>", "<turn>"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_MERGES = [
    "t h", "th e", "▁ the", "i n", "▁ T", "o w", "ow n", "▁T own", "▁ t", "▁t own", "▁ B", "r i",
    "▁B ri", "d g", "dg e", "▁Bri dge", "▁ b", "▁b ri", "▁bri dge", "a n", "an d", "▁ and", "▁ F",
    "a r", "ar m", "▁F arm", "e r", "o n", "s e", "▁ W", "▁W in", "▁Win s", "▁ a", "r e", "b re",
    "▁b re", "a d", "▁bre ad", "C o", "u n", "Co un", "c il", "Coun cil",
]  # fmt: skip
END_OF_TURN_ID = 1


def make_other_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """The tokenizer, with its template."""
    merges = [(one, other) for one, other in (merge.split() for merge in _MERGES)]
    characters = [*map(chr, range(33, 127)), "▁", "\n"]
    # "il" is made by a character merge that no other merge needs.
    merges = [("i", "l"), ("c", "il"), *merges]
    pieces = [*characters, *dict.fromkeys("".join(merge) for merge in merges)]
    tokens = list(dict.fromkeys([*_CONTROL, *_BYTES, *pieces]))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<pad>")
    )
    backend.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    backend.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
        ]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="</turn>",
        pad_token="<pad>",
        additional_special_tokens=["<turn>"],
        chat_template=TEMPLATE,
    )


def other_chat() -> ChatTokenizer:
    """The tokenizer as the models room would give it."""
    return ChatTokenizer(make_other_tokenizer(), end_of_turn_ids=[END_OF_TURN_ID], name="the other")


def id_of(chat: ChatTokenizer, text: str) -> int:
    """The id of a text that is one token."""
    (ids,) = chat.encode_pieces([text])
    assert len(ids) == 1
    return ids[0]


def make_map(
    teacher: ChatTokenizer, student: ChatTokenizer, used: dict[str, int] | None = None
) -> VocabularyMap:
    """A map of at most three ids a row; `used` says how often the student's tokens occur."""
    counts = np.zeros(len(student.text_bytes), dtype=np.int64)
    for text, count in (used or {}).items():
        counts[id_of(student, text)] = count
    return VocabularyMap(
        teacher, student, student_counts=counts, closing_id=student.end_of_turn_ids[0], width=3
    )


def make_other_model(folder: Path, *, layers: int = 4, seed: int = 5) -> Path:
    """A Gemma-like model with that tokenizer and random weights, in `folder`."""
    tokenizer = make_other_tokenizer()
    config = transformers.Gemma3TextConfig(
        vocab_size=len(tokenizer) + 6,  # a head is often padded
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2),
        bos_token_id=2,
        eos_token_id=END_OF_TURN_ID,
        pad_token_id=0,
        initializer_range=0.2,
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = transformers.Gemma3ForCausalLM(config)
    torch.set_rng_state(state)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
