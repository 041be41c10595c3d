"""A GGUF file in llama.cpp: what its template, its tokenizer and its weights really give."""

import http.client
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from stillhouse.errors import IntegrityError
from stillhouse.export._plain import plain_message, plain_tool
from stillhouse.export._source import Conversation
from stillhouse.models import (
    LlamaServing,
    check_llama_server,
    read_gguf_header,
    start_llama_server,
)

_TOP = 1024  # likeliest ids of a position: 20 ms on one core, of which more would be JSON
_CERTAIN = 1e6


class LlamaClient:
    """A server of llama.cpp, asked over HTTP.

    Args:
        address: Where it listens, such as `http://127.0.0.1:8080`.
        key: What requests show.
    """

    def __init__(self, address: str, key: str) -> None:
        place = urlsplit(address)
        self._key = key
        self._http = http.client.HTTPConnection(place.hostname or "", place.port)
        # Which token is drawn does not matter, but one that ends the turn shows no distribution.
        self._drawn = self.tokens("a")[-1]  # a first token may stand before it

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def rendered(self, conversation: Conversation) -> str:
        """The prompt that the file's own template makes of a conversation."""
        given: dict[str, Any] = {
            "messages": [plain_message(message, parsed=False) for message in conversation.messages]
        }
        if conversation.tools:
            given["tools"] = [plain_tool(tool) for tool in conversation.tools]
        return str(self._post("/apply-template", given)["prompt"])

    def tokens(self, text: str) -> list[int]:
        """What llama.cpp's chat endpoint makes of a prompt."""
        given = {"content": text, "add_special": True, "parse_special": True}
        found: list[int] = self._post("/tokenize", given)["tokens"]
        return found

    def distribution(
        self, ids: Sequence[int], *, top: int = _TOP
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """(K,) likeliest next ids and their log-probabilities in nats, likeliest first.

        Args:
            ids: The text so far; what it shares with the last one is not computed again.
            top: K.
        """
        answer = self._post(
            "/completion",
            {
                "prompt": list(ids),
                "n_predict": 1,
                "n_probs": top,
                "cache_prompt": True,
                "logit_bias": [[self._drawn, _CERTAIN]],
            },
        )
        listed = answer["completion_probabilities"][0]["top_logprobs"]
        return (
            np.array([entry["id"] for entry in listed], dtype=np.int64),
            np.array([entry["logprob"] for entry in listed], dtype=np.float64),
        )

    def _post(self, route: str, given: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        self._http.request("POST", route, json.dumps(given), headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise IntegrityError(
                f"llama.cpp refuses {route} of the exported file ({answer.status}: "
                f"{body[:200].decode(errors='replace')}). Export another format."
            )
        return json.loads(body)


class LlamaCpp(LlamaClient):
    """A file, open in this process; `close` frees it.

    Args:
        path: The file.
        context: Tokens of the longest text.

    Raises:
        IntegrityError: llama.cpp does not take the file.
        MissingDependencyError: xllamacpp is not installed.
    """

    def __init__(self, path: Path, *, context: int) -> None:
        check_llama_server("Verifying a GGUF file")
        read_gguf_header(path)
        key = secrets.token_hex(16)
        serving = LlamaServing(name="export", key=key, slots=1, context=context)
        self._server: Any = start_llama_server(path, serving)
        super().__init__(self._server.listening_address, key)

    def close(self) -> None:
        """Stop it."""
        super().close()
        self._server = None
