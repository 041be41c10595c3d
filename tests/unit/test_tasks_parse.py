import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_cases import classification, completion, extraction, free_text, prompt

from stillhouse.tasks import Answer, Task, answer_labels, answer_of, parse_answer

INTENTS = classification("card_arrival", "card linking", "Refund not showing up", "C", "C++")
TOPICS = classification("sport", "music", "film", multiple=True)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("card_arrival", "card_arrival"),
        (" Card Arrival.\n", "card_arrival"),
        ("**card-linking**", "card linking"),
        ("`refund_not_showing_up`", "Refund not showing up"),
        ('"C++"', "C++"),
        ("c", "C"),
        ("\uff23ard\u3000Arrival", "card_arrival"),
        ("C, c", "C"),
    ],
)
def test_a_label_is_known_by_its_letters(text: str, label: str) -> None:
    assert parse_answer(INTENTS, text) == Answer(label)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("card arival", "unknown_label"),
        ("card", "unknown_label"),
        ("The intent is card_arrival", "unknown_label"),
        ("card_arrival card_linking", "unknown_label"),
        ("card_arrival, something", "unknown_label"),
        ("card_arrival, card linking", "several_labels"),
        ("C++ or C", "several_labels"),
        ("C\nC++", "several_labels"),
        ("...", "unknown_label"),
        ("C\ud800", "not_utf8"),
        ("card_arrival " * 8_000, "unknown_label"),
    ],
)
def test_what_is_no_single_label_is_invalid(text: str, problem: str) -> None:
    answer = parse_answer(INTENTS, text)
    assert (answer.text, answer.problem) == (None, problem)
    assert len(str(answer)) < 250


def test_aliases_are_other_spellings() -> None:
    task = classification(aliases={"junk mail": "spam", "\U0001f44d": "ham", "-": "ham"})
    found = [parse_answer(task, text).text for text in ("Junk-Mail", "\U0001f44d", "-", "_")]
    assert found == ["spam", "ham", "ham", None]


def test_labels_of_symbols_are_told_apart() -> None:
    task = classification("+", "-", "\U0001f600", "\U0001f622")
    texts = ["+", " - ", "\U0001f622", "\U0001f600."]
    assert [parse_answer(task, text).text for text in texts] == [
        "+",
        "-",
        "\U0001f622",
        "\U0001f600",
    ]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("film, sport", "sport, film"),
        ("Sport", "sport"),
        ("- film\n- music\n", "music, film"),
        ('["music", "sport"]', "sport, music"),
        ("sport; sport", "sport"),
        ("[]", ""),
        ("None.", ""),
    ],
)
def test_several_labels_are_put_in_the_order_of_the_task(text: str, canonical: str) -> None:
    answer = parse_answer(TOPICS, text)
    assert (answer.text, answer.problem) == (canonical, None)
    expected = tuple(canonical.split(", ")) if canonical else ()
    assert answer_labels(TOPICS, canonical) == expected


def test_an_unknown_label_among_several_makes_the_answer_invalid() -> None:
    answer = parse_answer(TOPICS, "sport, opera")
    assert (answer.problem, answer.detail) == ("unknown_label", "'opera'")
    assert parse_answer(TOPICS, "; ,").problem == "unknown_label"


def test_the_label_for_none_stands_alone() -> None:
    task = classification("sport", "music", "none", multiple=True, out_of_scope="none")
    assert parse_answer(task, "[]").text == "none"
    assert parse_answer(task, "none").text == "none"
    assert parse_answer(task, "sport, none").problem == "contradictory"


def test_a_single_label_may_hold_a_comma() -> None:
    task = classification("film, theatre", "music")
    assert parse_answer(task, "Film, Theatre").text == "film, theatre"
    assert answer_labels(task, "film, theatre") == ("film, theatre",)


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 12.0, "city": "Z\\u00fcrich"}',
        ' \n{"city":"Z\u00fcrich",\n"total":12}\n',
        '```json\n{"total": 1.2e1, "city": "Z\u00fcrich"}\n```\n',
        '```\n{"total": 12, "city": "Z\u00fcrich"}\n```',
    ],
)
def test_json_has_one_canonical_text(text: str) -> None:
    assert parse_answer(extraction(), text) == Answer('{"city":"Z\u00fcrich","total":12}')


@pytest.mark.parametrize(
    ("text", "problem", "seen"),
    [
        ('Here it is: {"total": 1}', "not_json", "Expecting value at character 1"),
        ('{"total": 1} done', "not_json", "Extra data"),
        ("{'total': 1}", "not_json", ""),
        ('{"total": NaN}', "not_json", "NaN is no JSON number"),
        ('{"total": -Infinity}', "not_json", "-Infinity"),
        ('{"total": 1e999}', "not_json", "1e999 is too large"),
        ('{"total": 1, "total": 2}', "not_json", "the key 'total' is given twice"),
        ('{"total": 1, "city": "\\ud800"}', "not_json", "lone surrogate"),
        ('{"total": 123456789012345678901234567890}', "not_json", "over 64 bits"),
        ('{"total": ' + "9" * 5000 + "}", "not_json", ""),
        ("[" * 100_000, "not_json", "nested too deeply"),
        ('{"total": "12"}', "schema", "$.total: '12' is not of type 'number'"),
        ('{"city": "x"}', "schema", "'total' is a required property"),
        ('{"total": 1, "town": 2}', "schema", "'town' was unexpected"),
        ("[]", "schema", "$: [] is not of type 'object'"),
        ("```json\n```", "not_json", ""),
    ],
)
def test_json_that_does_not_fit_is_invalid(text: str, problem: str, seen: str) -> None:
    answer = parse_answer(extraction(), text)
    assert (answer.text, answer.problem) == (None, problem)
    assert seen in answer.detail
    assert len(str(answer)) < 400


def test_a_schema_may_refer_to_itself_and_loop() -> None:
    tree = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    task = extraction(schema=tree)
    assert parse_answer(task, '{"next": {"next": {}}}').text == '{"next":{"next":{}}}'
    assert parse_answer(task, '{"next": {"next": 1}}').problem == "schema"
    assert parse_answer(extraction(schema={"$ref": "#"}), "{}").problem == "schema"


def test_an_older_draft_of_json_schema_is_read_as_what_it_says_it_is() -> None:
    draft4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"total": {"minimum": 0, "exclusiveMinimum": True}},
    }
    task = extraction(schema=draft4)
    assert parse_answer(task, '{"total": 0}').problem == "schema"
    assert parse_answer(task, '{"total": 1}').text == '{"total":1}'


def test_text_is_kept_but_for_the_space_around_it() -> None:
    assert parse_answer(free_text(), " \n a  b\n") == Answer("a  b")
    assert parse_answer(free_text(), "x" * 100_000).text == "x" * 100_000
    assert parse_answer(free_text(), "\udfff").problem == "not_utf8"


def test_code_keeps_the_indentation_of_its_first_line() -> None:
    task = free_text(grader="code")
    assert parse_answer(task, "\n \n    return 1\n\n").text == "    return 1"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_no_text_breaks_the_parsing_and_what_is_read_is_stable(text: str) -> None:
    tasks: list[Task] = [INTENTS, TOPICS, extraction(), free_text()]
    for task in tasks:
        answer = parse_answer(task, text)
        assert (answer.text is None) == (answer.problem is not None)
        if answer.text:
            assert parse_answer(task, answer.text) == answer


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(-1e9, 1e9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
    )
)
def test_canonical_json_says_the_same(value: object) -> None:
    answer = parse_answer(extraction(schema={}), json.dumps(value))
    if answer.text is not None:
        assert json.loads(answer.text) == value


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"finish_reason": "length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "filtered"),
        (
            {"finish_reason": "error", "error": {"type": "x", "message": "it is down"}},
            "error",
        ),
    ],
)
def test_answers_that_did_not_end_well_are_no_answers(
    changes: dict[str, object], problem: str
) -> None:
    answer = answer_of(classification(), completion(prompt("a"), "spam", **changes))
    assert (answer.text, answer.problem) == (None, problem)


def test_text_that_was_cut_off_is_text_and_a_label_where_that_is_allowed() -> None:
    cut = completion(prompt("a"), "spam", finish_reason="length")
    assert answer_of(free_text(), cut).text == "spam"
    assert answer_of(classification(), cut, allow_truncated=True).text == "spam"
