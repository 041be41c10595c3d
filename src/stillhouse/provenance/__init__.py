"""Where an artefact comes from, and whether all of it is still what was written.

`lineage` reads manifests only; `verify` reads every byte of the artefact and its ancestors.
"""

from stillhouse.provenance._lineage import Edge, Lineage, lineage
from stillhouse.provenance._verify import VerifiedArtifact, VerifyReport, verify

__all__ = [
    "Lineage",
    "Edge",
    "lineage",
    "VerifyReport",
    "VerifiedArtifact",
    "verify",
]
