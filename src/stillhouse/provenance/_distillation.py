"""The predicate of a distillation run: all that manifests say an artefact was made from.

Specified in docs/predicates/distillation-v1.md. One lineage gives one predicate, byte for byte, so
that a reader who has the lineage builds it again and compares.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from stillhouse.artifacts import Artifact, Manifest
from stillhouse.errors import SignatureError
from stillhouse.provenance._lineage import Lineage
from stillhouse.records import canonical_json, content_hash

DISTILLATION_TYPE = "https://stillhouse.dev/attestation/distillation/v1"
_SCHEMA_NAME = "distillation-v1.json"
_SEVERAL = "several"  # the provider of answers by more than one teacher
_OF_TERMS = ("verdict", "registry_version", "registry_sha256")
_OF_CLAUSE = ("id", "url", "date", "text_sha256", "disputed")


def distillation_predicate(graph: Lineage) -> dict[str, Any]:
    """What the lineage of an artefact says of how it was distilled.

    Raises:
        SignatureError: a manifest holds terms or a verdict of a form that the schema has not.
    """
    root = graph.nodes[-1]
    predicate = {
        "schema_version": 1,
        "artifact": _artifact(root),
        "code": root.manifest.code.model_dump(mode="json"),
        "config_sha256": content_hash(root.manifest.config),
        "teachers": _teachers(graph),
        "datasets": [
            {
                "manifest_sha256": node.manifest_sha256,
                "rows_root": node.manifest.rows_root,
                "rows": node.manifest.counts.kept,
            }
            for node in graph.nodes
            if node.manifest.kind == "dataset"
        ],
        "signals": [
            {"manifest_sha256": node.manifest_sha256, "codec": node.manifest.results.get("codec")}
            for node in graph.nodes
            if node.manifest.kind == "signal"
        ],
        "base_model": _nearest(graph, "student"),
        "tokenizer_sha256": (_nearest(graph, "tokenizer") or {}).get("sha256"),
        "chat_template_sha256": _nearest(graph, "chat_template_sha256"),
        "watermarks": _watermarks(graph),
        "terms": [
            {"manifest_sha256": node.manifest_sha256, **_terms(node)}
            for node in graph.nodes
            if node.manifest.results.get("terms")
        ],
        "verdicts": [
            {
                "manifest_sha256": node.manifest_sha256,
                "stage": node.manifest.stage,
                "verdict": node.manifest.results["verdict"],
            }
            for node in graph.nodes
            if node.manifest.kind == "evaluation" and "verdict" in node.manifest.results
        ],
        "usage": _usage(graph),
        "lineage": _lineage(graph),
    }
    # Through JSON: what is compared with a statement that was read has only what JSON has.
    plain: dict[str, Any] = orjson.loads(canonical_json(predicate))
    check_schema(plain, where=f"The lineage of {root.path}")
    return plain


def check_schema(predicate: dict[str, Any], *, where: str) -> None:
    """Refuse a predicate that breaks the schema.

    Raises:
        SignatureError: it does; the message names the field.
    """
    error = next(iter(_validator().iter_errors(predicate)), None)
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path) or "the predicate"
        raise SignatureError(
            f"{where} breaks the schema of {DISTILLATION_TYPE}: {place}: {error.message:.200}. "
            "Stillhouse signs nothing else; do not rely on it."
        )


def distillation_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the predicate."""
    text = (files("stillhouse.provenance") / "schemas" / _SCHEMA_NAME).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> Any:
    import jsonschema

    schema = distillation_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def utc_text(node: Artifact) -> str:
    """When an artefact was made, to the second: `2026-11-29T12:00:00Z`."""
    return f"{node.manifest.created_utc:%Y-%m-%dT%H:%M:%S}Z"


def _artifact(node: Artifact) -> dict[str, Any]:
    return {
        "kind": node.manifest.kind,
        "stage": node.manifest.stage,
        "created_utc": utc_text(node),
        "manifest_sha256": node.manifest_sha256,
        "rows_root": node.manifest.rows_root,
    }


def _lineage(graph: Lineage) -> list[dict[str, Any]]:
    """Every ancestor, parents first, and last the artefact itself."""
    return [
        {
            **_artifact(node),
            "code": node.manifest.code.model_dump(mode="json"),
            "parents": [parent.sha256 for parent in node.manifest.parents],
        }
        for node in graph.nodes
    ]


def _teachers(graph: Lineage) -> list[dict[str, Any]]:
    """Each teacher once, with the artefact that recorded it first."""
    found: dict[tuple[str, str, str | None], str] = {}
    for node in graph.nodes:
        for teacher in _teachers_of(node.manifest):
            found.setdefault(teacher, node.manifest_sha256)
    return [
        {"id": name, "provider": provider, "revision": revision, "recorded_by": recorded_by}
        for (name, provider, revision), recorded_by in found.items()
    ]


def _teachers_of(manifest: Manifest) -> list[tuple[str, str, str | None]]:
    teacher = manifest.teacher
    if teacher is None:
        return []
    if teacher.provider == _SEVERAL:
        # Who they were stands in the counts of the collection.
        rows = manifest.results.get("by_teacher", [])
        return [(name, _SEVERAL, None) for name in dict.fromkeys(row["teacher"] for row in rows)]
    return [(teacher.id, teacher.provider, teacher.revision)]


def _nearest(graph: Lineage, name: str) -> Any:
    """A field of the artefact, or of its nearest ancestor that has it."""
    for node in reversed(graph.nodes):
        value = getattr(node.manifest, name)
        if value is not None:
            return value if isinstance(value, str) else value.model_dump(mode="json")
    return None


def _watermarks(graph: Lineage) -> list[dict[str, Any]]:
    marks = [node.manifest.watermark for node in graph.nodes]
    return [one.model_dump(mode="json") for one in dict.fromkeys(filter(None, marks))]


def _terms(node: Artifact) -> dict[str, Any]:
    """A terms record in short: the verdict, and the clauses with date and hash of the text."""
    record = node.manifest.results["terms"]
    try:
        clauses = {
            clause["id"]: {name: clause[name] for name in _OF_CLAUSE}
            for finding in record["findings"]
            for clause in finding["clauses"]
        }
        return {
            **{name: record[name] for name in _OF_TERMS},
            "record_sha256": content_hash(record),
            "clauses": [clauses[name] for name in sorted(clauses)],
        }
    except (KeyError, TypeError) as err:
        raise SignatureError(
            f"{node.path} has a record of terms that this stillhouse cannot read ({err!r:.80}). "
            "Use the version that wrote it."
        ) from err


def _usage(graph: Lineage) -> dict[str, Any]:
    """What all of the lineage took; the cost is null where that of one stage is unknown."""
    usages = [node.manifest.usage for node in graph.nodes]
    costs = [one.cost_usd for one in usages]
    known = [cost for cost in costs if cost is not None]
    return {
        "prompt_tokens": sum(one.prompt_tokens for one in usages),
        "completion_tokens": sum(one.completion_tokens for one in usages),
        "cost_usd": round(sum(known), 12) if len(known) == len(costs) else None,
        "seconds": round(sum(one.seconds for one in usages), 3),
    }
