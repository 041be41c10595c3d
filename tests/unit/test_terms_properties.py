"""What holds of every mix of sources and every declaration."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from terms_cases import TODAY, built_in

from stillhouse.terms import Declaration, Origin, Role, TermsRecord, judge, merged, strictest

REGISTRY = built_in()
SOURCES = sorted(REGISTRY.sources)
ROLES: tuple[Role, ...] = ("teacher", "dataset", "base_model")
STRICTNESS = ["allow", "allow_with_duties", "unknown", "forbid"]

declared = st.fixed_dictionaries(
    {
        "competes": st.sampled_from([None, True, False]),
        "commercial": st.sampled_from([None, True, False]),
        "research": st.sampled_from([None, True, False]),
        "distribution": st.sampled_from([None, "internal", "service", "weights"]),
        "student": st.sampled_from([None, "language_model", "classifier"]),
        "base_models": st.sampled_from([{}, {"x": ("llama-3",)}, {"x": ("own",)}]),
    }
)
not_bases = st.builds(
    Origin,
    role=st.sampled_from(ROLES[:2]),
    name=st.sampled_from(["one", "two", "three"]),
    sources=st.lists(st.sampled_from(SOURCES), max_size=2, unique=True).map(tuple),
    rows=st.sampled_from([None, 0, 5]),
)
bases = st.builds(
    Origin,
    role=st.just("base_model"),
    name=st.sampled_from(["base", "other"]),
    sources=st.lists(st.sampled_from(SOURCES), min_size=1, max_size=2, unique=True).map(tuple),
)
mixes = st.lists(st.one_of(not_bases, bases), max_size=5)


def judged(origins: list[Origin], given: dict[str, Any]) -> TermsRecord:
    return judge(origins, Declaration.model_validate(given), registry=REGISTRY, today=TODAY)


def is_at_least(one: TermsRecord, other: TermsRecord) -> bool:
    return STRICTNESS.index(one.verdict) >= STRICTNESS.index(other.verdict)


@given(mixes, not_bases, declared)
def test_a_further_source_never_makes_a_verdict_more_permissive(
    mix: list[Origin], more: Origin, given: dict[str, Any]
) -> None:
    assert is_at_least(judged([*mix, more], given), judged(mix, given))


@given(mixes, bases, bases, declared)
def test_nor_does_a_further_base_model_once_one_is_known(
    mix: list[Origin], base: Origin, more: Origin, given: dict[str, Any]
) -> None:
    assert is_at_least(judged([*mix, base, more], given), judged([*mix, base], given))


@given(mixes, declared)
def test_unknown_never_becomes_allow_by_mixing(mix: list[Origin], given: dict[str, Any]) -> None:
    unknown = Origin(role="teacher", name="whoever", sources=())
    assert judged([*mix, unknown], given).verdict in ("unknown", "forbid")


@given(mixes, declared)
def test_a_mix_has_the_duties_of_its_parts_and_no_others(
    mix: list[Origin], given: dict[str, Any]
) -> None:
    record = judged(mix, given)
    assert record.duties == merged(duty for one in record.findings for duty in one.duties)
    assert strictest([one.verdict for one in (*record.findings, *record.conflicts)]) == (
        record.verdict
    )
    for finding in record.findings:
        assert set(finding.duties) == set() or finding.verdict != "allow"


@given(mixes.flatmap(lambda mix: st.tuples(st.just(mix), st.permutations(mix))), declared)
def test_order_and_repetition_do_not_matter(
    mixed: tuple[list[Origin], list[Origin]], given: dict[str, Any]
) -> None:
    mix, other = mixed
    assert judged(mix, given) == judged([*other, *other], given)


@given(mixes, declared)
def test_saying_more_settles_what_was_unknown_and_turns_nothing_that_was_settled(
    mix: list[Origin], given: dict[str, Any]
) -> None:
    """A verdict that allows, or forbids by a clause, does so whatever is declared on top."""
    record = judged(mix, given)
    fuller = dict(given)
    worst = {"competes": True, "commercial": True, "research": False, "distribution": "weights"}
    for name, value in worst.items():
        if fuller[name] is None:
            fuller[name] = value
    fuller["student"] = fuller["student"] or "language_model"
    for finding, told in zip(record.findings, judged(mix, fuller).findings, strict=True):
        assert (told.origin, told.source) == (finding.origin, finding.source)
        if finding.verdict in ("allow", "forbid"):
            assert told.verdict == finding.verdict


@given(mixes, declared)
def test_every_verdict_cites_a_clause_with_its_date_or_says_why_it_has_none(
    mix: list[Origin], given: dict[str, Any]
) -> None:
    for finding in judged(mix, given).findings:
        assert finding.reason
        assert bool(finding.clauses) == bool(finding.source)
        assert all(clause.date and clause.url for clause in finding.clauses)
        assert TermsRecord.model_validate_json(judged(mix, given).model_dump_json())
