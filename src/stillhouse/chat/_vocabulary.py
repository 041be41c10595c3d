"""The bytes behind each token id, and their fingerprint."""

import hashlib
import json
import re
from typing import Any

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: Any) -> list[bytes]:
    """The bytes that each id stands for, index = id; a hole in the ids is `b""`.

    Byte-level vocabularies (GPT-2, Llama 3, Qwen, SmolLM) are undone to raw bytes, sentencepiece
    ones (Llama 2, Gemma) have their word mark turned into a space and byte tokens into bytes.
    Added tokens stand for their own text.
    """
    added = {int(token_id): token.content for token_id, token in _added(tokenizer).items()}
    to_bytes = _byte_level_bytes if _is_byte_level(tokenizer) else _sentencepiece_bytes
    vocabulary = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    table = [b""] * (max(vocabulary, default=-1) + 1)
    for token_id, token in vocabulary.items():
        table[token_id] = added[token_id].encode() if token_id in added else to_bytes(token)
    return table


def vocabulary_sha256(tokenizer: Any) -> str:
    """Fingerprint of the id-to-bytes map (docs/format.md, section 4)."""
    digest = hashlib.sha256()
    for token_id, data in enumerate(token_bytes(tokenizer)):
        digest.update(token_id.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data)
    return digest.hexdigest()


def _added(tokenizer: Any) -> dict[int, Any]:
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    return added


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    parts = decoder.get("decoders", [decoder])
    return any(part.get("type") == "ByteLevel" for part in parts)


def _byte_level_alphabet() -> dict[str, int]:
    # GPT-2 writes each byte as one printable character: printable Latin-1 as itself, the other
    # bytes as code points from 256 on, in byte order (openai/gpt-2, encoder.py).
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in printable)
    alphabet |= {chr(256 + index): byte for index, byte in enumerate(others)}
    return alphabet


_ALPHABET = _byte_level_alphabet()


def _byte_level_bytes(token: str) -> bytes:
    if all(character in _ALPHABET for character in token):
        return bytes(_ALPHABET[character] for character in token)
    return token.encode()


def _sentencepiece_bytes(token: str) -> bytes:
    if match := _BYTE_FALLBACK.fullmatch(token):
        return bytes([int(match.group(1), 16)])
    return token.replace("▁", " ").encode()
