from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact, check_rows_root
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.records import (
    Completion,
    Example,
    ItemError,
    Message,
    Prompt,
    Request,
    Sampling,
    TokenLogprobs,
)
from stillhouse.runlog import Progress

LOOP = "round and round it goes " * 3
SAMPLING = Sampling(max_tokens=9)


def a_prompt(name: str, split: str = "train") -> Prompt:
    messages = [{"role": "user", "content": f"about {name}"}]
    fields = {"id": name, "messages": messages, "split": split, "group": f"group of {name}"}
    return Prompt.model_validate(fields)


def answer(prompt: Prompt, text: str, *, sample_index: int = 0, **changes: Any) -> Completion:
    request = Request.of(prompt, teacher="t", sampling=SAMPLING, sample_index=sample_index)
    fields = {
        "request_id": request.id,
        "prompt_id": prompt.id,
        "sample_index": sample_index,
        "text": text,
        "finish_reason": "stop",
        "model": "m",
        "created_utc": datetime(2026, 1, 2, tzinfo=UTC),
        **changes,
    }
    return Completion.model_validate(fields)


def collected(path: Path, prompts: list[Prompt], completions: list[Completion]) -> Path:
    writer = begin_artifact(path, kind="completions", stage="collect", config={})
    writer.write_rows("prompts", prompts, Prompt)
    writer.write_rows("completions", completions, Completion)
    counts = {"in": len(completions), "kept": len(completions), "dropped": {}}
    writer.finish(
        counts=Counts.model_validate(counts),
        teacher=TeacherRef(id="t", provider="fake", revision="r"),
        tokenizer_sha256="a" * 64,
        chat_template_sha256="b" * 64,
        sampling=SAMPLING,
        seeds={"sampling": 0},
    )
    return path


def curated(tmp_path: Path, completions: list[Completion], **settings: Any) -> Artifact:
    prompts = [
        a_prompt(name, "held_out" if name.startswith("held") else "train")
        for name in dict.fromkeys(completion.prompt_id for completion in completions)
    ]
    source = collected(tmp_path / "completions", prompts, completions)
    return curate(source, tmp_path / "dataset", config=CurateConfig.model_validate(settings))


def examples_of(artifact: Artifact) -> list[Example]:
    return list(artifact.rows("examples", Example))


def test_an_example_carries_prompt_text_tokens_and_the_call_it_came_from(tmp_path: Path) -> None:
    logprobs = TokenLogprobs(token_ids=(7, 8, 2), logprobs=(-0.1, -0.2, -0.3))
    completion = answer(a_prompt("x"), "two words", logprobs=logprobs)
    artifact = curated(tmp_path, [completion])
    check_rows_root(artifact)
    assert examples_of(artifact) == [
        Example(
            id=completion.request_id[:16],
            prompt_id="x",
            request_id=completion.request_id,
            messages=(Message(role="user", content="about x"),),
            completion="two words",
            completion_token_ids=(7, 8, 2),
            split="train",
            group="group of x",
        )
    ]


def test_the_manifest_carries_what_the_parent_says(tmp_path: Path) -> None:
    manifest = curated(tmp_path, [answer(a_prompt("x"), "text")]).manifest
    assert (manifest.kind, manifest.stage) == ("dataset", "curate")
    assert manifest.teacher == TeacherRef(id="t", provider="fake", revision="r")
    assert manifest.tokenizer is not None
    assert manifest.tokenizer.sha256 == "a" * 64
    assert manifest.chat_template_sha256 == "b" * 64
    assert manifest.sampling == SAMPLING
    assert [parent.path for parent in manifest.parents] == ["../completions"]
    assert manifest.config["drop_looping"] is True


BAD_ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("cut off", {"finish_reason": "length"}, "truncated"),
    (LOOP, {}, "looping"),
    ("ok", {}, "too_short"),
    ("x" * 99, {}, "too_long"),
    (" \n", {}, "empty"),
    ("no", {"finish_reason": "content_filter"}, "filtered"),
    ("", {"finish_reason": "error", "error": ItemError(type="x", message="y")}, "error"),
]
BOUNDS = {"min_chars": 3, "max_chars": 80}


def bad_rows(name: str) -> list[Completion]:
    return [
        answer(a_prompt(f"{name}{number}"), text, **changes)
        for number, (text, changes, _) in enumerate(BAD_ROWS)
    ]


def test_every_dropped_row_is_counted_by_reason(tmp_path: Path) -> None:
    artifact = curated(tmp_path, [*bad_rows("x"), answer(a_prompt("good"), "fine text")], **BOUNDS)
    assert [example.prompt_id for example in examples_of(artifact)] == ["good"]
    counts = artifact.manifest.counts
    assert counts.dropped == {reason: 1 for _, _, reason in BAD_ROWS}
    assert (counts.num_in, counts.kept) == (len(BAD_ROWS) + 1, 1)


def test_held_out_rows_are_kept_unless_the_teacher_said_nothing(tmp_path: Path) -> None:
    artifact = curated(tmp_path, bad_rows("held"), **BOUNDS)
    assert [example.prompt_id for example in examples_of(artifact)] == [
        f"held{i}" for i in range(4)
    ]
    assert artifact.manifest.counts.dropped == {"empty": 1, "filtered": 1, "error": 1}


def test_each_filter_can_be_off(tmp_path: Path) -> None:
    completions = [
        answer(a_prompt("a"), "cut off", finish_reason="length"),
        answer(a_prompt("b"), LOOP),
        answer(a_prompt("c"), "same"),
        answer(a_prompt("c"), "same", sample_index=1),
    ]
    artifact = curated(
        tmp_path, completions, drop_truncated=False, drop_looping=False, deduplicate=False
    )
    assert artifact.manifest.counts.kept == 4
    assert len({example.id for example in examples_of(artifact)}) == 4


def test_equal_text_is_a_duplicate_only_under_the_same_messages(tmp_path: Path) -> None:
    completions = [
        answer(a_prompt("a"), "same"),
        answer(a_prompt("a"), "other", sample_index=1),
        answer(a_prompt("a"), "same", sample_index=2),
        answer(a_prompt("b"), "same"),
    ]
    artifact = curated(tmp_path, completions)
    kept = [(example.prompt_id, example.completion) for example in examples_of(artifact)]
    assert kept == [("a", "same"), ("a", "other"), ("b", "same")]
    assert artifact.manifest.counts.dropped == {"duplicate": 1}


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looping 1"):
        curated(tmp_path, [answer(a_prompt("x"), LOOP)])
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_an_answer_to_a_prompt_that_is_not_there_is_damage(tmp_path: Path) -> None:
    source = collected(tmp_path / "c", [a_prompt("a")], [answer(a_prompt("b"), "text")])
    with pytest.raises(IntegrityError, match="'b'"):
        curate(source, tmp_path / "d", config=CurateConfig())


def test_equal_inputs_are_not_curated_again(tmp_path: Path) -> None:
    first = curated(tmp_path, [answer(a_prompt("x"), "text")])
    source, out = tmp_path / "completions", tmp_path / "dataset"
    again = curate(source, out, config=CurateConfig())
    assert again.manifest.created_utc == first.manifest.created_utc
    with pytest.raises(ConfigError, match="finished artefact"):
        curate(source, out, config=CurateConfig(min_chars=2))
    curate(source, out, config=CurateConfig(min_chars=2), replace=True)


def test_another_kind_of_artefact_is_refused(tmp_path: Path) -> None:
    curated(tmp_path, [answer(a_prompt("x"), "text")])
    with pytest.raises(ConfigError, match="needs completions"):
        curate(tmp_path / "dataset", tmp_path / "again", config=CurateConfig())


def test_progress_counts_the_completions_read(tmp_path: Path) -> None:
    told: list[Progress] = []
    source = collected(tmp_path / "c", [a_prompt("a")], [answer(a_prompt("a"), "text")])
    curate(source, tmp_path / "d", config=CurateConfig(), on_progress=told.append)
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("curate", 1, 1)


def test_bounds_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="max_chars=2 is below min_chars=5"):
        CurateConfig(min_chars=5, max_chars=2)
