"""Texts as the token ids that an encoder reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.classifiers._shape import TOKENIZER_NAME
from stillhouse.classifiers._texts import readable
from stillhouse.errors import IntegrityError


class TokenReader:
    """A tokenizer with the marks of the encoder, cut at a number of tokens.

    Args:
        definition: The text of a `tokenizer.json`.
        max_tokens: Longer texts lose their end; their last mark stays.

    Raises:
        IntegrityError: the definition cannot be understood.
    """

    def __init__(self, definition: str, *, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_str(definition)
        except Exception as err:  # tokenizers raises nothing narrower
            raise IntegrityError(
                f"{TOKENIZER_NAME} is no tokenizer ({err}). Fetch the encoder again."
            ) from err
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.max_tokens = max_tokens
        # As it is now, and not as it was given: padding and cutting are settings of the file too.
        self.definition: str = self._tokenizer.to_str()

    @property
    def num_ids(self) -> int:
        """One more than the largest token id."""
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return max(ids.values()) + 1

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, marks included."""
        # Not the fast variant: it keeps no truncation.
        encodings = self._tokenizer.encode_batch([readable(text) for text in texts])
        return [encoding.ids for encoding in encodings]

    def whole_ids(self, text: str) -> list[int] | None:
        """The token ids of a text, marks included; None where its end would be cut."""
        (encoding,) = self._tokenizer.encode_batch([readable(text)])
        ids: list[int] = encoding.ids
        return None if encoding.overflowing else ids


def read_tokenizer(folder: Path, *, max_tokens: int) -> TokenReader:
    """The tokenizer of the encoder in a folder.

    Raises:
        IntegrityError: there is none, or it is damaged.
    """
    path = folder / TOKENIZER_NAME
    try:
        definition = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise IntegrityError(
            f"{path} cannot be read ({err}). Save the encoder with a fast tokenizer."
        ) from err
    return TokenReader(definition, max_tokens=max_tokens)


def cut_warning(ids: Sequence[Sequence[int]], *, max_tokens: int) -> tuple[str, ...]:
    """A line for the user when texts lose their end."""
    num_cut = sum(len(text) >= max_tokens for text in ids)
    if not num_cut:
        return ()
    return (
        f"{num_cut} of {len(ids)} texts have {max_tokens} tokens or more, and what comes after "
        "those is not read. Raise max_tokens if the end of a text matters.",
    )
