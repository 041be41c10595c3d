import math
import time
from pathlib import Path
from typing import Any

import pytest
from asking import answers, pull_from, requests_for

from stillhouse.errors import ConfigError, LogprobsUnavailableError
from stillhouse.records import Message, Prompt, Request, Sampling
from stillhouse.teachers import check_top_logprobs, open_teacher

NEWS = "The city council of Bristol approved a plan on Tuesday to plant 4,000 trees by 2030."


def texts(spec: str, *prompts: str, **sampling: Any) -> list[str]:
    with open_teacher(spec) as teacher:
        return [c.text for c in answers(teacher, requests_for(*prompts, **sampling))]


def test_a_greedy_headline_is_made_of_the_prompts_own_words() -> None:
    assert texts("fake:", NEWS, temperature=0.0) == [
        "City Council Bristol Approved Plan Tuesday Plant Trees"
    ]


def test_an_answer_depends_on_the_request_alone() -> None:
    together = texts("fake:", NEWS, "Rain closed the mountain road again", NEWS + " It will grow.")
    alone = texts("fake:?parallel=1", NEWS + " It will grow.")
    assert together[2:] == alone


def test_samples_of_one_prompt_differ_above_temperature_zero() -> None:
    prompt = Prompt(id="p", messages=(Message(role="user", content=NEWS + " Volunteers helped."),))
    requests = [
        Request.of(prompt, teacher="fake:", sampling=Sampling(), sample_index=i) for i in range(8)
    ]
    with open_teacher("fake:") as teacher:
        assert len({completion.text for completion in answers(teacher, requests)}) > 1


def test_max_tokens_cuts_the_answer_and_says_so() -> None:
    with open_teacher("fake:") as teacher:
        (cut, whole) = [
            answers(teacher, requests_for(NEWS, max_tokens=n, temperature=0.0))[0] for n in (3, 8)
        ]
    assert (cut.text, cut.finish_reason) == ("City Council Bristol", "length")
    assert whole.finish_reason == "stop"
    assert (cut.usage.completion_tokens, cut.usage.cost_usd) == (3, 0.0)


@pytest.mark.parametrize("prompt", ["!!!", "a b", "\u5317\u4eac\u4eca\u5929\u4e0b\u96ea"])
def test_any_prompt_gets_some_text(prompt: str) -> None:
    assert texts("fake:", prompt)[0].strip()


def test_every_nth_request_fails_and_the_next_teacher_starts_counting_again() -> None:
    requests = requests_for(*"abcdefg")
    with open_teacher("fake:?fail_every=3") as teacher:
        failed = [c.prompt_id for c in answers(teacher, requests) if c.error is not None]
        assert failed == ["c", "f"]
        assert [c.error is None for c in answers(teacher, requests_for("x", "y"))] == [True, False]


def test_latency_is_paid_per_group_of_parallel_requests() -> None:
    started_s = time.monotonic()
    texts("fake:?latency_s=0.05&parallel=4", *"abcdefgh")
    assert 0.1 <= time.monotonic() - started_s < 0.35


def test_made_up_distributions_are_ordered_and_sum_to_less_than_one() -> None:
    with open_teacher("fake:?logprobs=5") as teacher:
        (completion,) = answers(teacher, requests_for(NEWS, top_logprobs=3))
        (without,) = answers(teacher, requests_for(NEWS))
    logprobs = completion.logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert "".join(logprobs.tokens) == completion.text
    assert logprobs.top_k == 3
    first = logprobs.top_logprobs[:3]
    assert list(first) == sorted(first, reverse=True)
    assert sum(math.exp(value) for value in first) < 1.0
    assert without.logprobs is None


def test_more_logprobs_than_it_has_are_refused_before_asking() -> None:
    with open_teacher("fake:?logprobs=5") as teacher:
        check_top_logprobs(teacher.info, Sampling(top_logprobs=5))
        with pytest.raises(LogprobsUnavailableError, match=r"top_logprobs=6 .* at most 5"):
            check_top_logprobs(teacher.info, Sampling(top_logprobs=6))
    with open_teacher("fake:") as teacher, pytest.raises(LogprobsUnavailableError, match="none"):
        check_top_logprobs(teacher.info, Sampling(top_logprobs=1))


def test_the_first_matching_line_of_a_script_answers(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(
        '{"match": "rain", "text": "Wet \u2028 day", "finish_reason": "length"}\n'
        "\n"
        '{"match": "sun", "error": {"type": "blinded", "message": "too bright"}}\n'
        '{"match": "", "text": "Anything"}\n',
        encoding="utf-8",
    )
    with open_teacher(f"fake:{script}?parallel=2") as teacher:
        rain, sun, both, other = answers(
            teacher, requests_for("heavy rain", "sun", "sun and rain", "fog")
        )
    assert (rain.text, rain.finish_reason) == ("Wet \u2028 day", "length")
    assert sun.error is not None
    assert (sun.error.type, sun.finish_reason) == ("blinded", "error")
    assert both.text == rain.text
    assert other.text == "Anything"


def test_a_prompt_that_no_line_matches_is_an_item_error(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "rain", "text": "Wet"}\n')
    with open_teacher(f"fake:{script}") as teacher:
        (completion,) = answers(teacher, requests_for("fog"))
    assert completion.error is not None
    assert completion.error.type == "not_scripted"
    assert "'fog'" in completion.error.message


def test_another_script_is_another_teacher(tmp_path: Path) -> None:
    ids = []
    for text in ("one", "two"):
        script = tmp_path / f"{text}.jsonl"
        script.write_text(f'{{"match": "", "text": "{text}"}}\n')
        with open_teacher(f"fake:{script}") as teacher:
            ids.append(teacher.info.id)
    assert ids[0] != ids[1]
    with open_teacher("fake:?parallel=3") as teacher:
        assert teacher.info.id == "fake:headline"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "line 1 is not JSON"),
        ('{"match": "a", "text": "b"}\n{"match": "a", "txt": "b"}', "line 2: txt"),
        ('{"text": "b"}', "line 1: match"),
        ('{"match": "a", "finish_reason": "error"}', "line 1: finish_reason 'error' needs"),
    ],
)
def test_a_wrong_script_is_refused_by_line(tmp_path: Path, content: str, message: str) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(content)
    with pytest.raises(ConfigError, match=message):
        open_teacher(f"fake:{script}")


def test_a_missing_script_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl cannot be read"):
        open_teacher("fake:nowhere.jsonl")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fake:?latency=1", "no option 'latency'. Did you mean 'latency_s'"),
        ("fake:?latency_s=-1", "latency_s='-1'"),
        ("fake:?parallel=0", "parallel='0'"),
        ("fake:?parallel=2&parallel=3", "given twice"),
        ("fake:?parallel", "not written as option=value"),
    ],
)
def test_wrong_options_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_teacher(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("models/x.gguf", "Did you mean 'gguf:models/x.gguf'"),
        ("gguff:x", "Did you mean 'gguf:'"),
        ("htps://host/v1#m", "Did you mean 'https:'"),
        ("opnai:gpt", "Did you mean 'openai:'"),
        ("nobody-near:m", "replay:DIR"),
        ("nobody-near:m", "openai"),
        ("", "fake:"),
        ("fake", "Did you mean 'fake:'"),
    ],
)
def test_an_unknown_spec_lists_the_forms_with_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_teacher(spec)
    assert message in str(caught.value)


def test_a_stream_pulls_until_nothing_is_left() -> None:
    with open_teacher("fake:?parallel=2") as teacher:
        groups = list(teacher.stream(pull_from(requests_for(*"abcde"))))
    assert [len(group) for group in groups] == [2, 2, 1]
