"""Hold what a server says to its own OpenAPI document."""

import json
from typing import Any

import jsonschema

from stillhouse.serve import Engine
from stillhouse.serve._openapi import openapi


class Contract:
    """The document of a server, as something to check answers with."""

    def __init__(self, engine: Engine, *, has_keys: bool, has_responses: bool = False) -> None:
        self._engine, self._has_keys, self._has_responses = engine, has_keys, has_responses
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}

    @property
    def document(self) -> dict[str, Any]:
        """As it stands: a deployment has another version after a while."""
        return openapi(self._engine, has_keys=self._has_keys, has_responses=self._has_responses)

    def check(
        self, method: str, path: str, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        """Fail where an answer is not what the document says.

        Methods and paths that the document does not have are refused with an error object.
        """
        operation = self._operation(method, path)
        if operation is None:
            if method not in ("HEAD", "OPTIONS"):
                assert status in (400, 401, 403, 404, 405), (method, path, status)
                self._check_error(json.loads(body))
            return
        responses = operation["responses"]
        assert str(status) in responses, f"{method} {path} has no {status}: {body[:200]!r}"
        kind = headers["content-type"].partition(";")[0]
        content = responses[str(status)]["content"]
        assert kind in content, f"{method} {path} has no {kind} with {status}"
        if kind == "text/plain":
            assert body.decode()
        elif kind == "text/event-stream":
            self._check_events(content[kind]["schema"]["properties"]["data"], body)
        else:
            self._validate(content[kind]["schema"], json.loads(body))

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        plain = path.partition("?")[0]
        if plain not in self.document["paths"] and plain.startswith("/v1/models/"):
            plain = "/v1/models/{model}"
        found: dict[str, Any] | None = self.document["paths"].get(plain, {}).get(method.lower())
        return found

    def _check_events(self, data: dict[str, Any], body: bytes) -> None:
        done, held = data["anyOf"]
        *events, rest = body.decode().split("\n\n")
        assert rest == ""
        assert events
        for event in events:
            lines = dict(line.split(": ", 1) for line in event.split("\n"))
            assert lines.keys() <= {"event", "data"}
            if lines["data"] == done["const"]:
                assert event == events[-1]
                continue
            value = json.loads(lines["data"])
            self._validate(held["contentSchema"], value)
            assert lines.get("event", value.get("type")) in (value.get("type"), "error")

    def _check_error(self, value: Any) -> None:
        error = {"$ref": "#/components/schemas/Error"}
        of_messages = {"$ref": "#/components/schemas/MessageError"}
        self._validate({"anyOf": [error, of_messages]}, value)

    def _validate(self, schema: dict[str, Any], value: Any) -> None:
        key = json.dumps(schema)
        if key not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[key] = jsonschema.Draft202012Validator(whole)
        found = next(self._validators[key].iter_errors(value), None)
        if found is not None:
            best = jsonschema.exceptions.best_match([found])
            raise AssertionError(f"{best.message} at {best.json_path} in {value}")
