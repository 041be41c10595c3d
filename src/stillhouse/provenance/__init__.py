"""Where an artefact comes from, and whether all of it is still what was written.

`lineage` reads manifests only; `verify` reads every byte of the artefact and its ancestors.
`attest` signs what the lineage says, `check_attestations` and `check_signed` check what was signed.
"""

from stillhouse.provenance._attest import attest
from stillhouse.provenance._attestations import (
    Attestation,
    check_attestations,
    check_signed,
    read_attestations,
)
from stillhouse.provenance._distillation import (
    DISTILLATION_TYPE,
    distillation_predicate,
    distillation_schema,
)
from stillhouse.provenance._lineage import Edge, Lineage, lineage
from stillhouse.provenance._oms import sign_oms
from stillhouse.provenance._slsa import SLSA_TYPE
from stillhouse.provenance._verify import VerifiedArtifact, VerifyReport, verify

__all__ = [
    "Lineage",
    "Edge",
    "lineage",
    "VerifyReport",
    "VerifiedArtifact",
    "verify",
    "attest",
    "sign_oms",
    "Attestation",
    "check_attestations",
    "check_signed",
    "read_attestations",
    "distillation_predicate",
    "distillation_schema",
    "DISTILLATION_TYPE",
    "SLSA_TYPE",
]
