"""A server in a thread with a loop of its own, and a client that sends what it is told.

Every answer that the client gets is held to the server's own OpenAPI document.
"""

import http.client
import json
from types import TracebackType
from typing import Any, Self

from loop_thread import LoopThread
from serve_schemas import Contract

from stillhouse.serve import Engine, ServeConfig, Server


class RunningServer:
    """A server on a free port."""

    def __init__(self, engine: Engine, **given: Any) -> None:
        self._loop = LoopThread("server")
        self.server = Server(engine, ServeConfig(port=0, **{"grace_s": 10.0, **given}))
        self.port = 0
        self._contract = Contract(
            engine,
            has_keys=bool(given.get("keys")),
            has_responses=given.get("responses") is not None,
        )

    def __enter__(self) -> Self:
        self._loop.open()
        self._loop.run(self.server.__aenter__())
        self.port = int(self.server.url.rpartition(":")[2])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; may be called twice."""
        if self._loop.is_open:
            self._loop.run(self.server.close())
            self._loop.close()

    @property
    def url(self) -> str:
        return self.server.url

    def send(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            used = method or ("GET" if raw is None else "POST")
            connection.request(used, path, raw, headers or {})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            got = response.read()
        finally:
            connection.close()
        self._contract.check(used, path, response.status, told, got)
        return response.status, told, got

    def ask(self, path: str, **fields: Any) -> Any:
        """The document that a request gets, which has to be an answer."""
        status, _, body = self.send(path, fields)
        assert status == 200, body
        return json.loads(body)

    def ask_models(self) -> Any:
        """The one model that there is."""
        status, _, body = self.send("/v1/models")
        assert status == 200, body
        (model,) = json.loads(body)["data"]
        return model

    def events(self, path: str, **fields: Any) -> list[Any]:
        """The data of all events of a streamed answer."""
        status, headers, body = self.send(path, {**fields, "stream": True})
        assert status == 200, body
        assert headers["content-type"].startswith("text/event-stream")
        lines = [line for line in body.decode().split("\n") if line.startswith("data: ")]
        return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]
