import math
from pathlib import Path

import pytest
from task_cases import classification, completion, extraction, free_text, logprobs, prompt

from stillhouse.artifacts import read_rows, write_table
from stillhouse.records import Completion, Message, Prompt
from stillhouse.tasks import (
    AnswerTally,
    Task,
    TaskAnswer,
    answer_of,
    label_probabilities,
    last_user_text,
)

ASKED = prompt("p", "hello", group="g")
YES_NO = classification("yes", "no", "maybe")


def tallied(task: Task, *completions: Completion, reference: str | None = None) -> TaskAnswer:
    tally = AnswerTally()
    for each in completions:
        tally.add(task, each, answer_of(task, each))
    return tally.row(ASKED, reference=reference)


def says(text: str, teacher: str = "t", sample: int = 0) -> Completion:
    return completion(ASKED, text, teacher=teacher, sample=sample)


def nats(**probabilities: float) -> dict[str, float]:
    return {token: math.log(value) for token, value in probabilities.items()}


def test_votes_become_shares_and_invalid_answers_are_kept() -> None:
    row = tallied(YES_NO, says("yes"), says("No."), says("perhaps"), says("YES"), reference="no")
    assert row == TaskAnswer(
        prompt_id="p",
        text="hello",
        split="train",
        group="g",
        answer="yes",
        probabilities={"yes": 2 / 3, "no": 1 / 3},
        num_answers=4,
        num_invalid=1,
        invalid=("unknown_label: 'perhaps'",),
        reference="no",
        votes={"t": {"yes": 2, "no": 1}},
    )


def test_a_tie_goes_to_the_answer_that_was_given_first() -> None:
    assert tallied(YES_NO, says("no"), says("yes")).answer == "no"
    assert tallied(YES_NO, says("x"), says("yes"), says("no")).answer == "yes"


def test_each_teacher_of_a_committee_counts_once() -> None:
    row = tallied(YES_NO, says("yes"), says("yes"), says("no"), says("no", "b"), says("?", "c"))
    assert row.by_teacher == {"t": "yes", "b": "no"}
    assert row.votes == {"t": {"yes": 2, "no": 1}, "b": {"no": 1}}
    assert row.answer == "no"
    assert row.probabilities == pytest.approx({"no": 4 / 6, "yes": 2 / 6})
    assert (row.num_answers, row.num_invalid) == (5, 1)


def test_a_committee_that_is_of_two_minds_takes_the_first() -> None:
    thirds = [says("yes", t) for t in "abc"] + [says("no", t) for t in "def"]
    assert tallied(YES_NO, *thirds).answer == "yes"
    assert tallied(YES_NO, *reversed(thirds)).answer == "no"


def test_no_valid_answer_gives_none_and_no_answer_gives_an_empty_row() -> None:
    row = tallied(YES_NO, says("x" * 100_000), says(" "))
    assert (row.answer, row.probabilities, row.by_teacher) == (None, {}, {})
    assert row.invalid[1] == "empty"
    assert len(row.invalid[0]) == 200
    assert tallied(YES_NO).num_answers == 0


def test_answers_without_a_teacher_are_counted_for_their_model() -> None:
    assert tallied(YES_NO, says("yes", "")).by_teacher == {"m": "yes"}


def test_documents_are_voted_on_by_what_they_say() -> None:
    texts = ['{"total": 1}', '```\n{"total":1.0}\n```', '{"total": 2}']
    row = tallied(extraction(), *map(says, texts))
    assert row.answer == '{"total":1}'
    assert row.probabilities == {'{"total":1}': 2 / 3, '{"total":2}': 1 / 3}


def test_rows_come_back_from_parquet_with_the_order_of_their_votes(tmp_path: Path) -> None:
    rows = [
        tallied(YES_NO, says("no", "b"), says("yes", "a"), says("yes", "b")),
        tallied(YES_NO, says("?")),
    ]
    write_table(tmp_path / "a.parquet", rows, TaskAnswer)
    back = list(read_rows(tmp_path / "a.parquet", TaskAnswer))
    assert back == rows
    assert list(back[0].votes) == ["b", "a"]
    assert back[0].by_teacher == {"b": "no", "a": "yes"}


def test_the_text_of_a_row_is_the_last_thing_that_the_user_said() -> None:
    messages = [("system", "s"), ("user", "first"), ("assistant", "a"), ("user", "last")]
    talk = tuple(Message.model_validate({"role": r, "content": c}) for r, c in messages)
    assert last_user_text(Prompt(id="x", messages=talk)) == "last"
    assert last_user_text(Prompt(id="x", messages=talk[:1])) == "s"


def own(task: Task, text: str, *steps: tuple[str, dict[str, float]]) -> dict[str, float] | None:
    return label_probabilities(task, completion(ASKED, text, logprobs=logprobs(*steps)))


def test_labels_of_one_token_have_the_probability_of_the_token() -> None:
    found = own(YES_NO, "yes", ("yes", nats(yes=0.7, no=0.2, maybe=0.1)))
    assert found == pytest.approx({"yes": 0.7, "no": 0.2, "maybe": 0.1})


def test_case_space_and_quotes_of_tokens_do_not_count() -> None:
    top = nats(yes=0.5) | {" Yes": math.log(0.2), "No": math.log(0.2), '"maybe': math.log(0.1)}
    found = own(YES_NO, "yes", ("yes", top))
    assert found == pytest.approx({"yes": 0.7, "no": 0.2, "maybe": 0.1})


def test_what_is_no_label_is_left_out_and_the_rest_is_one() -> None:
    found = own(YES_NO, "yes", ("yes", nats(yes=0.6, hm=0.2, no=0.2)))
    assert found == pytest.approx({"yes": 0.75, "no": 0.25})


def test_labels_of_several_tokens_multiply_along_the_answer() -> None:
    task = classification("card_arrival", "card_linking", "refund")
    found = own(
        task,
        "card_linking",
        ("card", nats(card=0.8, refund=0.2)),
        ("_", nats(_=1.0, x=1e-12)),
        ("linking", nats(linking=0.5, arr=0.5)),
    )
    assert found == pytest.approx({"card_linking": 0.4, "card_arrival": 0.4, "refund": 0.2})


def test_an_alias_counts_for_its_label() -> None:
    task = classification(aliases={"junk": "spam"})
    found = own(task, "ham", ("ham", nats(ham=0.5, junk=0.5)))
    assert found == pytest.approx({"ham": 0.5, "spam": 0.5})


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        # The rest of the mass is beyond the top tokens.
        ("yes", [("yes", nats(yes=0.7, no=0.2))]),
        # "ma" may become either of two labels.
        ("no", [("no", nats(no=0.9, ma=0.1))]),
        # A part of a character.
        ("no", [("no", nats(no=0.9) | {"\ufffd": math.log(0.1)})]),
        # The tokens are not those of the text.
        ("no", [("yes", nats(yes=0.9, no=0.1))]),
        # Nobody knows whether "mail" would have gone on.
        ("mail", [("mail", nats(mail=1.0, no=1e-9))]),
        # No number at all.
        ("no", [("no", {"no": math.nan, "yes": 0.0})]),
        ("no", [("no", {"no": 0.0, "yes": math.nan})]),
    ],
)
def test_probabilities_that_are_not_exact_are_left_to_the_votes(
    text: str, steps: list[tuple[str, dict[str, float]]]
) -> None:
    task = classification("yes", "no", "maybe", "mate", "mail", "mailbox")
    assert own(task, text, *steps) is None


def test_only_single_labels_with_tokens_of_text_have_probabilities() -> None:
    step = ("yes", nats(yes=0.7, no=0.3))
    several = classification("yes", "no", multiple=True)
    assert own(several, "yes", step) is None
    assert own(free_text(), "yes", step) is None
    assert label_probabilities(YES_NO, says("yes")) is None


def test_own_probabilities_take_the_place_of_votes_where_all_answers_have_them() -> None:
    sure = completion(ASKED, "yes", logprobs=logprobs(("yes", nats(yes=0.9, no=0.1))))
    unsure = completion(ASKED, "no", logprobs=logprobs(("no", nats(no=0.5, yes=0.5))))
    both = tallied(YES_NO, sure, unsure)
    assert both.probabilities == pytest.approx({"yes": 0.7, "no": 0.3})
    assert both.answer == "yes"  # one vote each, and more probable
    mixed = tallied(YES_NO, sure, says("no"))
    assert mixed.probabilities == {"no": 0.5, "yes": 0.5}
    committee = tallied(YES_NO, sure, says("no", "b"))
    assert committee.probabilities == pytest.approx({"no": 0.55, "yes": 0.45})


def test_what_a_teacher_says_of_the_labels_counts_before_log_probabilities_and_votes() -> None:
    stated = {"yes": 0.6, "no": 0.3, "maybe": 0.1}
    said = completion(
        ASKED,
        "yes",
        logprobs=logprobs(("yes", nats(yes=0.9, no=0.1))),
        label_probabilities=stated,
    )
    assert label_probabilities(YES_NO, said) == pytest.approx(stated)
    row = tallied(YES_NO, said)
    assert (row.answer, row.votes) == ("yes", {"t": {"yes": 1}})
    assert row.probabilities == pytest.approx(stated)


def test_stated_probabilities_of_less_than_one_are_those_given_that_it_is_a_label() -> None:
    said = completion(ASKED, "no", label_probabilities={"no": 0.3, "Yes.": 0.1})
    assert label_probabilities(YES_NO, said) == pytest.approx({"no": 0.75, "yes": 0.25})


def test_stated_probabilities_of_aliases_count_for_their_label() -> None:
    task = classification("yes", "no", aliases={"nope": "no"})
    said = completion(ASKED, "no", label_probabilities={"no": 0.3, "nope": 0.3, "yes": 0.4})
    assert label_probabilities(task, said) == pytest.approx({"no": 0.6, "yes": 0.4})


def test_probabilities_of_other_labels_than_the_tasks_are_not_used() -> None:
    said = completion(ASKED, "yes", label_probabilities={"yes": 0.5, "never": 0.5})
    assert label_probabilities(YES_NO, said) is None
    assert tallied(YES_NO, said).probabilities == {"yes": 1.0}
    little = completion(ASKED, "yes", label_probabilities={"yes": 0.995, "never": 0.005})
    assert label_probabilities(YES_NO, little) == pytest.approx({"yes": 1.0})


def test_a_teacher_that_states_probabilities_once_only_is_counted_by_its_votes() -> None:
    stated = completion(ASKED, "yes", label_probabilities={"yes": 0.6, "no": 0.4})
    assert tallied(YES_NO, stated, says("no", sample=1)).probabilities == {"no": 0.5, "yes": 0.5}
