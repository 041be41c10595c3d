"""Drawing within a grammar: what it allows, what it leaves alone, and labels as one."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
    load_model,
    top_logprobs,
)
from stillhouse.models._constrained import Grammar
from stillhouse.models._constrained_draw import draw_within
from stillhouse.models._constrained_labels import LabelGrammar
from stillhouse.models._label_trie import label_trie
from stillhouse.models._label_trie_scores import trie_probabilities
from stillhouse.models._sampling import draw
from stillhouse.records import Message

LABELS = ("card", "card lost", "card lost abroad", "car", "top up", "town bridge")
PROMPT = (Message(role="user", content="The town opened a bridge."),)


class Only:
    """A constraint, and the grammar of it, that allows the same ids at every token."""

    def __init__(self, ids: Sequence[int], width: int = 400) -> None:
        self.allowed = np.zeros(width, dtype=np.bool_)
        self.allowed[list(ids)] = True

    def begin(self) -> "Only":
        return self

    def allowed_V(self) -> npt.NDArray[np.bool_]:
        return self.allowed

    def advance(self, token_id: int) -> None:
        assert self.allowed[token_id]


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def grammar(model: LanguageModel) -> LabelGrammar:
    return LabelGrammar(label_trie(model.chat, LABELS))


def feed(todo: Sequence[GenerationJob]) -> Callable[[int], list[GenerationJob]]:
    queue = iter(todo)
    return lambda limit: list(itertools.islice(queue, limit))


def run(
    model: LanguageModel, todo: Sequence[GenerationJob], **options: Any
) -> dict[str, Generated]:
    done = {item.key: item for group in generate(model, feed(todo), **options) for item in group}
    assert sorted(done) == sorted(job.key for job in todo)
    return done


def label_jobs(
    model: LanguageModel, grammar: Grammar | None, number: int, **settings: Any
) -> list[GenerationJob]:
    ids = model.chat.encode_prompt(PROMPT)
    return [
        GenerationJob(
            key=str(index), prompt_ids=ids, max_tokens=24, seed=index, grammar=grammar, **settings
        )
        for index in range(number)
    ]


def options_of(rows: int, temperature: float) -> dict[str, Any]:
    uniform = torch.rand(rows, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return {
        "temperature_A": torch.full((rows,), temperature),
        "top_p_A": torch.ones(rows, dtype=torch.float64),
        "uniform_A": uniform,
        "top_k": 5,
    }


@pytest.fixture
def logits_AV() -> torch.Tensor:
    return 4 * torch.randn(6, 400, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_without_a_constraint_keep_their_bits(
    logits_AV: torch.Tensor, temperature: float
) -> None:
    options = options_of(6, temperature)
    wanted = draw(logits_AV, **options)
    for one, other in zip(draw_within(logits_AV, [None] * 6, **options), wanted, strict=True):
        assert torch.equal(one, other)
    mixed = draw_within(logits_AV, [None, Only([7]), None, None, Only([8, 9]), None], **options)
    free = torch.tensor([0, 2, 3, 5])
    for one, other in zip(mixed, wanted, strict=True):
        assert torch.equal(one[free], other[free])
    assert mixed.ids_A[1] == 7
    assert mixed.ids_A[4] in (8, 9)


def test_a_greedy_row_takes_the_best_of_what_is_allowed(logits_AV: torch.Tensor) -> None:
    allowed = [11, 50, 399]
    drawn = draw_within(logits_AV, [Only(allowed)] * 6, **options_of(6, 0.0))
    best = [allowed[int(logits_AV[row, allowed].argmax())] for row in range(6)]
    assert drawn.ids_A.tolist() == best


def test_sampled_rows_follow_the_renormalised_distribution() -> None:
    logits_V = torch.randn(400, generator=torch.Generator().manual_seed(5))
    rows, allowed = 20_000, [3, 90, 200, 201]
    drawn = draw_within(
        logits_V.expand(rows, -1).contiguous(), [Only(allowed)] * rows, **options_of(rows, 1.0)
    )
    wanted = torch.softmax(logits_V[allowed].double(), dim=0)
    found = torch.tensor([(drawn.ids_A == token).double().mean() for token in allowed])
    assert torch.allclose(found, wanted, atol=0.015)  # four standard errors at p = 0.5
    assert found.sum() == 1.0


def test_log_probabilities_are_those_of_the_whole_vocabulary(logits_AV: torch.Tensor) -> None:
    options = options_of(6, 1.0)
    drawn = draw_within(logits_AV, [Only([17])] * 6, **options)
    wanted = torch.log_softmax(logits_AV.double(), dim=1)
    assert torch.allclose(drawn.logprobs_A.double(), wanted[:, 17], atol=1e-5)
    free = draw(logits_AV, **options)
    assert torch.equal(drawn.top_ids_AK, free.top_ids_AK)
    assert torch.equal(drawn.top_logprobs_AK, free.top_logprobs_AK)


@pytest.mark.parametrize("width", [380, 400, 450])
def test_a_constraint_may_know_fewer_or_more_ids_than_the_head(
    logits_AV: torch.Tensor, width: int
) -> None:
    drawn = draw_within(logits_AV, [Only([5, 379], width)] * 6, **options_of(6, 1.0))
    assert set(drawn.ids_A.tolist()) <= {5, 379}


def test_a_constraint_that_allows_nothing_is_an_error_and_no_token(
    logits_AV: torch.Tensor,
) -> None:
    with pytest.raises(ConfigError, match="allows no token"):
        draw_within(logits_AV, [None, Only([])] + [None] * 4, **options_of(6, 0.0))
    with pytest.raises(ConfigError, match="allows no token"):  # padding of the head only
        draw_within(logits_AV[:, :390], [Only([395])] * 6, **options_of(6, 1.0))


def test_a_completion_is_one_of_the_labels(model: LanguageModel, grammar: LabelGrammar) -> None:
    done = run(model, label_jobs(model, grammar, 40, temperature=1.5), max_slots=7)
    texts = {key: model.chat.decode_completion(item.ids.tolist()) for key, item in done.items()}
    assert {reason for _, reason in texts.values()} == {"stop"}
    assert {text for text, _ in texts.values()} <= set(LABELS)
    assert len({text for text, _ in texts.values()}) > 2


def test_labels_are_drawn_as_often_as_the_trie_says(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    number = 800
    done = run(model, label_jobs(model, grammar, number, temperature=1.0))
    texts = [model.chat.decode_completion(item.ids.tolist())[0] for item in done.values()]
    (wanted,) = trie_probabilities(model, [PROMPT], LABELS)
    for label, probability in zip(LABELS, wanted, strict=True):
        error = 4 * np.sqrt(probability * (1 - probability) / number) + 1 / number
        assert abs(texts.count(label) / number - probability) < error, label


def test_greedy_decoding_takes_the_best_token_at_each_choice(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    ((item),) = run(model, label_jobs(model, grammar, 1)).values()
    trie = grammar.trie
    ids: list[int] = []
    while not ids or ids[-1] not in trie.end_ids:
        allowed = sorted(
            {one[len(ids)] for one in trie.completions if list(one[: len(ids)]) == ids}
        )
        row = torch.tensor([[*model.chat.encode_prompt(PROMPT), *ids]])
        with torch.inference_mode():
            logits_V = model.network(input_ids=row).logits[0, -1]
        ids.append(allowed[int(logits_V[allowed].argmax())])
    assert item.ids.tolist() == ids


def test_what_is_reported_is_the_models_own_distribution(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    ((item),) = run(model, label_jobs(model, grammar, 1, temperature=1.0, top_logprobs=4)).values()
    prompt_ids = model.chat.encode_prompt(PROMPT)
    example = EncodedExample(ids=(*prompt_ids, *item.ids.tolist()), num_prompt=len(prompt_ids))
    ((ids, logprobs),) = top_logprobs(model, [example], 400)
    np.testing.assert_array_equal(item.top_ids, ids[:, :4])
    np.testing.assert_allclose(item.top_logprobs, logprobs[:, :4], atol=1e-4)
    chosen = [
        row[ids[step] == token][0]
        for step, (row, token) in enumerate(zip(logprobs, item.ids, strict=True))
    ]
    np.testing.assert_allclose(item.logprobs, chosen, atol=1e-4)


def test_neighbours_with_and_without_a_grammar_do_not_meet(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    free = label_jobs(model, None, 6, temperature=0.9)
    held = [
        dataclasses.replace(job, key=f"held-{job.key}", grammar=grammar)
        for job in label_jobs(model, None, 6, temperature=0.9)
    ]
    mixed = [job for pair in zip(free, held, strict=True) for job in pair]
    together = run(model, mixed, max_slots=4)
    for todo in (free, held):
        for key, alone in run(model, todo, max_slots=128).items():
            np.testing.assert_array_equal(together[key].ids, alone.ids)


def test_a_job_that_is_cut_ends_inside_its_grammar(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    job = dataclasses.replace(label_jobs(model, grammar, 1)[0], max_tokens=1)
    ((item),) = run(model, [job]).values()
    _, reason = model.chat.decode_completion(item.ids.tolist())
    assert reason == "length"
    assert item.ids[0] in {one[0] for one in grammar.trie.completions}


def test_any_token_that_ends_a_turn_may_end_a_label(tiny_folder: Path) -> None:
    model = small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=[2, 301])
    grammar = LabelGrammar(label_trie(model.chat, LABELS))
    done = run(model, label_jobs(model, grammar, 200, temperature=3.0))
    assert {int(item.ids[-1]) for item in done.values()} == {2, 301}
    texts = {model.chat.decode_completion(item.ids.tolist())[0] for item in done.values()}
    assert texts <= set(LABELS)


def test_jobs_of_one_grammar_are_compared_without_looking_into_it(
    model: LanguageModel, grammar: LabelGrammar
) -> None:
    one, other = label_jobs(model, grammar, 1)[0], label_jobs(model, grammar, 1)[0]
    assert one == other
    assert len({one, other}) == 1
