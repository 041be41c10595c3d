"""OpenAI's Embeddings, from students that read with a sentence encoder or servers that have them.

Letters: N inputs, D width.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from stillhouse.serve._ask import Answering, Engine, RefusedError, no_pieces
from stillhouse.serve._fields import whole_number, wrong
from stillhouse.serve._seen import Seen

MAX_INPUTS = 2048
"""Of one request, as in the protocol."""

MAX_ID = 2**31 - 1
MAX_WIDTH = 2**20
FORMATS = ("float", "base64")

Input = str | tuple[int, ...]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """What texts became.

    Attributes:
        vectors_ND: float32, one row an input.
        num_tokens: What was read for all of them.
    """

    vectors_ND: Vectors
    num_tokens: int


@runtime_checkable
class Embedder(Protocol):
    """An engine that may have embeddings."""

    @property
    def has_embeddings(self) -> bool:
        """Whether it has them, as far as that is known before it is asked."""
        ...

    async def embed(self, inputs: Sequence[Input], dimensions: int | None) -> Embedded:
        """Vectors of inputs, which are texts or token ids.

        Args:
            inputs: One at least.
            dimensions: The width that is wanted; None for the student's own.

        Raises:
            RefusedError: it has none, or cannot read an input.
        """
        ...


async def embedded(fields: dict[str, Any], engine: Engine, seen: Seen) -> dict[str, Any]:
    """The answer to a request.

    Raises:
        RefusedError: a field is wrong, or the student has no embeddings.
    """
    inputs, dimensions, form = read_request(fields)
    if not isinstance(engine, Embedder) or not engine.has_embeddings:
        raise no_embeddings(engine.name)
    told = await engine.embed(inputs, dimensions)
    rows = [_base64(row_D) for row_D in told.vectors_ND] if form == "base64" else told.vectors_ND
    seen.answering = Answering(told.num_tokens, no_pieces())
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(rows)
        ],
        "model": seen.model,
        "usage": {"prompt_tokens": told.num_tokens, "total_tokens": told.num_tokens},
    }


def read_request(fields: dict[str, Any]) -> tuple[list[Input], int | None, str]:
    """The inputs of a request, the width that is wanted, and the format.

    Raises:
        RefusedError: a field is wrong.
    """
    form = fields.get("encoding_format")
    form = "float" if form is None else form
    if form not in FORMATS:
        raise wrong("encoding_format", form, "float or base64")
    return _inputs(fields), whole_number(fields, "dimensions", None, 1, MAX_WIDTH), form


def _inputs(fields: dict[str, Any]) -> list[Input]:
    """One or several, each a text or token ids."""
    given = fields.get("input")
    listed: list[Any] = given if isinstance(given, list) else [given]
    if given and all(_is_id(item) for item in listed):
        listed = [given]
    if not 1 <= len(listed) <= MAX_INPUTS or not all(_is_input(item) for item in listed):
        raise wrong("input", given, f"a text, token ids, or a list of up to {MAX_INPUTS} of either")
    return [item if isinstance(item, str) else tuple(item) for item in listed]


def no_embeddings(name: str) -> RefusedError:
    """The refusal of a student that has none."""
    return RefusedError(
        404,
        f"{name} has no embeddings. Students that fit made with a sentence encoder have, and "
        "servers of your own that answer at /v1/embeddings.",
        code="no_embeddings",
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def _is_input(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    return isinstance(value, list) and value != [] and all(_is_id(item) for item in value)


def _base64(row_D: Vectors) -> str:
    """Little-endian float32, as the protocol has it."""
    return base64.b64encode(row_D.astype("<f4").tobytes()).decode("ascii")
