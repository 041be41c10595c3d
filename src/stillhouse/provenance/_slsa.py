"""SLSA provenance v1: the same run in the words that build systems use.

Source: https://slsa.dev/spec/v1.1/provenance and the in-toto ResourceDescriptor v1.
"""

from typing import Any
from urllib.parse import quote

from stillhouse.provenance._distillation import utc_text
from stillhouse.provenance._lineage import Lineage
from stillhouse.records import content_hash

SLSA_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://stillhouse.dev/build-types/stage/v1"
BUILDER_ID = "https://stillhouse.dev/builders/stage/v1"
_SOURCE = "git+https://github.com/stillhouse/stillhouse"


def slsa_predicate(graph: Lineage, distillation: dict[str, Any]) -> dict[str, Any]:
    """The SLSA provenance of the last stage of a lineage.

    Args:
        graph: The lineage.
        distillation: What `distillation_predicate` gives for it: teachers and base model.
    """
    root = graph.nodes[-1]
    manifest = root.manifest
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"stage": manifest.stage, "config": manifest.config_given},
            "internalParameters": {
                "config_sha256": content_hash(manifest.config),
                "seeds": manifest.seeds,
            },
            "resolvedDependencies": _dependencies(graph, distillation),
        },
        "runDetails": {
            "builder": {"id": BUILDER_ID, "version": {"stillhouse": manifest.code.version}},
            "metadata": {"invocationId": root.manifest_sha256, "finishedOn": utc_text(root)},
        },
    }


def _dependencies(graph: Lineage, distillation: dict[str, Any]) -> list[dict[str, Any]]:
    """Parents by their manifests, then code, teachers and base model."""
    manifest = graph.nodes[-1].manifest
    found: list[dict[str, Any]] = [
        {"name": f"parent {parent.path}", "digest": {"sha256": parent.sha256}}
        for parent in manifest.parents
    ]
    if manifest.code.commit is not None:
        found.append(
            {
                "name": "stillhouse",
                "uri": _SOURCE,
                "digest": {"gitCommit": manifest.code.commit},
                "annotations": {"dirty": manifest.code.dirty},
            }
        )
    found += [
        _model("teacher", teacher["id"], teacher["revision"])
        for teacher in distillation["teachers"]
    ]
    if base := distillation["base_model"]:
        found.append(_model("base model", base["base"], base["revision"]))
    return found


def _model(role: str, name: str, revision: str | None) -> dict[str, Any]:
    # The revision of weights is their fingerprint (docs/format.md, section 4) and not the hash of a
    # file, so that it is no digest of the resource.
    return {
        "name": f"{role} {name}",
        "uri": f"urn:stillhouse:model:{quote(name, safe=':/@')}",
        "annotations": {"revision": revision},
    }
