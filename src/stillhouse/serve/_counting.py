"""Anthropic's count of the tokens of a request that is not sent yet."""

from typing import Any, Protocol, runtime_checkable

from stillhouse.serve._ask import Answering, Ask, Engine, RefusedError, no_pieces
from stillhouse.serve._messages import read_ask
from stillhouse.serve._seen import Seen


@runtime_checkable
class TokenCounter(Protocol):
    """An engine that knows what it would read."""

    async def count_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt, as `usage` would have them.

        Raises:
            RefusedError: the request cannot be read.
        """
        ...


async def counted(fields: dict[str, Any], engine: Engine, seen: Seen) -> dict[str, Any]:
    """The count.

    Raises:
        RefusedError: a field is wrong, or who would answer is not known before.
    """
    ask = read_ask({**fields, "max_tokens": 1})
    if not isinstance(engine, TokenCounter):
        raise RefusedError(
            404,
            f"{engine.name} counts nothing before it is asked: who "
            "answers is decided then. The answer's usage has the count.",
        )
    num_tokens = await engine.count_tokens(ask)
    seen.answering = Answering(num_tokens, no_pieces())
    return {"input_tokens": num_tokens}
