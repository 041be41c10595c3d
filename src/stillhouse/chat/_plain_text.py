"""Plain text to token ids, without a template and without torch: for texts that nobody answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.chat._vocabulary import vocabulary_sha256
from stillhouse.errors import ConfigError, MissingDependencyError

_FILE = "tokenizer.json"


class PlainTextTokenizer:
    """The tokenizer of a model for texts as they are.

    No token is put before or after a text, and a text that spells a control token is text.

    Args:
        path: A model's folder, or its `tokenizer.json`.

    Raises:
        ConfigError: there is no such file, or it describes no tokenizer.
        MissingDependencyError: `tokenizers` is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as err:
            raise MissingDependencyError(
                "Reading text needs tokenizers. Run: pip install 'stillhouse[encoder]'"
            ) from err
        file = path / _FILE if path.is_dir() else path
        if not file.is_file():
            raise ConfigError(
                f"{file} is no file. Give a model's folder with a {_FILE}, or that file."
            )
        try:
            self._backend: Any = Tokenizer.from_str(file.read_text(encoding="utf-8"))
        except Exception as err:  # the library raises a bare Exception for what it cannot read
            raise ConfigError(
                f"{file} describes no tokenizer ({err!s:.100}). Give the {_FILE} of a model."
            ) from err
        self._backend.no_truncation()
        self._backend.no_padding()
        self.sha256 = vocabulary_sha256(_Seen(self._backend))
        self._backend.encode_special_tokens = True

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        # Half characters, which JSON can spell, are none that a tokenizer takes.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        encodings = self._backend.encode_batch_fast(clean, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


class _Seen:
    """What `vocabulary_sha256` asks of a `transformers` tokenizer, of the one below it."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.added_tokens_decoder = backend.get_added_tokens_decoder()
        self.backend_tokenizer = self

    def get_vocab(self) -> dict[str, int]:
        return dict(self._backend.get_vocab(with_added_tokens=True))

    def to_str(self) -> str:
        # Its decoder alone is asked for, and the vocabulary is large.
        return json.dumps({"decoder": json.loads(self._backend.to_str()).get("decoder")})
