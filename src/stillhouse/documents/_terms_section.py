"""Terms and duties as sections of a page."""

from stillhouse.documents._facts import Fact, derived, listed
from stillhouse.documents._pages import section
from stillhouse.documents._sheet import FactSheet
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


def terms_section(sheet: FactSheet) -> Tree:
    """The verdict, and what each source says, clause by clause."""
    terms = sheet.terms
    if terms is None:
        return section("Terms", fields={"Verdict": sheet.no_terms})
    rows: list[list[Fact | str]] = [
        [
            finding.origin,
            finding.source,
            finding.verdict,
            clause.id,
            clause.date,
            clause.disputed,
            clause.url,
            clause.summary,
        ]
        for finding in terms.findings
        for clause in finding.clauses
    ]
    columns = ["Origin", "Terms", "Verdict", "Clause", "Text of", "Disputed", "Address"]
    return section(
        "Terms",
        fields={
            "Verdict": terms.verdict,
            "Judged on": terms.judged_on,
            "Registry": terms.registry_version,
            "SHA-256 of the registry": terms.registry_sha256,
            **{
                f"Reason, {number}": finding.reason
                for number, finding in enumerate(terms.findings, start=1)
            },
            **{
                f"Waiver {number}, {name}": fact
                for number, waiver in enumerate(terms.waivers, start=1)
                for name, fact in waiver.items()
            },
        },
        columns=[*columns, "In short"],
        rows=rows,
    )


def duties_section(sheet: FactSheet) -> Tree:
    """What whoever has the student must do, or must not."""
    terms = sheet.terms
    if terms is None:
        return section("Duties", fields={"Duties": sheet.no_terms})
    rows: list[list[Fact | str]] = [
        [duty_words(duty.kind), duty.value, duty.clause, listed(duty.sources)]
        for duty in terms.duties
    ]
    text = "These duties go with every copy." if rows else "The record names no duties."
    columns = ["Duty", "What", "Clause", "Terms"]
    return section("Duties", text, fields=_names(sheet), columns=columns, rows=rows)


def _names(sheet: FactSheet) -> dict[str, Fact]:
    """Whether the model's name begins as duties ask."""
    model, terms = sheet.model, sheet.terms
    if model is None or terms is None:
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
