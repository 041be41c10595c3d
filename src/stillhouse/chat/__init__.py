"""Messages to token ids and loss mask, and back, through the model's own template.

The only room that calls `tokenizer.encode`: raw text never meets a chat model outside its
template.
"""

from stillhouse.chat._alignment import NO_CHUNK, Alignment, align, unaligned
from stillhouse.chat._boundary_bias import BoundaryBias
from stillhouse.chat._chat import ChatTokenizer, EncodedExample
from stillhouse.chat._plain_text import PlainTextTokenizer
from stillhouse.chat._spans import TokenSpans, token_spans
from stillhouse.chat._tools import with_tools
from stillhouse.chat._vocabulary import token_bytes, vocabulary_sha256
from stillhouse.chat._vocabulary_map import NO_ID, VocabularyMap

__all__ = [
    "ChatTokenizer",
    "EncodedExample",
    "with_tools",
    "PlainTextTokenizer",
    "token_bytes",
    "vocabulary_sha256",
    "TokenSpans",
    "token_spans",
    "Alignment",
    "align",
    "unaligned",
    "NO_CHUNK",
    "BoundaryBias",
    "VocabularyMap",
    "NO_ID",
]
