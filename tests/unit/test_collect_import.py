import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifacts import Artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError, TooManyFailuresError
from stillhouse.records import Completion, Prompt, Request, Sampling
from stillhouse.teachers import ReplayTeacher, read_answer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "imports"
_PLAIN_CSV = {"fields": {"prompt": "question", "completion": "answer"}}

Import = Callable[..., Artifact]


@pytest.fixture
def run_import(tmp_path: Path) -> Import:
    def run(source: Path | str, **config: Any) -> Artifact:
        path = FIXTURES / source if isinstance(source, str) else source
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        return import_completions(path, out, config=ImportConfig.model_validate(config))

    return run


def _write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _plain(**fields: Any) -> dict[str, Any]:
    return {"prompt": "Two plus two?", "completion": "4", **fields}


def _pairs(artifact: Artifact) -> list[tuple[Prompt, Completion]]:
    prompts = {prompt.id: prompt for prompt in artifact.rows("prompts", Prompt)}
    return [(prompts[row.prompt_id], row) for row in artifact.rows("completions", Completion)]


@pytest.mark.parametrize(
    ("name", "expected", "kept", "dropped"),
    [
        ("openai_stored.jsonl", "openai", 4, {}),
        ("openai_page.json", "openai", 2, {}),
        ("openai_evals.json", "openai-evals", 2, {"failed_call": 1}),
        ("openpipe_logs.jsonl", "openpipe", 2, {"failed_call": 1}),
        ("promptfoo_v3.json", "promptfoo", 2, {"failed_call": 1}),
        ("promptfoo.jsonl", "promptfoo", 2, {"failed_call": 1}),
        ("langfuse_observations.json", "langfuse", 3, {"failed_call": 1, "not_a_generation": 1}),
        ("langfuse_observations.csv", "langfuse", 3, {"failed_call": 1, "not_a_generation": 1}),
        ("langfuse_blob.jsonl", "langfuse", 3, {}),
        ("anthropic_log.jsonl", "anthropic", 3, {"failed_call": 1}),
        ("plain.jsonl", "plain", 4, {"empty": 1}),
    ],
)
def test_each_export_is_recognised_and_counted(
    run_import: Import, name: str, expected: str, kept: int, dropped: dict[str, int]
) -> None:
    manifest = run_import(name).manifest
    assert (manifest.kind, manifest.stage) == ("completions", "import")
    assert manifest.results["format"] == expected
    assert (manifest.counts.kept, manifest.counts.dropped) == (kept, dropped)
    assert manifest.teacher is not None
    assert manifest.teacher.provider == "import"


@pytest.mark.parametrize("path", sorted(FIXTURES.iterdir()), ids=lambda path: path.name)
def test_curate_and_replay_accept_what_was_imported(
    run_import: Import, tmp_path: Path, path: Path
) -> None:
    config = _PLAIN_CSV if path.name == "plain.csv" else {}
    imported = run_import(path, **config)
    dataset = curate(imported.path, tmp_path / "dataset", config=CurateConfig())
    assert dataset.manifest.counts.num_in == imported.manifest.counts.kept
    assert dataset.manifest.counts.kept > 0
    assert dataset.manifest.teacher == imported.manifest.teacher

    prompt, completion = _pairs(imported)[0]
    with ReplayTeacher(imported.path) as teacher:
        request = Request.of(prompt, teacher=teacher.info.id, sampling=Sampling())
        waiting = [request]
        ((answer,),) = teacher.stream(lambda _: [waiting.pop()] if waiting else [])
    assert read_answer(answer, request).text == completion.text


def test_what_a_stored_completion_says_is_kept(run_import: Import) -> None:
    (haiku, _), (prompt, called), (told, cut), _ = _pairs(run_import("openai_stored.jsonl"))
    assert [message.role for message in haiku.messages] == ["system", "user"]

    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert [tool.name for tool in prompt.tools] == ["get_weather"]
    assert called.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in called.tool_calls] == [
        ("get_weather", '{"city": "Oslo"}')
    ]
    assert called.usage.prompt_tokens == 60
    assert called.usage.cached_prompt_tokens == 40
    assert called.usage.reasoning_tokens == 5
    assert called.model == called.teacher == "gpt-4.1-2025-04-14"
    assert called.created_utc == datetime(2025, 2, 7, 20, 36, 52, tzinfo=UTC)

    assert cut.finish_reason == "length"
    assert [message.role for message in told.messages] == ["user", "assistant", "tool"]
    assert told.messages[-1].tool_call_id == told.messages[1].tool_calls[0].id == "call_1"


def test_what_an_anthropic_log_says_is_kept(run_import: Import) -> None:
    (first, thought), (second, called), (_, cut) = _pairs(run_import("anthropic_log.jsonl"))
    assert [(m.role, m.content) for m in first.messages] == [
        ("system", "Be kind."),
        ("user", "What is 7 times 8?"),
    ]
    assert (thought.text, thought.reasoning) == ("56.", "7 x 8 = 56")
    assert thought.usage.prompt_tokens == 420
    assert thought.usage.cached_prompt_tokens == 300
    assert thought.usage.cache_write_tokens == 100

    assert [message.role for message in second.messages] == ["system", "user", "assistant", "tool"]
    assert second.messages[3].content == "a vessel"
    assert [(tool.name, tool.description) for tool in second.tools] == [("look_up", "A dictionary")]
    assert [json.loads(call.arguments) for call in called.tool_calls] == [{"word": "still"}]
    assert cut.finish_reason == "length"


def test_openpipe_times_are_milliseconds_and_its_datasets_have_splits(run_import: Import) -> None:
    (_, called), (_, counted) = _pairs(run_import("openpipe_logs.jsonl"))
    assert called.finish_reason == "tool_calls"
    assert counted.created_utc == datetime(2023, 12, 15, 18, 47, 16, 923000, tzinfo=UTC)

    dataset = run_import("openpipe_dataset.jsonl", format="openpipe")
    assert [prompt.split for prompt, _ in _pairs(dataset)] == ["train", "held_out"]


def test_what_promptfoo_says_is_kept(run_import: Import) -> None:
    artifact = run_import("promptfoo_v3.json")
    (_, plain), (asked, parsed) = _pairs(artifact)
    assert plain.text == 'Bananas are "yellow".'
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (15, 10)
    assert (plain.usage.cost_usd, plain.usage.seconds) == (0.00015, 0.812)
    assert [message.role for message in asked.messages] == ["system", "user"]
    assert json.loads(parsed.text) == {"title": "Pears", "words": 2}
    assert parsed.usage.cost_usd == 0.0  # from promptfoo's cache

    manifest = artifact.manifest
    assert manifest.teacher is not None
    assert manifest.teacher.id == "import:promptfoo"
    assert manifest.results["models"] == {
        "anthropic:messages:claude-sonnet-4": 1,
        "openai:chat:gpt-4.1": 1,
    }


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_what_langfuse_says_is_kept(run_import: Import, suffix: str) -> None:
    artifact = run_import(f"langfuse_observations{suffix}")
    (_, river), (asked, summed), (_, greeted) = _pairs(artifact)
    assert (river.text, summed.text, greeted.text) == ("The Rhine.", '{"sum":4}', "hi")
    assert asked.output_schema == '{"type":"object"}'
    assert (river.usage.prompt_tokens, river.usage.cached_prompt_tokens) == (100, 80)
    assert (river.usage.completion_tokens, river.usage.reasoning_tokens) == (15, 3)
    assert (river.usage.cost_usd, river.usage.seconds) == (3e-05, 1.25)
    assert river.created_utc == datetime(2025, 5, 1, 9, tzinfo=UTC)
    assert artifact.manifest.teacher is not None
    assert artifact.manifest.teacher.id == "gpt-4.1-mini-2025-04-14"


def test_what_an_eval_item_says_is_kept(run_import: Import) -> None:
    prompt, completion = _pairs(run_import("openai_evals.json"))[0]
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert (completion.text, completion.model) == ("Markets", "gpt-4o-mini-2024-07-18")
    assert (completion.usage.prompt_tokens, completion.usage.cached_prompt_tokens) == (323, 256)


def test_answers_to_the_same_messages_share_a_prompt(run_import: Import) -> None:
    artifact = run_import("plain.jsonl")
    (prompt, first), (same, second), (shouted, cut), _ = _pairs(artifact)
    assert prompt == same
    assert (first.sample_index, second.sample_index) == (0, 1)
    assert first.request_id != second.request_id
    assert prompt.group == "sums"
    assert (shouted.split, cut.finish_reason) == ("held_out", "length")
    assert artifact.manifest.results["prompts"] == 3


def test_all_choices_of_a_call_are_taken(run_import: Import, tmp_path: Path) -> None:
    choices = [
        {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for index, text in enumerate(("heads", "tails"))
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    response = {"object": "chat.completion", "model": "m", "choices": choices, "usage": usage}
    request = {"messages": [{"role": "user", "content": "Toss."}]}
    row = {"request": request, "response": response}
    pairs = _pairs(run_import(_write(tmp_path / "x.jsonl", row)))
    assert [(c.text, c.sample_index) for _, c in pairs] == [("heads", 0), ("tails", 1)]
    assert sum(completion.usage.completion_tokens for _, completion in pairs) == 2


def test_names_of_fields_can_be_given(run_import: Import) -> None:
    pairs = _pairs(run_import("plain.csv", **_PLAIN_CSV, model="my-model"))
    assert [(p.messages[0].content, c.text) for p, c in pairs] == [
        ("Name a tree, any tree", "An oak"),
        ("Two\nlines", "ok"),
    ]
    assert {completion.model for _, completion in pairs} == {"my-model"}


def test_personal_data_is_scrubbed_unless_asked_otherwise(run_import: Import) -> None:
    scrubbed = run_import("openai_stored.jsonl")
    assert scrubbed.manifest.results["scrubbed"] == {"EMAIL": 3}
    prompt, completion = _pairs(scrubbed)[3]
    assert prompt.messages[0].content == "Whom do I mail? The list: [EMAIL_1], [EMAIL_2]"
    assert completion.text == "Mail Ann at [EMAIL_1]."

    as_it_was = run_import("openai_stored.jsonl", scrub=False)
    assert as_it_was.manifest.results["scrubbed"] is None
    assert _pairs(as_it_was)[3][1].text == "Mail Ann at ann.lee@example.com."


def test_references_are_kept_beside_the_prompt_and_scrubbed(
    run_import: Import, tmp_path: Path
) -> None:
    rows = [
        _plain(reference="4", completion="four"),
        _plain(reference="4"),
        _plain(),
        _plain(prompt="A list?", reference=["a", "b"]),
        _plain(prompt="Whom?", reference="ann@example.org"),
        _plain(prompt="None", reference=""),
    ]
    prompts = [prompt for prompt, _ in _pairs(run_import(_write(tmp_path / "x.jsonl", *rows)))]
    found = [prompt.reference for prompt in prompts]
    assert found == ["4", "4", "4", '["a","b"]', "[EMAIL_1]", None]


def test_the_column_of_references_can_be_named(run_import: Import, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", _plain(gold="4"))
    ((prompt, _),) = _pairs(run_import(path, fields={"reference": "gold"}))
    assert prompt.reference == "4"


def test_groups_named_after_people_stay_apart(run_import: Import, tmp_path: Path) -> None:
    groups = ("a@x.org", "b@x.org", "a@x.org", "sums")
    rows = [_plain(prompt=f"{n}?", group=group) for n, group in enumerate(groups)]
    pairs = _pairs(run_import(_write(tmp_path / "x.jsonl", *rows)))
    assert [prompt.group for prompt, _ in pairs] == ["group-1", "group-2", "group-1", "sums"]


_BAD_ROWS = {
    "not_json": "{",
    "not_an_object": "[1]",
    "no_prompt": json.dumps({"completion": "x", "prompt": " "}),
    "no_answer": json.dumps({"messages": [{"role": "user", "content": "x"}]}),
    "unknown_role": json.dumps(_plain(messages=[{"role": "narrator", "content": "x"}])),
    "not_text": json.dumps(
        _plain(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
    ),
    "malformed": json.dumps(_plain(created="yesterday")),
    "unknown_split": json.dumps(_plain(split="some")),
    "both_splits": json.dumps(_plain(split="held_out")),
    "other_reference": json.dumps(_plain(reference="5")),
}


@pytest.mark.parametrize("reason", _BAD_ROWS)
def test_a_bad_row_is_dropped_by_reason(run_import: Import, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(_plain())}\n{_BAD_ROWS[reason]}\n", encoding="utf-8")
    counts = run_import(path, max_failure_fraction=0.5).manifest.counts
    assert (counts.kept, counts.dropped) == (1, {reason: 1})

    with pytest.raises(TooManyFailuresError, match=r"1 of 2 rows .* the first is line 2: "):
        run_import(path, max_failure_fraction=0.4)


def test_a_lone_surrogate_is_a_bad_row_in_every_container(
    run_import: Import, tmp_path: Path
) -> None:
    bad = r'{"prompt": "x\ud800", "completion": "y"}'
    for name, text in (
        ("x.jsonl", f"{json.dumps(_plain())}\n{bad}\n"),
        ("x.json", f"[{json.dumps(_plain())},{bad}]"),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        counts = run_import(path, max_failure_fraction=0.5).manifest.counts
        assert (counts.kept, counts.num_in) == (1, 2)


def test_an_unknown_export_names_its_fields(run_import: Import, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", {"utterance": "a", "reply": "b"})
    with pytest.raises(ConfigError, match=r"its fields: reply, utterance.*fields\.prompt=NAME"):
        run_import(path)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("x.jsonl", b"", DataError, "has no rows"),
        ("x.txt", b"hello", ConfigError, r"read from \.jsonl"),
        ("x.json", b'[{"prompt": "a", "completion": "b"}, {"prompt"', DataError, "after row 1"),
        ("x.json", b'[{"prompt": "\xff"}]', DataError, "not valid UTF-8"),
        ("x.csv", b"prompt,completion\na,\xff\n", DataError, "not valid UTF-8"),
        ("x.jsonl", b'{"prompt": "a", "completion": ""}', DataError, "no answer.*empty 1"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(
    run_import: Import,
    tmp_path: Path,
    name: str,
    content: bytes,
    error: type[Exception],
    message: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        run_import(path)


def test_a_missing_file_is_named_whatever_the_format(run_import: Import, tmp_path: Path) -> None:
    for name in ("auto", "plain"):
        with pytest.raises(ConfigError, match=r"missing\.csv does not exist"):
            run_import(tmp_path / "missing.csv", format=name)


def test_a_file_that_changes_under_an_import_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", *[_plain(prompt=f"{n}?") for n in range(5)])

    def change(_: object) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_plain()) + "\n")

    with pytest.raises(DataError, match="changed while it was read"):
        import_completions(path, tmp_path / "out", config=ImportConfig(), on_progress=change)
    assert (
        import_completions(path, tmp_path / "out", config=ImportConfig()).manifest.counts.kept > 5
    )


def test_the_same_import_is_not_done_twice(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", _plain())
    first = import_completions(path, tmp_path / "out", config=ImportConfig())
    again = import_completions(path, tmp_path / "out", config=ImportConfig())
    assert again.manifest == first.manifest
    _write(path, _plain(completion="four"))
    with pytest.raises(ConfigError, match="--force"):
        import_completions(path, tmp_path / "out", config=ImportConfig())
