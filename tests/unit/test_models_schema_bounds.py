"""Schemas that would hang or crash what makes grammars of them are refused before."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_models
from serve_cases import RunningServer

from stillhouse.errors import ConfigError
from stillhouse.models._schema_bounds import check_schema_bounds
from stillhouse.serve._local import LocalEngine

TEXT: dict[str, Any] = {"type": "string"}
ASKED = {"messages": [{"role": "user", "content": "town"}], "max_tokens": 4}


def two(place: int) -> dict[str, Any]:
    """Two alternatives that no other place has."""
    pattern = f"^{chr(97 + place)}*x"
    return {"anyOf": [{**TEXT, "pattern": pattern}, {"type": "integer", "multipleOf": place + 3}]}


def nested(key: str, levels: int) -> dict[str, Any]:
    schema = two(0)
    for place in range(1, levels):
        schema = {**two(place), key: [schema]}
    return schema


def chain(length: int, link: Any, last: Any = TEXT) -> dict[str, Any]:
    """Definitions each of which refers to the next one."""
    made = {f"d{place}": link({"$ref": f"#/$defs/d{place + 1}"}, place) for place in range(length)}
    return {"$defs": {**made, f"d{length}": last}, "$ref": "#/$defs/d0"}


ALL = range(15)
EXPLOSIVE = {
    "alternatives": {"allOf": [two(place) for place in ALL]},
    "of one choice": {"allOf": [{"oneOf": two(place)["anyOf"]} for place in ALL]},
    "of properties": {"allOf": [{"properties": {"a": two(place)}} for place in ALL]},
    "of items": {"allOf": [{"type": "array", "items": two(place)} for place in ALL]},
    "of others": {"allOf": [{"additionalProperties": two(place)} for place in ALL]},
    "of types": {
        "allOf": [{"type": ["string", "null"], "pattern": f"a{{{place}}}"} for place in ALL]
    },
    "of references": {
        "$defs": {str(place): two(place) for place in ALL},
        "allOf": [{"$ref": f"#/$defs/{place}"} for place in ALL],
    },
    "within each other": nested("allOf", 15),
    "along references": chain(15, lambda ref, place: {**two(place), **ref}),
    "in many places": {"properties": {str(n): nested("allOf", 8) for n in range(20)}},
}
LONG = {
    "references": chain(3000, lambda ref, place: ref),
    "properties": chain(3000, lambda ref, place: {"type": "object", "properties": {"a": ref}}),
    "choices": chain(3000, lambda ref, place: {"anyOf": [ref, {"type": "null"}]}),
    "a circle": chain(
        400, lambda ref, place: {"type": "array", "items": ref}, {"$ref": "#/$defs/d0"}
    ),
    "seen from its end": {
        **chain(400, lambda ref, place: {"type": "array", "items": ref}),
        "$ref": "#",
        "prefixItems": [{"$ref": f"#/$defs/d{400 - place}"} for place in range(401)],
    },
    "hidden by a base": {
        "properties": {"a": {"$id": "http://a/b", **chain(3000, lambda ref, place: ref)}}
    },
    "not in it": {"$ref": "http://127.0.0.1/schema"},
    "leading nowhere": {"$ref": "#/$defs/absent"},
}


@pytest.mark.parametrize("schema", EXPLOSIVE.values(), ids=EXPLOSIVE.keys())
def test_combinations_that_explode_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="combinations"):
        check_schema_bounds(schema)


@pytest.mark.parametrize("schema", LONG.values(), ids=LONG.keys())
def test_ways_that_are_too_long_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"levels|reference|\$id"):
        check_schema_bounds(schema)


RIGHT = {
    "everything": {},
    "a tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#"}},
            }
        },
        "$ref": "#/$defs/node",
    },
    "itself": {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "many answers": {"anyOf": [{"const": f"answer {place}"} for place in range(5000)]},
    "many that may be absent": {
        "type": "object",
        "properties": {str(n): {"anyOf": [TEXT, {"type": "null"}]} for n in range(100)},
    },
    "parts of a whole": {
        "$defs": {
            "named": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}}
        },
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"kind": {"enum": ["a", "b"]}}}],
    },
    "one of two sets": {
        "properties": {"a": two(0), "b": two(1)},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "a property called $ref": {"properties": {"$ref": TEXT, "allOf": TEXT, "$id": TEXT}},
    "a constant like a reference": {"const": {"$ref": "http://127.0.0.1"}},
    "escapes": {"$defs": {"a/b~c": TEXT, "d e": TEXT}, "$ref": "#/$defs/a~1b~0c"},
}


@pytest.mark.parametrize("schema", RIGHT.values(), ids=RIGHT.keys())
def test_schemas_that_people_write_are_taken(schema: dict[str, Any]) -> None:
    check_schema_bounds(schema)


def test_no_schema_ends_or_holds_up_a_server(tiny_folder: Path) -> None:
    pytest.importorskip("llguidance")
    config = small_models.llama(max_position_embeddings=1024)
    engine = LocalEngine(small_models.make(config, tiny_folder), slots=2, max_tokens=4)
    with RunningServer(engine, deadline_s=20) as server:
        for schema in (*EXPLOSIVE.values(), *LONG.values()):
            form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
            status, _, body = server.send(
                "/v1/chat/completions", {**ASKED, "response_format": form}
            )
            assert status == 400
            assert "simpler one" in json.loads(body)["error"]["message"]
        for schema in RIGHT.values():
            form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
            fields = {**ASKED, "response_format": form}
            assert server.send("/v1/chat/completions", fields)[0] in (200, 400)
        assert server.ask("/v1/chat/completions", **ASKED)["choices"]
