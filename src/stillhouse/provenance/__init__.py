"""Where an artefact comes from, and whether all of it is still what was written.

`lineage` reads manifests only; `verify` reads every byte of the artefact and its ancestors;
`row_history` follows one row back to the call of a teacher that it was made of; `prove` shows to
others that a row is in an artefact. `attest` signs what the lineage says, `check_attestations` and
`check_signed` check what was signed. `terms_of` judges whose terms all of it is under; stages call
the gates before they begin.
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
from stillhouse.provenance._forget_plan import (
    CAPTURE,
    RERUN_STAGES,
    ForgetPlan,
    ForgetStep,
    plan_forgetting,
)
from stillhouse.provenance._forget_selection import (
    Matched,
    Selection,
    match,
    select_row,
)
from stillhouse.provenance._forget_text import plan_text
from stillhouse.provenance._gate import (
    asking_terms,
    learning_terms,
    named_by,
    passing_terms,
    recorded_asking,
    run_terms,
    teacher_terms,
    terms_given,
    terms_result,
)
from stillhouse.provenance._history_records import (
    ImportedFrom,
    LedgerCall,
    RowHistory,
    RowPlace,
    TeacherCall,
)
from stillhouse.provenance._lineage import Edge, Lineage, lineage
from stillhouse.provenance._lineage_svg import lineage_svg
from stillhouse.provenance._lineage_text import lineage_text
from stillhouse.provenance._names import folder_name
from stillhouse.provenance._oms import sign_oms
from stillhouse.provenance._origin import origin_of
from stillhouse.provenance._proof import Proof, proof_verifier, prove
from stillhouse.provenance._row_history import place_of, row_history
from stillhouse.provenance._row_tree import RowTree
from stillhouse.provenance._shelf import NEW_SUFFIX, Shelf, open_shelf
from stillhouse.provenance._slsa import SLSA_TYPE
from stillhouse.provenance._terms import (
    ChangedVerdict,
    LineageTerms,
    origins_of,
    recorded_terms,
    terms_of,
)
from stillhouse.provenance._verify import VerifiedArtifact, VerifyReport, verify

__all__ = [
    "Lineage",
    "Edge",
    "lineage",
    "lineage_text",
    "lineage_svg",
    "folder_name",
    "RowHistory",
    "RowPlace",
    "TeacherCall",
    "ImportedFrom",
    "LedgerCall",
    "row_history",
    "place_of",
    "Proof",
    "prove",
    "proof_verifier",
    "RowTree",
    "Shelf",
    "open_shelf",
    "NEW_SUFFIX",
    "Selection",
    "select_row",
    "Matched",
    "match",
    "origin_of",
    "ForgetPlan",
    "ForgetStep",
    "RERUN_STAGES",
    "CAPTURE",
    "plan_forgetting",
    "plan_text",
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
    "terms_of",
    "LineageTerms",
    "ChangedVerdict",
    "origins_of",
    "recorded_terms",
    "terms_given",
    "asking_terms",
    "recorded_asking",
    "run_terms",
    "learning_terms",
    "named_by",
    "passing_terms",
    "terms_result",
    "teacher_terms",
]
