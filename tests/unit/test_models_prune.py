"""Students made by removing layers: what is kept is untouched and still works."""

import copy
import itertools
from pathlib import Path

import pytest
import small_models
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ConfigError
from stillhouse.models import (
    GenerationJob,
    LanguageModel,
    evenly_spaced_layers,
    generate,
    keep_layers,
    load_model,
    pruned,
    save_model,
)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


def greedy_of_transformers(network: object, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = network.generate(  # type: ignore[attr-defined]
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=2,
        pad_token_id=2,
    )
    found: list[int] = out[0, len(prompt) :].tolist()
    return found


def without_cache(network: object, prompt: list[int]) -> list[int]:
    """Greedy, reading the whole text again for each token: no cache index is involved."""
    ids = list(prompt)
    for _ in range(12):
        logits = network(input_ids=torch.tensor([ids]), use_cache=False).logits  # type: ignore[operator]
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == 2:
            break
    return ids[len(prompt) :]


@given(st.integers(2, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_layers_are_spread_over_the_whole_depth(numbers: tuple[int, int]) -> None:
    num_layers, num_kept = numbers
    layers = evenly_spaced_layers(num_layers, num_kept)
    assert len(layers) == len(set(layers)) == num_kept
    assert list(layers) == sorted(layers)
    assert (layers[0], layers[-1]) == (0, num_layers - 1)
    gaps = [after - before for before, after in itertools.pairwise(layers)]
    assert max(gaps) - min(gaps) <= 2


def test_spread_layers_by_hand() -> None:
    assert evenly_spaced_layers(30, 30) == tuple(range(30))
    assert evenly_spaced_layers(5, 3) == (0, 2, 4)
    assert evenly_spaced_layers(30, 2) == (0, 29)


@pytest.mark.parametrize("kept", [-1, 0, 1, 5])
def test_too_few_or_too_many_layers_are_refused(kept: int) -> None:
    with pytest.raises(ConfigError, match=rf"keep_layers={kept}.*from 2 to 4"):
        evenly_spaced_layers(4, kept)


@pytest.mark.parametrize("layers", [[], [0, 0], [2, 1], [-1, 2], [0, 4]])
def test_layers_that_the_model_does_not_have_in_that_order_are_refused(
    model: LanguageModel, layers: list[int]
) -> None:
    with pytest.raises(ConfigError, match="ascending, distinct indices from 0 to 3"):
        keep_layers(model, layers, name="student")


def test_what_is_kept_is_untouched_and_shares_nothing_with_the_teacher(
    model: LanguageModel,
) -> None:
    before = copy.deepcopy(model.network.state_dict())
    student = keep_layers(model, [0, 3], name="student")
    weights = dict(student.network.named_parameters())
    for name, weight in weights.items():
        source = name.replace("layers.1.", "layers.3.")
        assert torch.equal(weight, before[source])
        assert weight.data_ptr() != model.network.get_parameter(source).data_ptr()
    layer_weights = sum("layers.0." in name for name in before)
    assert len(weights) == len(dict(model.network.named_parameters())) - 2 * layer_weights
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(1.0)
    assert all(torch.equal(before[name], now) for name, now in model.network.state_dict().items())
    assert model.num_layers == 4
    assert (student.num_layers, student.name, student.revision) == (2, "student", None)


def test_parameters_are_counted_once(model: LanguageModel) -> None:
    student = pruned(model, 2, name="student")
    # Attention 32x32 twice and 16x32 twice, MLP 64x32 three times, two norms of 32.
    layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32
    assert model.num_parameters - student.num_parameters == 2 * layer
    assert student.num_embedding_parameters == 400 * 32
    assert student.num_parameters == 2 * layer + 400 * 32 + 32


@pytest.mark.parametrize("family", sorted(small_models.FAMILIES))
def test_a_pruned_models_cache_works(family: str, tiny_folder: Path) -> None:
    whole = small_models.make(small_models.FAMILIES[family](), tiny_folder)
    student = keep_layers(whole, [0, 1, 3], name="student")
    for prompt in ([5, 6, 7], list(range(20, 40))):
        wanted = without_cache(student.network, prompt)
        assert greedy_of_transformers(student.network, prompt) == wanted
        jobs = [[GenerationJob(key="a", prompt_ids=tuple(prompt), max_tokens=12)]]
        groups = list(generate(student, lambda limit, jobs=jobs: jobs.pop() if jobs else []))
        assert [item.ids.tolist() for group in groups for item in group] == [wanted]
        assert without_cache(whole.network, prompt) != wanted


def test_all_layers_make_the_same_model_and_none_is_shared(model: LanguageModel) -> None:
    for kept in (None, 4, [0, 1, 2, 3]):
        copied = pruned(model, kept, name="copy")
        prompt = [5, 6, 7, 8]
        assert without_cache(copied.network, prompt) == without_cache(model.network, prompt)
        assert copied.network.get_input_embeddings().weight is not (
            model.network.get_input_embeddings().weight
        )
        assert copied.name == "copy"


def test_a_student_is_trained_with_its_head_still_tied(model: LanguageModel) -> None:
    student = pruned(model, 2, name="student")
    embedding = student.network.get_input_embeddings().weight
    assert student.network.get_output_embeddings().weight is embedding


@pytest.mark.parametrize("family", sorted(small_models.FAMILIES))
def test_a_saved_student_is_a_model_folder_that_transformers_opens(
    family: str, tiny_folder: Path, tmp_path: Path
) -> None:
    whole = small_models.make(small_models.FAMILIES[family](), tiny_folder)
    student = keep_layers(whole, [1, 2, 3], name="student")
    names = save_model(student, tmp_path)
    assert names == sorted(entry.name for entry in tmp_path.iterdir())
    assert [name for name in names if name.endswith("safetensors")] == ["model.safetensors"]
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = load_model(tmp_path)
    prompt = list(range(20, 35))
    wanted = without_cache(student.network, prompt)
    assert without_cache(opened, prompt) == wanted
    assert greedy_of_transformers(ours.network, prompt) == wanted
    assert ours.num_layers == 3
    assert ours.chat.vocabulary_sha256 == whole.chat.vocabulary_sha256
    assert ours.chat.template_sha256 == whole.chat.template_sha256
    assert ours.chat.end_of_turn_ids == whole.chat.end_of_turn_ids
