"""The teacher in this process: what it is, what it answers, and what it refuses."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from asking import answers, pull_from, requests_for
from tiny_model import END_OF_TURN_ID, TEMPLATE, make_tiny_model
from watermark_cases import signed_profile

from stillhouse.errors import ConfigError, LogprobsUnavailableError, RecordError
from stillhouse.models import load_chat, load_model, locate_model, trie_logprobs
from stillhouse.records import Completion, Message, Prompt, Request, Sampling
from stillhouse.teachers import Teacher, check_top_logprobs, open_teacher
from stillhouse.teachers._local import LocalTeacher

torch.set_num_threads(1)

NUM_TOKENS = 368  # of the tokenizer; the model's head has 400 rows, as padded heads do
TEXTS = ("Headline for a town.", "Bread", "The council of a small town opened a bridge on Monday.")


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path) -> LocalTeacher:
    return LocalTeacher(str(tiny_folder))


def by_prompt(completions: list[Completion]) -> dict[str, Completion]:
    assert len({one.prompt_id for one in completions}) == len(completions)
    return {one.prompt_id: one for one in completions}


def ids_of(completion: Completion) -> tuple[int, ...]:
    assert completion.logprobs is not None
    assert completion.logprobs.token_ids is not None
    return completion.logprobs.token_ids


def test_what_it_is_is_known_without_its_weights(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "m")
    with open_teacher(f"local:{tmp_path / 'm'}") as source:
        info = source.info
        assert isinstance(source, LocalTeacher)
        assert source._model is None
        # The weights are gone before anything could have loaded them; only files were read.
        (tmp_path / "m" / "model.safetensors").unlink()
        assert source.info == info
        assert source.chat.vocabulary_sha256 == info.tokenizer_sha256
    assert info.provider == "local"
    assert info.revision is not None
    assert info.id == f"local:m@{info.revision[:12]}"
    assert info.max_top_logprobs == NUM_TOKENS


def test_other_weights_are_another_teacher(teacher: LocalTeacher, tmp_path: Path) -> None:
    other = LocalTeacher(str(make_tiny_model(tmp_path / "m", seed=1)))
    assert other.info.revision != teacher.info.revision
    assert other.info.tokenizer_sha256 == teacher.info.tokenizer_sha256
    again = LocalTeacher(str(make_tiny_model(tmp_path / "n")))
    assert again.info.revision == teacher.info.revision


def test_greedy_answers_are_those_of_transformers(teacher: LocalTeacher, tiny_folder: Path) -> None:
    requests = requests_for(*TEXTS, temperature=0.0, max_tokens=20)
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    for prompt, completion in by_prompt(answers(teacher, requests)).items():
        ids = teacher.chat.encode_prompt([Message(role="user", content=prompt)])
        prompt_ids = torch.tensor([ids])
        expected = network.generate(
            prompt_ids,
            attention_mask=torch.ones_like(prompt_ids),
            max_new_tokens=20,
            do_sample=False,
            pad_token_id=END_OF_TURN_ID,
        )[0, len(ids) :]
        assert ids_of(completion) == tuple(expected.tolist())
        is_ended = ids_of(completion)[-1] == END_OF_TURN_ID
        assert completion.finish_reason == ("stop" if is_ended else "length")
        assert completion.text == teacher.chat.tokenizer.decode(expected, skip_special_tokens=True)
        assert completion.usage.prompt_tokens == len(ids)
        assert completion.usage.completion_tokens == len(expected)
        assert completion.usage.cost_usd == 0.0


def test_an_answer_depends_on_its_request_and_not_on_its_neighbours(
    teacher: LocalTeacher,
) -> None:
    texts = [f"Headline {number}" + " for a town" * (number % 4) for number in range(12)]
    requests = requests_for(*texts, max_tokens=15)
    together = by_prompt(answers(teacher, requests))
    backwards = by_prompt(answers(teacher, requests[::-1]))
    alone = by_prompt([answer for one in requests for answer in answers(teacher, [one])])
    texts_together = {prompt: ids_of(one) for prompt, one in together.items()}
    assert texts_together == {prompt: ids_of(one) for prompt, one in backwards.items()}
    assert texts_together == {prompt: ids_of(one) for prompt, one in alone.items()}
    assert len(set(texts_together.values())) == 12


def test_samples_of_one_prompt_and_seeds_differ(teacher: LocalTeacher) -> None:
    prompt = Prompt(id="p", messages=(Message(role="user", content="Headline"),))
    requests = [
        Request.of(
            prompt, teacher="t", sampling=Sampling(max_tokens=15, seed=seed), sample_index=index
        )
        for seed in (0, 1)
        for index in range(3)
    ]
    found = {ids_of(answer) for answer in answers(teacher, requests)}
    assert len(found) == 6


def test_logprobs_are_those_of_the_tokens_it_drew(teacher: LocalTeacher) -> None:
    (completion,) = answers(teacher, requests_for("Bread", max_tokens=10, top_logprobs=3))
    logprobs = completion.logprobs
    assert logprobs is not None
    assert logprobs.top_ids is not None
    prompt_ids = teacher.chat.encode_prompt([Message(role="user", content="Bread")])
    ids = ids_of(completion)
    with torch.no_grad():
        logits_TV = teacher.model.network(input_ids=torch.tensor([[*prompt_ids, *ids]])).logits[0]
    expected_nV = logits_TV.double().log_softmax(dim=1)[len(prompt_ids) - 1 : -1]
    drawn = expected_nV[torch.arange(len(ids)), torch.tensor(ids)]
    assert list(logprobs.logprobs) == pytest.approx(drawn.tolist(), abs=1e-4)
    top = expected_nV.topk(3, dim=1)
    assert logprobs.top_k == 3
    assert list(logprobs.top_ids) == top.indices.flatten().tolist()
    assert list(logprobs.top_logprobs) == pytest.approx(top.values.flatten().tolist(), abs=1e-4)


def test_a_prompt_that_is_too_long_fails_alone(teacher: LocalTeacher) -> None:
    requests = requests_for("Bread", "q" * 300, "Town", max_tokens=8)
    found = by_prompt(answers(teacher, requests))
    error = found["q" * 300].error
    assert error is not None
    assert error.type == "prompt_too_long"
    assert not error.retryable
    assert "exceed the context of 256" in error.message
    assert found["Bread"].error is None
    assert found["Town"].error is None


def test_a_stream_of_failures_alone_still_tells_each(teacher: LocalTeacher) -> None:
    requests = requests_for(*("q" * length for length in range(300, 310)), max_tokens=8)
    found = answers(teacher, requests)
    assert [one.finish_reason for one in found] == ["error"] * 10


def test_the_longest_prompt_that_fits_is_answered(teacher: LocalTeacher) -> None:
    frame = len(teacher.chat.encode_prompt([Message(role="user", content="")]))
    fits, exceeds = "q" * (256 - frame - 8), "q" * (256 - frame - 7)
    found = by_prompt(answers(teacher, requests_for(fits, exceeds, max_tokens=8)))
    assert found[fits].error is None
    assert found[exceeds].error is not None


def test_messages_that_the_template_refuses_fail_alone(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "m")
    strict = "{% if messages[0]['content'] == 'No' %}{{ raise_exception('not No') }}{% endif %}"
    (tmp_path / "m" / "chat_template.jinja").write_text(strict + TEMPLATE)
    with LocalTeacher(str(tmp_path / "m")) as source:
        found = by_prompt(answers(source, requests_for("Bread", "No", max_tokens=4)))
    error = found["No"].error
    assert error is not None
    assert error.type == "template_refused"
    assert "not No" in error.message
    assert found["Bread"].error is None


def test_more_logprobs_than_the_vocabulary_holds_are_refused(teacher: LocalTeacher) -> None:
    check_top_logprobs(teacher.info, Sampling(top_logprobs=NUM_TOKENS))
    with pytest.raises(LogprobsUnavailableError, match=f"at most {NUM_TOKENS}"):
        check_top_logprobs(teacher.info, Sampling(top_logprobs=NUM_TOKENS + 1))


def test_closing_twice_is_allowed_and_lets_the_weights_go(tiny_folder: Path) -> None:
    with LocalTeacher(str(tiny_folder)) as source:
        assert len(answers(source, requests_for("Bread", max_tokens=2))) == 1
        assert source._model is not None
    assert source._model is None
    source.close()


def test_it_pulls_no_more_than_it_has_room_for(teacher: LocalTeacher) -> None:
    requests = requests_for(*(f"Town {number}" for number in range(300)), max_tokens=2)
    hand_out = pull_from(requests)
    num_open = most_open = 0

    def pull(limit: int) -> list[Request]:
        nonlocal num_open, most_open
        group = hand_out(limit)
        num_open += len(group)
        most_open = max(most_open, num_open)
        return group

    for group in teacher.stream(pull):
        num_open -= len(group)
    assert num_open == 0
    assert most_open <= 128  # MAX_SLOTS


def test_no_model_is_one_error_that_names_what_was_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        open_teacher(f"local:{tmp_path}")
    with pytest.raises(ConfigError, match="No model at /no/such"):
        open_teacher("local:/no/such")


def test_a_model_without_a_template_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").unlink(missing_ok=True)
    settings = tmp_path / "m" / "tokenizer_config.json"
    kept = {
        name: value
        for name, value in json.loads(settings.read_text()).items()
        if name != "chat_template"
    }
    settings.write_text(json.dumps(kept))
    source: Teacher = LocalTeacher(str(tmp_path / "m"))
    with pytest.raises(ConfigError, match="has no chat template"):
        _ = source.info


LABELS = ("bread", "town", "bread and butter")


def labelled(*texts: str, labels: tuple[str, ...] = LABELS, **sampling: object) -> list[Request]:
    return [
        Request.of(
            Prompt(id=text, messages=(Message(role="user", content=text),), labels=labels),
            teacher="t",
            sampling=Sampling.model_validate(sampling),
        )
        for text in texts
    ]


def test_a_prompt_with_labels_is_answered_with_the_likeliest_and_the_probability_of_each(
    teacher: LocalTeacher, tiny_folder: Path
) -> None:
    found = by_prompt(answers(teacher, labelled(*TEXTS, temperature=1.0)))
    asked = [(Message(role="user", content=text),) for text in TEXTS]
    expected_NL = trie_logprobs(load_model(str(tiny_folder)), asked, LABELS)
    for text, logprobs_L in zip(TEXTS, expected_NL, strict=True):
        probabilities = found[text].label_probabilities
        assert probabilities is not None
        assert set(probabilities) == set(LABELS)
        assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-9)
        for label, logprob in zip(LABELS, logprobs_L, strict=True):
            assert math.log(probabilities[label]) == pytest.approx(logprob, abs=1e-4)
        assert found[text].text == LABELS[int(logprobs_L.argmax())]
        assert found[text].usage.cost_usd == 0.0


def test_requests_for_labels_and_for_text_are_answered_beside_each_other(
    teacher: LocalTeacher,
) -> None:
    texts, choices = requests_for("a", "b", "c", max_tokens=4), labelled("d", "e", "f")
    mixed = [one for pair in zip(texts, choices, strict=True) for one in pair]
    found = by_prompt(answers(teacher, mixed))
    assert len(found) == 6
    assert all(found[name].label_probabilities is None for name in "abc")
    assert all(found[name].text in LABELS for name in "def")
    alone = by_prompt(answers(teacher, requests_for("a", "b", "c", max_tokens=4)))
    assert {name: found[name].text for name in "abc"} == {k: v.text for k, v in alone.items()}


def test_each_prompt_has_its_own_labels(teacher: LocalTeacher) -> None:
    other = ("cake", "tea")
    found = by_prompt(answers(teacher, [*labelled("a"), *labelled("b", labels=other)]))
    assert found["a"].text in LABELS
    assert found["b"].text in other


def test_it_writes_where_it_is_told_to_or_tokens_are_wanted(tiny_folder: Path) -> None:
    with open_teacher(f"local:{tiny_folder}?answers=text") as source:
        assert not source.info.reads_labels
    with open_teacher(f"local:{tiny_folder}") as source:
        assert source.info.reads_labels
        (found,) = answers(source, labelled("a", top_logprobs=2, max_tokens=3))
    assert found.label_probabilities is None
    assert found.logprobs is not None
    with pytest.raises(ConfigError, match="has no option 'answer'"):
        open_teacher(f"local:{tiny_folder}?answer=text")


def test_a_prompt_too_long_for_the_longest_label_fails_alone(teacher: LocalTeacher) -> None:
    found = by_prompt(answers(teacher, labelled("short", "long " * 300)))
    error = found["long " * 300].error
    assert error is not None
    assert error.type == "prompt_too_long"
    assert "leave room for the longest label" in error.message
    assert found["short"].error is None


def test_a_label_that_spells_a_control_token_ends_the_run(teacher: LocalTeacher) -> None:
    with pytest.raises(RecordError, match="control token"):
        answers(teacher, labelled("a", labels=("x", "<|im_end|>")))


def test_a_model_whose_attention_cannot_be_masked_is_told_to_write(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    with LocalTeacher(str(folder)) as source:
        source.model.network.config._attn_implementation = "eager"
        with pytest.raises(ConfigError, match=r"answers=text"):
            answers(source, labelled("a"))


def test_answers_are_recorded_while_others_are_still_to_be_asked(teacher: LocalTeacher) -> None:
    requests = labelled(*[f"q{n}" for n in range(70)])
    groups = teacher.stream(pull_from(requests))
    assert len(next(groups)) == 64
    assert len(next(groups)) == 6


def test_a_key_that_is_named_marks_wherever_it_is(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "none"))
    tokenizer = load_chat(locate_model(tiny_folder)).vocabulary_sha256
    path, profile = signed_profile(tmp_path / "keys", tokenizer_sha256=tokenizer)
    spec = f"local:{tiny_folder}?watermark={path}"
    with pytest.raises(ConfigError, match="no watermark key is in"):
        open_teacher(spec)
    key = tmp_path / "keys" / "mark.watermark-key"
    with open_teacher(f"{spec}&watermark_key={key}") as teacher:
        assert teacher.info.watermark is not None
        assert teacher.info.watermark.profile_id == profile.profile_id
    with pytest.raises(ConfigError, match="has no option 'watermark_keys'"):
        open_teacher(f"{spec}&watermark_keys={key}")
