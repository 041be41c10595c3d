"""The record of terms that the gate left in a manifest, as facts."""

from collections.abc import Sequence

from pydantic import ValidationError

from stillhouse.documents._facts import NOT_RECORDED, Fact, derived
from stillhouse.documents._graph import Node
from stillhouse.documents._sheet import (
    ClauseFacts,
    DutyFacts,
    FindingFacts,
    TermsFacts,
)
from stillhouse.documents._views import View
from stillhouse.errors import IntegrityError
from stillhouse.terms import TermsRecord

_TERMS = "/results/terms"


def terms_facts(lineage: Sequence[Node]) -> tuple[TermsFacts | None, Fact]:
    """The record nearest to the subject, and a fact that says where records were looked for.

    Args:
        lineage: Parents before children; the last is the subject.

    Raises:
        IntegrityError: what stands there is no record of terms.
    """
    looked = [node.manifest.fact(_TERMS) for node in reversed(lineage)]
    absent = derived(None, NOT_RECORDED, *looked)
    for node in reversed(lineage):
        if node.manifest.get(_TERMS) is not None:
            _check(node)
            return _facts(node), absent
    return None, absent


def _check(node: Node) -> None:
    try:
        TermsRecord.model_validate(node.manifest.get(_TERMS))
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"The record of terms in the manifest of {node.name} is not readable: {place}: "
            f"{first['msg']}. Run its stage again."
        ) from err


def _facts(node: Node) -> TermsFacts:
    view = node.manifest
    return TermsFacts(
        artifact=node.name,
        verdict=view.fact(f"{_TERMS}/verdict"),
        registry_version=view.fact(f"{_TERMS}/registry_version"),
        registry_sha256=view.fact(f"{_TERMS}/registry_sha256"),
        judged_on=view.fact(f"{_TERMS}/judged_on"),
        findings=tuple(_finding(view, p) for _, p in view.children(f"{_TERMS}/findings")),
        duties=tuple(_duty(view, p) for _, p in view.children(f"{_TERMS}/duties")),
        conflicts=tuple(view.fact(f"{p}/reason") for _, p in view.children(f"{_TERMS}/conflicts")),
        waivers=tuple(view.facts(p) for _, p in view.children(f"{_TERMS}/waivers")),
        note=view.fact(f"{_TERMS}/note"),
    )


def _finding(view: View, place: str) -> FindingFacts:
    return FindingFacts(
        source=view.fact(f"{place}/source"),
        origin=view.fact(f"{place}/origin"),
        rows=view.fact(f"{place}/rows"),
        verdict=view.fact(f"{place}/verdict"),
        reason=view.fact(f"{place}/reason"),
        clauses=tuple(_clause(view, inner) for _, inner in view.children(f"{place}/clauses")),
    )


def _clause(view: View, place: str) -> ClauseFacts:
    return ClauseFacts(
        id=view.fact(f"{place}/id"),
        url=view.fact(f"{place}/url"),
        date=view.fact(f"{place}/date"),
        text_sha256=view.fact(f"{place}/text_sha256"),
        disputed=view.fact(f"{place}/disputed"),
        summary=view.fact(f"{place}/summary"),
        evidence=view.fact(f"{place}/evidence"),
    )


def _duty(view: View, place: str) -> DutyFacts:
    return DutyFacts(
        kind=view.fact(f"{place}/kind"),
        value=view.fact(f"{place}/value"),
        clause=view.fact(f"{place}/clause"),
        sources=tuple(view.fact(inner) for _, inner in view.children(f"{place}/sources")),
    )
