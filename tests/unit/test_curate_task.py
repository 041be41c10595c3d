from pathlib import Path
from typing import Any

import pytest
from task_cases import classification, collected, completion, extraction, free_text, prompt

from stillhouse.artifacts import (
    Artifact,
    Counts,
    begin_artifact,
    check_rows_root,
    open_artifact,
)
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError
from stillhouse.records import Completion, Example, Message, Prompt, Record, TokenLogprobs
from stillhouse.tasks import Task, TaskAnswer, task_of

BUY = prompt("buy", "Buy now at half the price, today only!", group="ads")
HI = prompt("hi", "Are we still meeting at noon?")
HELD = prompt("held", "Win a free holiday by replying to this")
SPAM = classification()


def curated(
    tmp_path: Path, task: Task | None, *pairs: tuple[Prompt, Completion], **settings: Any
) -> Artifact:
    prompts = list({asked.id: asked for asked, _ in pairs}.values())
    source = collected(tmp_path / "completions", prompts, [answer for _, answer in pairs])
    config = CurateConfig.model_validate(settings)
    return curate(source, tmp_path / "dataset", config=config, task=task)


def said(asked: Prompt, text: str, **changes: Any) -> tuple[Prompt, Completion]:
    return asked, completion(asked, text, **changes)


def examples_of(artifact: Artifact) -> list[tuple[str, str]]:
    return [(row.prompt_id, row.completion) for row in artifact.rows("examples", Example)]


def answers_of(artifact: Artifact) -> dict[str, TaskAnswer]:
    return {row.prompt_id: row for row in artifact.rows("answers", TaskAnswer)}


def test_examples_hold_canonical_answers_and_answers_hold_all(tmp_path: Path) -> None:
    asked = BUY.model_copy(update={"reference": "SPAM"})
    artifact = curated(
        tmp_path,
        SPAM,
        said(asked, "Spam."),
        said(asked, "no idea", sample=1),
        said(asked, "SPAM", sample=2),
        said(HI, "ham"),
        said(HELD, "maybe"),
        said(HELD, "spam", sample=1),
    )
    check_rows_root(artifact)
    assert examples_of(artifact) == [("buy", "spam"), ("hi", "ham"), ("held", "spam")]
    counts = artifact.manifest.counts
    assert counts.dropped == {"invalid_answer": 2, "duplicate": 1}
    assert counts.num_in == 6
    answers = answers_of(artifact)
    assert list(answers) == ["buy", "hi", "held"]
    assert answers["buy"] == TaskAnswer(
        prompt_id="buy",
        text=BUY.messages[0].content,
        split="train",
        group="ads",
        answer="spam",
        probabilities={"spam": 1.0},
        num_answers=3,
        num_invalid=1,
        invalid=("unknown_label: 'no idea'",),
        reference="spam",
        votes={"t": {"spam": 2}},
    )
    assert (answers["held"].answer, answers["held"].split) == ("spam", "held_out")


def test_the_manifest_holds_the_task_and_what_became_of_its_answers(tmp_path: Path) -> None:
    artifact = curated(
        tmp_path,
        SPAM,
        said(BUY, "spam"),
        said(HI, "ham"),
        said(HELD, "hm"),
        said(HELD, "ham", sample=1),
    )
    results = artifact.manifest.results
    assert task_of(results) == SPAM
    assert results["answers"] == {
        "prompts": 3,
        "prompts_without_valid": 0,
        "own_probabilities": 0,
        "references": 0,
        "answers": 4,
        "invalid": {"unknown_label": 1},
    }
    assert artifact.manifest.config["contamination"] == "refuse"


def test_a_prompt_without_a_valid_answer_keeps_its_row(tmp_path: Path) -> None:
    artifact = curated(
        tmp_path,
        SPAM,
        said(BUY, "spam"),
        said(HI, "ham"),
        said(prompt("odd", "Some other text"), "", finish_reason="content_filter"),
        said(prompt("cut", "A further text"), "sp", finish_reason="length"),
        said(
            prompt("down", "The last of all"),
            "",
            finish_reason="error",
            error={"type": "x", "message": "it is down"},
        ),
    )
    answers = answers_of(artifact)
    assert [answers[name].invalid for name in ("odd", "cut", "down")] == [
        ("filtered",),
        ("truncated: 'sp'",),
        ("error: it is down",),
    ]
    assert all(answers[name].answer is None for name in ("odd", "cut", "down"))
    assert artifact.manifest.counts.dropped == {"filtered": 1, "truncated": 1, "error": 1}
    assert artifact.manifest.results["answers"]["prompts_without_valid"] == 3


def test_a_label_cut_off_is_invalid_on_both_sides_unless_that_is_allowed(tmp_path: Path) -> None:
    pairs = [
        said(BUY, "spam"),
        said(HI, "ham"),
        said(HELD, "spam", finish_reason="length"),
        said(HELD, "ham", sample=1),
    ]
    strict = curated(tmp_path / "a", SPAM, *pairs)
    assert answers_of(strict)["held"].answer == "ham"
    assert strict.manifest.counts.dropped == {"invalid_answer": 1}
    loose = curated(tmp_path / "b", SPAM, *pairs, drop_truncated=False)
    assert answers_of(loose)["held"].votes == {"t": {"spam": 1, "ham": 1}}


def test_documents_may_repeat_themselves_and_text_may_not(tmp_path: Path) -> None:
    looping = '{"total": 1, "city": "a b c a b c a b c"}'
    pairs = [said(BUY, looping), said(HI, '{"total": 2}')]
    artifact = curated(tmp_path / "a", extraction(), *pairs)
    assert len(examples_of(artifact)) == 2
    artifact = curated(tmp_path / "b", free_text(), *pairs)
    assert artifact.manifest.counts.dropped == {"looping": 1}
    assert answers_of(artifact)["buy"].answer == looping


def test_tokens_stay_with_an_answer_that_is_as_the_teacher_put_it(tmp_path: Path) -> None:
    ids = TokenLogprobs(token_ids=(7, 2), logprobs=(-0.1, -0.2))
    artifact = curated(
        tmp_path, SPAM, said(BUY, "spam", logprobs=ids), said(HI, "Ham", logprobs=ids)
    )
    found = [row.completion_token_ids for row in artifact.rows("examples", Example)]
    assert found == [(7, 2), None]


def test_a_schema_that_is_never_satisfied_says_what_was_seen(tmp_path: Path) -> None:
    pairs = [said(BUY, '{"sum": 1}'), said(HI, "I cannot do that")]
    with pytest.raises(DataError) as caught:
        curated(tmp_path, extraction(), *pairs)
    message = str(caught.value)
    assert "None of 2 train answers is one to task 't' (schema 1, not_json 1)" in message
    assert "'total' is a required property" in message
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_held_out_answers_that_are_all_invalid_are_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"None of 1 held_out answers .* 'what'"):
        curated(tmp_path, SPAM, said(BUY, "spam"), said(HI, "ham"), said(HELD, "what"))


def test_one_class_only_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="All 2 valid training answers to task 't' are 'spam'"):
        curated(tmp_path, SPAM, said(BUY, "spam"), said(HI, "spam"), said(HELD, "ham"))


def test_held_out_rows_alone_may_have_one_class(tmp_path: Path) -> None:
    assert examples_of(curated(tmp_path, SPAM, said(HELD, "spam"))) == [("held", "spam")]


def test_references_that_are_no_answers_are_named(tmp_path: Path) -> None:
    wrong = prompt("wrong", "Another text entirely", reference="hamm")
    with pytest.raises(DataError, match=r"references of 1 prompts .* 'wrong' \(unknown_label"):
        curated(tmp_path, SPAM, said(BUY, "spam"), said(wrong, "ham"))


TWIN = prompt("held-twin", "buy now at HALF the price - today only")


def test_held_out_texts_in_the_training_data_stop_a_task(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        curated(tmp_path, SPAM, said(BUY, "spam"), said(HI, "ham"), said(TWIN, "spam"))
    message = str(caught.value)
    assert "1 of 1 held-out texts (100.0%) are in the training data too (exact 1)" in message
    assert repr(TWIN.messages[0].content) in message
    assert "takes out 1 of 2 training rows" in message


def test_training_rows_are_taken_out_where_that_is_asked_for(tmp_path: Path) -> None:
    more = prompt("more", "Your parcel is waiting, pay the fee")
    artifact = curated(
        tmp_path,
        SPAM,
        said(BUY, "spam"),
        said(HI, "ham"),
        said(more, "spam"),
        said(TWIN, "spam"),
        contamination="remove",
    )
    assert [name for name, _ in examples_of(artifact)] == ["hi", "more", "held-twin"]
    assert list(answers_of(artifact)) == ["hi", "more", "held-twin"]
    assert artifact.manifest.counts.dropped == {"contaminated": 1}
    found = artifact.manifest.results["contamination"]
    assert (found["num_train"], found["num_held_out"], found["fraction"]) == (3, 1, 1.0)
    assert found["train"] == found["held_out"] == {"exact": 1, "near": 0, "ngram": 0}
    assert found["removed"] == 1
    (example,) = found["examples"]
    assert example["train"] == {"prompt_id": "buy", "text": BUY.messages[0].content}


def test_contamination_that_is_allowed_is_counted(tmp_path: Path) -> None:
    pairs = [said(BUY, "spam"), said(HI, "ham"), said(TWIN, "spam")]
    artifact = curated(tmp_path, SPAM, *pairs, contamination="allow")
    assert len(examples_of(artifact)) == 3
    found = artifact.manifest.results["contamination"]
    assert (found["rule"], found["fraction"], found["removed"]) == ("allow", 1.0, 0)


def test_words_of_the_template_do_not_make_texts_alike(tmp_path: Path) -> None:
    before = "Read the message below with great care and say whether it is spam or ham: "
    task = classification(prompt=before + "{text}")
    rows = {"buy": "win a prize", "hi": "see you", "held": "call me back"}
    asked = {name: prompt(name, before + text) for name, text in rows.items()}
    answers = {"buy": "spam", "hi": "ham", "held": "ham"}
    pairs = [said(asked[name], answers[name]) for name in rows]
    curated(tmp_path / "a", task, *pairs)
    with pytest.raises(DataError, match="held-out texts"):
        curated(tmp_path / "b", SPAM, *pairs)


def test_without_a_task_nothing_is_compared_unless_it_is_asked_for(tmp_path: Path) -> None:
    pairs = [said(BUY, "one answer"), said(TWIN, "another answer")]
    plain = curated(tmp_path / "a", None, *pairs)
    assert plain.manifest.results == {}
    assert "contamination" not in plain.manifest.config
    assert answers_of(plain) == {}
    with pytest.raises(DataError, match="held-out texts"):
        curated(tmp_path / "b", None, *pairs, contamination="refuse")


def test_where_one_side_is_missing_nothing_was_measured(tmp_path: Path) -> None:
    artifact = curated(tmp_path, SPAM, said(BUY, "spam"), said(HI, "ham"))
    assert artifact.manifest.results["contamination"] is None


def test_the_same_task_is_not_curated_again_and_another_is_another_dataset(tmp_path: Path) -> None:
    first = curated(tmp_path, SPAM, said(BUY, "spam"), said(HI, "ham"))
    source, out = tmp_path / "completions", tmp_path / "dataset"
    again = curate(source, out, config=CurateConfig(), task=SPAM)
    assert again.manifest.created_utc == first.manifest.created_utc
    with pytest.raises(ConfigError, match="finished artefact"):
        curate(source, out, config=CurateConfig(), task=classification(margin=0.1))


def test_answers_of_several_teachers_are_kept_apart(tmp_path: Path) -> None:
    artifact = curated(
        tmp_path,
        SPAM,
        said(BUY, "spam", teacher="a"),
        said(BUY, "ham", teacher="b"),
        said(BUY, "spam", teacher="c"),
        said(HI, "ham", teacher="a"),
    )
    row = answers_of(artifact)["buy"]
    assert row.by_teacher == {"a": "spam", "b": "ham", "c": "spam"}
    assert row.answer == "spam"
    assert row.probabilities == pytest.approx({"spam": 2 / 3, "ham": 1 / 3})


class PromptBefore(Record):
    """A prompt as artefacts held it before it had a reference."""

    id: str
    messages: tuple[Message, ...]
    split: str
    group: str | None


def test_completions_from_before_references_open_verify_and_are_curated(tmp_path: Path) -> None:
    path = tmp_path / "completions"
    writer = begin_artifact(path, kind="completions", stage="collect", config={})
    asked = [BUY, HI]
    before = [PromptBefore(**p.model_dump(include=set(PromptBefore.model_fields))) for p in asked]
    writer.write_rows("prompts", before, PromptBefore)
    said_then = [completion(BUY, "spam"), completion(HI, "ham")]
    writer.write_rows("completions", said_then, Completion)
    writer.finish(counts=Counts.model_validate({"in": 2, "kept": 2}))

    opened = open_artifact(path)
    check_rows_root(opened)
    assert list(opened.rows("prompts", Prompt)) == asked
    dataset = curate(path, tmp_path / "dataset", config=CurateConfig(), task=SPAM)
    assert [row.reference for row in answers_of(dataset).values()] == [None, None]
