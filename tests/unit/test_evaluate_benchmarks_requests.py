"""Benchmarks' texts to tokens, scores of continuations, and generation up to a stop."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import other_tokenizer
import pytest
import torch

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.evaluate._benchmarks._requests import (
    TextEncoder,
    fitted,
    generation_job,
    stops_of,
)
from stillhouse.evaluate._benchmarks._scoring import score_continuations
from stillhouse.evaluate._benchmarks._until import UntilGrammar, cut_at
from stillhouse.models import GenerationJob, LanguageModel, generate, load_model


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def encoder(model: LanguageModel) -> TextEncoder:
    return TextEncoder(model.chat)


def test_a_context_and_its_continuation_are_tokenised_as_one_text(encoder: TextEncoder) -> None:
    example = encoder.pair("The town opened", " a bridge")
    assert example.ids == encoder.ids("The town opened a bridge")
    assert example.ids[: example.num_prompt] == encoder.ids("The town opened")


def test_white_space_before_a_continuation_is_part_of_it(encoder: TextEncoder) -> None:
    assert encoder.pair("The town  ", "bridge") == encoder.pair("The town", "  bridge")


def test_a_text_without_context_stands_behind_the_beginning_of_text(encoder: TextEncoder) -> None:
    example = encoder.pair("", "bridge")
    assert example.num_prompt == 1
    assert example.ids == (encoder.prefix_id, *encoder.ids("bridge"))


def test_a_continuation_without_a_token_is_refused(encoder: TextEncoder) -> None:
    for context in ("The town", ""):
        with pytest.raises(DataError, match="no token of its own"):
            encoder.pair(context, "")


def test_a_tokenizer_that_begins_texts_itself_is_heard(model: LanguageModel) -> None:
    chat = other_tokenizer.other_chat()
    assert TextEncoder(chat).ids("the Town")[0] != 2  # this one writes none
    backend = chat.tokenizer.backend_tokenizer
    from tokenizers.processors import TemplateProcessing

    backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    encoder = TextEncoder(chat)
    assert encoder.ids("the Town") == (2, *encoder.ids("the Town", is_start=False))
    assert encoder.ids("<bos>the Town").count(2) == 1  # a chat template may have written it
    assert encoder.pair("the Town", " Bridge").ids[0] == 2


def test_what_is_longer_than_the_context_loses_its_beginning() -> None:
    example = EncodedExample(tuple(range(10)), 7)
    assert fitted(example, 9) == example  # the last token is predicted and not read
    assert fitted(example, 8) == EncodedExample(tuple(range(1, 10)), 6)
    assert fitted(example, 3) == EncodedExample((6, 7, 8, 9), 1)
    with pytest.raises(DataError, match="continuation of 3 tokens; the model reads 2"):
        fitted(example, 2)


@torch.inference_mode()
def alone(model: LanguageModel, example: EncodedExample) -> tuple[float, bool]:
    """One continuation, one row, all logits."""
    logits_TV = model.network(input_ids=torch.tensor([example.ids[:-1]])).logits[0].double()
    logprobs_TV = torch.log_softmax(logits_TV, dim=1)
    targets = example.ids[example.num_prompt :]
    rows = logprobs_TV[example.num_prompt - 1 :]
    total = sum(float(row[token]) for row, token in zip(rows, targets, strict=True))
    return total, all(int(row.argmax()) == token for row, token in zip(rows, targets, strict=True))


def test_continuations_score_as_they_do_alone(model: LanguageModel, encoder: TextEncoder) -> None:
    contexts = ["The town of Aston opened", "A bakery won", "The town of Aston opened a bridge and"]
    ends = [" a bridge", " a prize for its bread", " it", " Monday"]
    examples = [encoder.pair(*pair) for pair in itertools.product(contexts, ends)]
    found = score_continuations(model, examples)
    for one, example in zip(found, examples, strict=True):
        nats, is_greedy = alone(model, example)
        assert one.logprob_nats == pytest.approx(nats, abs=1e-4)
        assert one.is_greedy == is_greedy


def test_a_continuation_that_the_model_would_write_is_greedy(model: LanguageModel) -> None:
    prompt = tuple(range(20, 30))
    job = GenerationJob(key="one", prompt_ids=prompt, max_tokens=5)
    ((item,),) = generate(model, feed([job]))
    written = (*prompt, *item.ids.tolist())
    other = (*written[:-1], (written[-1] + 1) % 300)
    found = score_continuations(model, [EncodedExample(ids, 10) for ids in (written, other)])
    assert [one.is_greedy for one in found] == [True, False]


def test_many_continuations_are_scored_in_several_passes(model: LanguageModel) -> None:
    rng = np.random.default_rng(0)
    examples = [
        EncodedExample(tuple(rng.integers(3, 300, 200 + index % 40).tolist()), 150)
        for index in range(60)
    ]
    counts: list[int] = []
    found = score_continuations(model, examples, counts.append)
    assert sum(counts) == 60
    assert len(counts) > 1
    for index in (0, 31, 59):
        nats, _ = alone(model, examples[index])
        assert found[index].logprob_nats == pytest.approx(nats, rel=1e-5)
    assert score_continuations(model, []) == []


def test_damaged_weights_give_an_error_and_no_score(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    with torch.no_grad():
        model.network.get_decoder().norm.weight[0] = torch.nan
    with pytest.raises(IntegrityError, match="NaN"):
        score_continuations(model, [EncodedExample((5, 6, 7), 2)])


def feed(todo: Sequence[GenerationJob]) -> Callable[[int], list[GenerationJob]]:
    queue = iter(todo)
    return lambda limit: list(itertools.islice(queue, limit))


def completions(model: LanguageModel, jobs: Sequence[GenerationJob]) -> dict[str, tuple[str, int]]:
    return {
        item.key: (model.chat.decode_completion(item.ids.tolist())[0], len(item.ids))
        for group in generate(model, feed(jobs), num_ids=len(model.chat.text_bytes))
        for item in group
    }


def test_a_stop_ends_a_completion_where_cutting_would(model: LanguageModel) -> None:
    free = [
        GenerationJob(
            key=str(seed), prompt_ids=(5, 6, 7, 8 + seed), max_tokens=60, temperature=1.0, seed=seed
        )
        for seed in range(30)
    ]
    stops = ["e", "to"]
    grammar = UntilGrammar(model.chat, stops)
    stopped = completions(model, [dataclasses.replace(job, grammar=grammar) for job in free])
    whole = completions(model, free)
    assert sum(stopped[key][1] < whole[key][1] for key in whole) > 20  # less is generated
    for key, (text, _) in whole.items():
        assert cut_at(stopped[key][0], stops) == cut_at(text, stops)


def test_a_stop_that_is_spread_over_tokens_is_seen(model: LanguageModel) -> None:
    chat = model.chat
    constraint = UntilGrammar(chat, ["zq\nx"]).begin()
    for character in "azq\nx":
        assert constraint.allowed_V().all()
        ((token_id,),) = chat.encode_pieces([character])
        constraint.advance(token_id)
    assert np.flatnonzero(constraint.allowed_V()).tolist() == list(chat.end_of_turn_ids)


def test_text_is_cut_at_the_first_of_its_stops() -> None:
    assert cut_at("one two three", ["three", "two"]) == "one "
    assert cut_at("one", ["two"]) == "one"
    assert cut_at("one", []) == "one"
    assert stops_of({"until": "\n"}) == ("\n",)
    assert stops_of({"until": ["\n", ""]}) == ("\n",)
    assert stops_of({}) == ()


def job_of(model: LanguageModel, context: str, **settings: Any) -> tuple[GenerationJob, bool]:
    return generation_job(
        TextEncoder(model.chat), model.chat, "k", context, settings, context_tokens=64, seed=3
    )


def test_a_request_becomes_the_job_that_it_asks_for(model: LanguageModel) -> None:
    job, is_cut = job_of(
        model, "The town", until=["\n"], max_gen_toks=9, do_sample=True, temperature=0.5
    )
    assert (job.max_tokens, job.temperature, job.seed, is_cut) == (9, 0.5, 3, False)
    assert job.grammar is not None
    greedy, _ = job_of(model, "The town", max_gen_toks=9, do_sample=False, temperature=0.5)
    assert greedy.temperature == 0.0
    assert greedy.grammar is None
    assert job_of(model, "", max_gen_toks=9)[0].prompt_ids == (1,)


def test_a_prompt_that_leaves_no_room_loses_its_beginning(model: LanguageModel) -> None:
    long = " ".join(["town"] * 60)
    job, is_cut = job_of(model, long, max_gen_toks=40)
    assert is_cut
    assert job.prompt_ids == TextEncoder(model.chat).ids(long)[-24:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 4}, "num_beams=4"),
        ({"typical_p": 0.2}, "typical_p=0.2"),
        ({"max_gen_toks": 64}, "64 generated tokens"),
        ({"max_gen_toks": 0}, "0 generated tokens"),
        ({}, "256 generated tokens"),
    ],
)
def test_ways_of_generating_that_we_have_not_are_refused(
    settings: dict[str, Any], message: str, model: LanguageModel
) -> None:
    with pytest.raises(ConfigError, match=message):
        job_of(model, "The town", **settings)
    job_of(model, "The town", num_beams=1, top_k=None, max_gen_toks=5)
