"""Messages to token ids and loss mask, and back, through the model's own template.

The only room that calls `tokenizer.encode`: raw text never meets a chat model outside its
template.
"""

from stillhouse.chat._chat import ChatTokenizer, EncodedExample
from stillhouse.chat._vocabulary import token_bytes, vocabulary_sha256

__all__ = ["ChatTokenizer", "EncodedExample", "token_bytes", "vocabulary_sha256"]
