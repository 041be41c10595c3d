"""Terms and duties as sections of a page."""

from stillhouse.documents._facts import Fact, derived, listed
from stillhouse.documents._pages import section
from stillhouse.documents._sheet import FactSheet, TermsFacts
from stillhouse.documents._trees import Tree

DUTIES = {
    "name_prefix": "The name begins with",
    "notice": "Show",
    "use_policy": "Pass on the use policy",
    "non_commercial": "No commercial use",
    "share_alike": "Share under the same licence",
    "no_redistribution": "Do not pass on",
    "attribution": "Credit",
}


def terms_sections(sheet: FactSheet) -> dict[str, Tree]:
    """The verdict and what it rests on: origins, clauses, and the duties that follow."""
    terms = sheet.terms
    if terms is None:
        absent = sheet.no_terms
        return {
            "terms": section("Terms", fields={"Verdict": absent}),
            "duties": section("Duties", fields={"Duties": absent}),
        }
    return {
        "terms": _verdict(terms),
        "clauses": _clauses(terms),
        "duties": _duties(sheet, terms),
    }


def _verdict(terms: TermsFacts) -> Tree:
    waivers = {
        f"Waiver {number}, {name}": fact
        for number, waiver in enumerate(terms.waivers, start=1)
        for name, fact in waiver.items()
    }
    conflicts = {
        f"Conflict {number}": reason for number, reason in enumerate(terms.conflicts, start=1)
    }
    rows: list[list[Fact | str]] = [
        [finding.origin, finding.source, finding.rows, finding.verdict, finding.reason]
        for finding in terms.findings
    ]
    return section(
        "Terms",
        fields={
            "Verdict": terms.verdict,
            "Judged on": terms.judged_on,
            "Registry": terms.registry_version,
            "SHA-256 of the registry": terms.registry_sha256,
            **conflicts,
            **waivers,
        },
        columns=["Origin", "Terms", "Rows", "Verdict", "Reason"],
        rows=rows,
    )


def _clauses(terms: TermsFacts) -> Tree:
    rows: list[list[Fact | str]] = [
        [
            clause.id,
            clause.date,
            clause.summary,
            clause.disputed,
            clause.evidence,
            clause.url,
            clause.text_sha256,
        ]
        for finding in terms.findings
        for clause in finding.clauses
    ]
    columns = ["Clause", "Text of", "In short", "Disputed", "Known from", "Address"]
    return section("Clauses", columns=[*columns, "SHA-256 of the text"], rows=rows)


def _duties(sheet: FactSheet, terms: TermsFacts) -> Tree:
    rows: list[list[Fact | str]] = [
        [duty_words(duty.kind), duty.value, duty.clause, listed(duty.sources)]
        for duty in terms.duties
    ]
    text = "These duties go with every copy." if rows else "The record names no duties."
    columns = ["Duty", "What", "Clause", "Terms"]
    return section("Duties", text, fields=_names(sheet, terms), columns=columns, rows=rows)


def _names(sheet: FactSheet, terms: TermsFacts) -> dict[str, Fact]:
    """Whether the model's name begins as duties ask."""
    model = sheet.model
    if model is None:
        return {}
    asked = [duty for duty in terms.duties if duty.kind.value == "name_prefix"]
    return {
        f"The model's name begins as duty {number} on names asks": derived(
            str(model.name.value).startswith(str(duty.value.value)),
            "the name compared with the duty",
            *(model.name, duty.value, duty.kind),
        )
        for number, duty in enumerate(asked, start=1)
    }


def duty_words(kind: Fact) -> Fact:
    """A kind of duty in words."""
    return kind.model_copy(
        update={"value": DUTIES.get(str(kind.value), kind.value), "rule": "the duty in words"}
    )
