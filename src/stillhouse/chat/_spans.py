"""Where the tokens of a completion lie in its text, in bytes.

Characters will not do: byte-level BPE and sentencepiece's byte fallback split them, so a token may
end inside of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import RecordError

_SHOWN_BYTES = 20


@dataclass(frozen=True)
class TokenSpans:
    """The tokens of one completion against the bytes of its text.

    Attributes:
        ends: (n,) int64, the bytes of text that are written once each token is: ascending, and
            the length of the text at the tokens that close the turn.
        num_text: How many tokens write the text; those after them close the turn.
    """

    ends: npt.NDArray[np.int64]
    num_text: int

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def is_closed(self) -> bool:
        """Whether the turn is ended, rather than cut."""
        return len(self.ends) > self.num_text


def token_spans(written: Sequence[bytes], text: str) -> TokenSpans:
    """Place the tokens of a completion in its text.

    What follows the last byte of the text closes the turn, also where a template puts a line
    break before its end-of-turn token.

    Args:
        written: What each token writes; nothing, for a control token.
        text: The completion.

    Raises:
        RecordError: the tokens do not write the text, byte for byte: they are of another one, or
            the tokenizer changes what it reads (Unicode normalisation, a sentencepiece mark).
    """
    data = text.encode()
    pieces = _without_prefix_space(written, data)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    num_text = int(np.searchsorted(ends, len(data))) + 1 if data else 0
    closing = pieces[num_text:]
    # What closes a turn ends with a control token; other text is more than the completion.
    joined = b"".join(pieces if closing and closing[-1] else pieces[:num_text])
    if joined != data:
        raise RecordError(_difference(joined, data))
    return TokenSpans(np.minimum(ends, len(data)), num_text)


def _without_prefix_space(written: Sequence[bytes], data: bytes) -> list[bytes]:
    """Sentencepiece may write a space before a text that has none (`add_dummy_prefix`)."""
    if written and written[0].startswith(b" ") and not data.startswith(b" "):
        return [written[0][1:], *written[1:]]
    return list(written)


def _difference(joined: bytes, data: bytes) -> str:
    length = min(len(joined), len(data))
    pairs = zip(joined, data, strict=False)
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), length)
    return (
        f"The tokens of a completion do not write its text: at byte {at} they have "
        f"{joined[at : at + _SHOWN_BYTES]!r} where the text has {data[at : at + _SHOWN_BYTES]!r}. "
        "Give the text as the tokenizer keeps it, such as in Unicode's composed form (NFC)."
    )
