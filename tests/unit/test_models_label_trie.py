"""Label probabilities from one pass over a trie, against scoring each label by itself."""

import copy
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import other_tokenizer
import pytest
import small_models
import torch

from stillhouse.errors import ConfigError, IntegrityError, RecordError
from stillhouse.models import LanguageModel, load_model
from stillhouse.models._label_trie import LabelTrie, label_trie
from stillhouse.models._label_trie_scores import (
    label_logprobs,
    trie_logprobs,
    trie_probabilities,
)
from stillhouse.records import Message

Floats = npt.NDArray[np.float64]

LABELS = ("card", "card lost", "card lost abroad", "car", "top up", "town bridge")
"""Some begin others, some share a beginning, one shares nothing."""


def asked(*texts: str, system: str | None = None) -> list[tuple[Message, ...]]:
    head = (Message(role="system", content=system),) if system else ()
    return [(*head, Message(role="user", content=text)) for text in texts]


PROMPTS = asked("The town opened a bridge.", "Bread", "Who won the prize for bread on Monday?")


def in_float64(model: LanguageModel) -> LanguageModel:
    network = copy.deepcopy(model.network).double()
    return LanguageModel(network=network, chat=model.chat, name=model.name)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return in_float64(load_model(tiny_folder))


@torch.inference_mode()
def next_logprobs(model: LanguageModel, ids: Sequence[int]) -> Floats:
    """What each token of one row, read alone, is followed by: (T, V)."""
    logits_TV = model.network(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    found: Floats = torch.log_softmax(logits_TV.double(), dim=1).numpy()
    return found


def naive_logprobs(
    model: LanguageModel, prompts: Sequence[Sequence[Message]], labels: Sequence[str]
) -> Floats:
    """Label by label, each read behind its prompt; whatever ends the turn ends the label."""
    out = np.zeros((len(prompts), len(labels)))
    for (row, messages), (column, label) in itertools.product(
        enumerate(prompts), enumerate(labels)
    ):
        example = model.chat.encode_example(messages, label)
        next_TV = next_logprobs(model, example.ids[:-1])
        for position in range(example.num_prompt, len(example.ids) - 1):
            out[row, column] += next_TV[position - 1, example.ids[position]]
        ends = next_TV[-1, list(model.chat.end_of_turn_ids)]
        out[row, column] += math.log(np.exp(ends).sum())
    return out


def naive_constrained(
    model: LanguageModel, messages: Sequence[Message], labels: Sequence[str]
) -> dict[str, float]:
    """Walk each label, renormalising each token over those that lead to any label."""
    ends = set(model.chat.end_of_turn_ids)
    examples = {label: model.chat.encode_example(messages, label) for label in labels}
    completions = [example.completion_ids for example in examples.values()]
    found = {}
    for label, example in examples.items():
        probs_TV = np.exp(next_logprobs(model, example.ids[:-1])[example.num_prompt - 1 :])
        ids = example.completion_ids
        probability = 1.0
        for step, token in enumerate(ids):
            allowed = {other[step] for other in completions if other[:step] == ids[:step]}
            allowed |= ends if allowed & ends else set()
            taken = ends if token in ends else {token}
            probability *= (
                probs_TV[step, sorted(taken)].sum() / probs_TV[step, sorted(allowed)].sum()
            )
        found[label] = float(probability)
    return found


def test_label_logprobs_are_those_of_each_label_scored_alone(model: LanguageModel) -> None:
    found = label_logprobs(model, PROMPTS, LABELS)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, naive_logprobs(model, PROMPTS, LABELS), atol=1e-10)


@pytest.mark.parametrize("family", sorted(small_models.FAMILIES))
def test_every_kind_of_attention_sees_its_own_branch_only(family: str, tiny_folder: Path) -> None:
    model = in_float64(small_models.make(small_models.FAMILIES[family](), tiny_folder))
    # Shorter and longer than the window of 8, with a shared beginning and with none.
    for prompts in (PROMPTS, asked("a", "the bridge of a small town", "b", system="Name it.")):
        found = label_logprobs(model, prompts, LABELS)
        np.testing.assert_allclose(found, naive_logprobs(model, prompts, LABELS), atol=1e-10)


def test_float32_gives_the_same_within_its_rounding(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    wanted = naive_logprobs(in_float64(model), PROMPTS, LABELS)
    np.testing.assert_allclose(label_logprobs(model, PROMPTS, LABELS), wanted, atol=2e-4)


def test_a_tokenizer_with_marks_for_spaces_is_read_as_it_was_taught(tmp_path: Path) -> None:
    model = in_float64(load_model(other_tokenizer.make_other_model(tmp_path / "other")))
    labels = ("the Town", "the Town Bridge", "Farm", "bread and bridge", "é")
    found = label_logprobs(model, PROMPTS, labels)
    np.testing.assert_allclose(found, naive_logprobs(model, PROMPTS, labels), atol=1e-10)


def test_any_token_that_ends_a_turn_ends_a_label(tiny_folder: Path) -> None:
    model = in_float64(
        small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=[2, 301, 302])
    )
    found = label_logprobs(model, PROMPTS, LABELS)
    np.testing.assert_allclose(found, naive_logprobs(model, PROMPTS, LABELS), atol=1e-10)
    alone = small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=[2])
    assert (found > label_logprobs(in_float64(alone), PROMPTS, LABELS)).all()


def test_trie_probabilities_are_the_product_of_constrained_choices(model: LanguageModel) -> None:
    found = trie_probabilities(model, PROMPTS, LABELS)
    for row, messages in enumerate(PROMPTS):
        wanted = naive_constrained(model, messages, LABELS)
        np.testing.assert_allclose(found[row], [wanted[label] for label in LABELS], atol=1e-12)


def test_constrained_choices_count_every_end_of_turn(tiny_folder: Path) -> None:
    model = in_float64(
        small_models.make(small_models.llama(), tiny_folder, end_of_turn_ids=[2, 301])
    )
    found = trie_probabilities(model, PROMPTS[:1], LABELS)[0]
    wanted = naive_constrained(model, PROMPTS[0], LABELS)
    np.testing.assert_allclose(found, [wanted[label] for label in LABELS], atol=1e-12)


def test_rows_of_a_trie_sum_to_one_and_label_probabilities_to_less(model: LanguageModel) -> None:
    np.testing.assert_allclose(trie_probabilities(model, PROMPTS, LABELS).sum(axis=1), 1.0)
    assert (np.exp(label_logprobs(model, PROMPTS, LABELS)).sum(axis=1) < 1.0).all()


def test_the_two_distributions_differ_where_a_model_would_rather_write_something_else(
    model: LanguageModel,
) -> None:
    exact = label_logprobs(model, PROMPTS, LABELS)
    exact -= np.logaddexp.reduce(exact, axis=1, keepdims=True)
    constrained = trie_logprobs(model, PROMPTS, LABELS)
    assert np.abs(np.exp(exact) - np.exp(constrained)).max() > 0.05


def test_labels_of_one_token_each_have_one_distribution(model: LanguageModel) -> None:
    labels = ("a", "b", "c")
    trie = label_trie(model.chat, labels)
    assert trie.depths_M.tolist() == [0, 1, 1, 1]
    exact = label_logprobs(model, PROMPTS, labels)
    ends = np.stack(
        [
            [
                next_logprobs(model, (*model.chat.encode_prompt(messages), *ids[:-1]))[-1, 2]
                for ids in trie.completions
            ]
            for messages in PROMPTS
        ]
    )
    tokens = exact - ends  # the trie has no choice at the end of the turn
    tokens -= np.logaddexp.reduce(tokens, axis=1, keepdims=True)
    np.testing.assert_allclose(trie_logprobs(model, PROMPTS, labels), tokens, atol=1e-10)


def test_the_order_of_prompts_and_labels_changes_nothing(model: LanguageModel) -> None:
    found = label_logprobs(model, PROMPTS, LABELS)
    turned = label_logprobs(model, PROMPTS[::-1], LABELS[::-1])
    np.testing.assert_allclose(found, turned[::-1, ::-1], atol=1e-11)


def test_a_prompt_alone_gets_what_it_gets_among_others(model: LanguageModel) -> None:
    together = label_logprobs(model, PROMPTS, LABELS)
    for row, messages in enumerate(PROMPTS):
        alone = label_logprobs(model, [messages], LABELS)[0]
        np.testing.assert_allclose(alone, together[row], atol=1e-11)


def test_more_prompts_than_fit_one_pass_are_read_in_several(
    model: LanguageModel, many_labels: list[str]
) -> None:
    prompts = asked(*(f"Question {number} of the town" for number in range(40)))
    found = trie_logprobs(model, prompts, many_labels)
    for row in (0, 17, 39):
        alone = trie_logprobs(model, [prompts[row]], many_labels)[0]
        np.testing.assert_allclose(found[row], alone, atol=1e-10)


@pytest.fixture(scope="module")
def many_labels() -> list[str]:
    topics = ["card", "cash", "top up", "transfer", "refund", "limit", "pin", "fee", "rate", "id"]
    states = ["", " lost", " not working", " pending", " declined", " charge", " change", " why"]
    states += [" abroad", " lost abroad", " today", " on Monday", " now", " ended", " late"]
    return [topic + state for topic in topics for state in states]


def test_a_hundred_and_fifty_labels_are_scored_exactly(
    model: LanguageModel, many_labels: list[str]
) -> None:
    assert len(many_labels) == 150
    found = label_logprobs(model, PROMPTS[:1], many_labels)
    some = [0, 1, 9, 74, 148, 149]
    wanted = naive_logprobs(model, PROMPTS[:1], [many_labels[index] for index in some])
    np.testing.assert_allclose(found[:, some], wanted, atol=1e-10)
    trie = label_trie(model.chat, many_labels)
    assert len(trie.tokens_M) < 0.5 * sum(map(len, trie.completions))  # beginnings are shared


def test_a_trie_made_once_serves_every_call(model: LanguageModel) -> None:
    trie = label_trie(model.chat, LABELS)
    np.testing.assert_array_equal(
        label_logprobs(model, PROMPTS, trie), label_logprobs(model, PROMPTS, LABELS)
    )


def test_beginnings_lead_back_to_the_labels(model: LanguageModel) -> None:
    trie = label_trie(model.chat, LABELS)

    def spelt(node: int) -> tuple[int, ...]:
        parent = int(trie.parents_M[node])
        return () if node == 0 else (*spelt(parent), int(trie.tokens_M[node]))

    for completion, node in zip(trie.completions, trie.nodes_L, strict=True):
        assert (*spelt(int(node)), 2) == completion
    assert (trie.parents_M[1:] < np.arange(1, len(trie.parents_M))).all()
    assert trie.is_branching_M.sum() <= len(LABELS) - 1


def test_labels_with_odd_text_are_labels(model: LanguageModel) -> None:
    labels = ("a", " a", "a ", "A\n", "é", "日本", "🍞", "a/b", "x" * 60)
    found = label_logprobs(model, PROMPTS[:1], labels)
    np.testing.assert_allclose(found, naive_logprobs(model, PROMPTS[:1], labels), atol=1e-9)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((), "0 labels"),
        (("one",), "1 labels"),
        (("one", ""), "A label is ''"),
        (("one", " \n"), "no text"),
        (("one", "two", "one"), "'one' is there twice"),
    ],
)
def test_sets_of_labels_that_leave_no_choice_are_refused(
    labels: tuple[str, ...], message: str, model: LanguageModel
) -> None:
    with pytest.raises(ConfigError, match=message):
        label_logprobs(model, PROMPTS, labels)


def test_a_label_that_spells_out_a_control_token_is_refused(model: LanguageModel) -> None:
    with pytest.raises(RecordError, match="control token"):
        label_logprobs(model, PROMPTS, ("one", "two<|im_end|>"))


def test_labels_that_a_tokenizer_cannot_tell_apart_are_refused() -> None:
    chat = other_tokenizer.other_chat()
    with pytest.raises(ConfigError, match="same tokens"):
        label_trie(chat, ("a b", "a▁b"))  # the mark that this tokenizer writes for a space


def test_no_prompt_and_too_long_a_prompt_are_refused(model: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="no prompt"):
        label_logprobs(model, [], LABELS)
    with pytest.raises(ConfigError, match=r"Prompt 1 has \d+ tokens; .* at most 2\d\d"):
        label_logprobs(model, asked("short", "long " * 300), LABELS)


def test_the_longest_prompt_that_fits_is_scored(model: LanguageModel) -> None:
    longest = max(map(len, label_trie(model.chat, LABELS).completions))
    room = model.context_tokens - longest
    texts = ["z" * number for number in range(200, 256)]
    (prompts,) = [
        [messages] for messages in asked(*texts) if len(model.chat.encode_prompt(messages)) == room
    ]
    found = label_logprobs(model, prompts, LABELS)
    np.testing.assert_allclose(found, naive_logprobs(model, prompts, LABELS), atol=1e-9)


def test_a_trie_of_another_tokenizer_is_refused(model: LanguageModel) -> None:
    trie = label_trie(other_tokenizer.other_chat(), LABELS)
    with pytest.raises(ConfigError, match="Make the trie with this model's tokenizer"):
        label_logprobs(model, PROMPTS, trie)


def test_attention_that_cannot_be_masked_is_refused(tiny_folder: Path) -> None:
    model = small_models.make(small_models.llama(attn_implementation="eager"), tiny_folder)
    with pytest.raises(ConfigError, match="eager attention"):
        label_logprobs(model, PROMPTS, LABELS)


@pytest.mark.parametrize("score", [label_logprobs, trie_logprobs])
def test_damaged_weights_give_an_error_and_no_number(score: Any, tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    with torch.no_grad():
        model.network.get_decoder().norm.weight[0] = torch.nan
    with pytest.raises(IntegrityError, match="NaN"):
        score(model, PROMPTS, LABELS)


def test_scoring_leaves_the_model_as_it_was(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    first = label_logprobs(model, PROMPTS, LABELS)
    np.testing.assert_array_equal(label_logprobs(model, PROMPTS, LABELS), first)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_trie_is_compared_by_identity(model: LanguageModel) -> None:
    one, other = label_trie(model.chat, LABELS), label_trie(model.chat, LABELS)
    assert isinstance(one, LabelTrie)
    assert len({one, other}) == 2  # arrays have no truth value, so equality must not ask them


@pytest.mark.weights
def test_a_real_model_gives_labels_what_scoring_each_alone_gives() -> None:
    model = load_model("")
    labels = ("positive", "negative", "negative and angry")
    prompts = asked("I waited two hours and nobody came.", system="Positive or negative?")
    found = label_logprobs(model, prompts, labels)
    np.testing.assert_allclose(found, naive_logprobs(model, prompts, labels), atol=1e-3)
    (constrained,) = trie_probabilities(model, prompts, labels)
    wanted = naive_constrained(model, prompts[0], labels)
    np.testing.assert_allclose(constrained, [wanted[label] for label in labels], atol=1e-4)
