"""Students made by removing heads, neurons and channels: what stays, and that it still works."""

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import small_models
import torch
import transformers
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.models import (
    START_NAME,
    GenerationJob,
    KeptSizes,
    LanguageModel,
    StudentStart,
    begin_student,
    choose_start,
    generate,
    layer_change,
    layer_loss_rise,
    load_model,
    random_start,
    save_model,
    width_importance,
)

torch.set_num_threads(1)

PROMPT = list(range(20, 40))
WHOLE = KeptSizes(heads=4, neurons=64, channels=32)
NARROW = KeptSizes(layers=(0, 1, 3), heads=2, neurons=24, channels=20)


@pytest.fixture(params=sorted(small_models.FAMILIES))
def whole(request: pytest.FixtureRequest, tiny_folder: Path) -> LanguageModel:
    return small_models.make(small_models.FAMILIES[request.param](), tiny_folder)


@pytest.fixture(scope="module")
def texts() -> list[EncodedExample]:
    generator = torch.Generator().manual_seed(7)
    return [
        EncodedExample(
            ids=tuple(torch.randint(3, 400, (length,), generator=generator).tolist()), num_prompt=4
        )
        for length in (9, 30, 14, 21)
    ]


@torch.no_grad()
def logits_of(network: Any, prompt: Sequence[int] = PROMPT) -> Tensor:
    logits: Tensor = network(input_ids=torch.tensor([list(prompt)]), use_cache=False).logits
    return logits


def loss_of(network: Any, texts: Sequence[EncodedExample]) -> float:
    """Mean loss in nats over completion tokens, from whole logits."""
    losses = [
        torch.nn.functional.cross_entropy(
            logits_of(network, text.ids)[0, text.num_prompt - 1 : -1].double(),
            torch.tensor(text.completion_ids),
            reduction="none",
        )
        for text in texts
    ]
    return float(torch.cat(losses).mean())


def test_with_everything_kept_the_outputs_are_the_bases_bit_for_bit(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    start = choose_start(whole, WHOLE, texts)
    assert start.is_narrower
    student = begin_student(whole, start, name="student")
    assert torch.equal(logits_of(student.network), logits_of(whole.network))
    before, after = whole.network.state_dict(), student.network.state_dict()
    assert before.keys() == after.keys()
    assert not {t.data_ptr() for t in before.values()} & {t.data_ptr() for t in after.values()}


def without(whole: LanguageModel, groups: Sequence[int], neurons: Sequence[int]) -> Any:
    """A copy of the base in which what is not kept adds nothing."""
    network = copy.deepcopy(whole.network)
    head_dim = network.model.layers[0].self_attn.head_dim
    with torch.no_grad():
        for layer in network.model.layers:
            for group in set(range(2)) - set(groups):
                layer.self_attn.o_proj.weight[:, 2 * group * head_dim :][:, : 2 * head_dim] = 0.0
            for neuron in set(range(64)) - set(neurons):
                layer.mlp.down_proj.weight[:, neuron] = 0.0
    return network


def test_removing_heads_and_neurons_is_the_same_as_silencing_them(whole: LanguageModel) -> None:
    neurons = tuple(range(3, 60, 2))
    for group in range(2):
        start = StudentStart(groups=((group,),) * 4, neurons=(neurons,) * 4)
        student = begin_student(whole, start, name="student")
        silenced = logits_of(without(whole, [group], neurons))
        torch.testing.assert_close(logits_of(student.network), silenced, atol=2e-4, rtol=1e-4)
        assert not torch.allclose(silenced, logits_of(whole.network), atol=1e-2)
        attention = student.network.model.layers[0].self_attn
        assert attention.q_proj.out_features == 2 * attention.k_proj.out_features


def test_removed_channels_that_carry_nothing_are_not_missed(whole: LanguageModel) -> None:
    """Channels that nothing writes: the norms then differ only by a constant factor."""
    dead = (1, 4, 9, 16)
    network = whole.network
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                weight[:, dead] = 0.0
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight[list(dead)] = 0.0
    kept = tuple(index for index in range(32) if index not in dead)
    student = begin_student(whole, StudentStart(channels=kept), name="student")
    factor = (len(kept) / 32) ** 0.5  # of x / rms(x) when zeros leave the mean
    student_embedding = student.network.get_input_embeddings()
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        torch.testing.assert_close(
            student_embedding(ids), network.get_input_embeddings()(ids)[..., list(kept)]
        )
        stream = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
        stream[:, list(dead)] = 0.0
        wanted = network.model.norm(stream) @ network.get_output_embeddings().weight.T * factor
        found = student.network.model.norm(stream[:, list(kept)])
        found = found @ student.network.get_output_embeddings().weight.T
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)


def test_a_tied_gemma_keeps_its_embedding_and_its_logits(tiny_folder: Path) -> None:
    tied = small_models.make(small_models.gemma3(tie_word_embeddings=True), tiny_folder)
    test_removed_channels_that_carry_nothing_are_not_missed(tied)


def activations(
    whole: LanguageModel, texts: Sequence[EncodedExample], name: str, *, of_input: bool
) -> list[Tensor]:
    """What goes into or comes out of one module, a (T, width) array for each text."""
    seen: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((inputs[0] if of_input else output)[0].double())

    handle = whole.network.get_submodule(name).register_forward_hook(keep)
    for text in texts:
        logits_of(whole.network, text.ids)
    handle.remove()
    return seen


def brute_force(
    whole: LanguageModel, texts: Sequence[EncodedExample], sizes: KeptSizes
) -> StudentStart:
    """The same choice, one part at a time, by plain loops."""
    groups, neurons = [], []
    for layer in range(4):
        mixed = activations(whole, texts, f"model.layers.{layer}.self_attn.o_proj", of_input=True)
        per_group = [
            sum(float(one[:, 16 * g : 16 * g + 16].norm()) for one in mixed) for g in (0, 1)
        ]
        groups.append(best_of(per_group, 1))
        inner = activations(whole, texts, f"model.layers.{layer}.mlp.down_proj", of_input=True)
        per_neuron = [sum(float(one[:, i].norm()) for one in inner) for i in range(64)]
        neurons.append(best_of(per_neuron, sizes.neurons or 64))
    per_channel = [0.0] * 32
    for name, _ in whole.network.named_modules():
        if name.endswith("norm") and "self_attn" not in name:
            for one in activations(whole, texts, name, of_input=False):
                per_channel = [
                    total + float(one[:, i].norm()) for i, total in enumerate(per_channel)
                ]
    return StudentStart(
        groups=tuple(groups),
        neurons=tuple(neurons),
        channels=best_of(per_channel, sizes.channels or 32),
    )


def best_of(values: Sequence[float], num_kept: int) -> tuple[int, ...]:
    return tuple(sorted(sorted(range(len(values)), key=lambda i: -values[i])[:num_kept]))


def test_what_is_kept_is_what_a_brute_force_names(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    sizes = KeptSizes(heads=2, neurons=17, channels=20)
    start = choose_start(whole, sizes, texts)
    assert start == brute_force(whole, texts, sizes)
    assert start.neurons is not None
    assert len(set(start.neurons)) == 4  # each layer has a choice of its own


def test_channels_are_chosen_for_the_layers_that_stay(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    importance = width_importance(whole, texts)
    start = choose_start(whole, KeptSizes(layers=(1, 2), channels=8), texts)
    wanted = importance.channels_LD[1] + importance.channels_LD[2] + importance.final_channels_D
    assert start.channels == best_of(wanted.tolist(), 8)
    neurons = choose_start(whole, KeptSizes(layers=(1, 2), neurons=8), texts).neurons
    assert neurons == tuple(best_of(importance.neurons_LI[layer].tolist(), 8) for layer in (1, 2))


def test_layers_by_cosine_are_those_that_turn_the_stream_most(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    per_layer: list[list[Tensor]] = [[] for _ in range(4)]
    for text in texts:
        with torch.no_grad():
            states = whole.network.model(
                input_ids=torch.tensor([text.ids]), use_cache=False, output_hidden_states=True
            ).hidden_states
        for layer, (before, after) in enumerate(itertools.pairwise(states[:4])):
            dot = (before.double() * after.double()).sum(-1)
            cosine = dot / before.double().norm(dim=-1) / after.double().norm(dim=-1)
            per_layer[layer].append(1.0 - cosine.flatten())
    # transformers gives the last layer's output after the norm only: the first three are compared.
    wanted = torch.stack([torch.cat(parts).mean() for parts in per_layer[:3]])
    found = layer_change(whole, texts)
    torch.testing.assert_close(found[:3], wanted, atol=1e-6, rtol=1e-5)
    start = choose_start(whole, KeptSizes(layers=2), texts, layers_by="cosine")
    assert start.layers == best_of(found.tolist(), 2)


def test_layers_by_loss_are_those_that_are_missed_most(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    rises = []
    for layer in range(4):
        rest = tuple(index for index in range(4) if index != layer)
        without_it = begin_student(whole, StudentStart(layers=rest), name="one less")
        rises.append(loss_of(without_it.network, texts) - loss_of(whole.network, texts))
    found = layer_loss_rise(whole, texts)
    torch.testing.assert_close(found, torch.tensor(rises).double(), atol=1e-4, rtol=1e-4)
    start = choose_start(whole, KeptSizes(layers=3), texts, layers_by="loss")
    assert start.layers == best_of(found.tolist(), 3)


def test_measuring_leaves_the_base_as_it_was(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    before = logits_of(whole.network)
    width_importance(whole, texts)
    layer_change(whole, texts)
    layer_loss_rise(whole, texts)
    assert torch.equal(logits_of(whole.network), before)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        for module in whole.network.modules()
    )


def test_a_student_smaller_in_every_way_saves_loads_and_generates(
    whole: LanguageModel, texts: list[EncodedExample], tmp_path: Path
) -> None:
    student = begin_student(whole, choose_start(whole, NARROW, texts), name="student")
    save_model(student, tmp_path)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    wanted = logits_of(student.network)
    assert torch.equal(logits_of(opened), wanted)
    ours = load_model(tmp_path)
    assert torch.equal(logits_of(ours.network), wanted)
    assert ours.num_parameters == student.num_parameters < whole.num_parameters / 2
    ids = torch.tensor([PROMPT])
    by_transformers = opened.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=10,
        eos_token_id=2,
        pad_token_id=2,
    )
    jobs = [[GenerationJob(key="a", prompt_ids=tuple(PROMPT), max_tokens=10)]]
    (group,) = generate(ours, lambda limit: jobs.pop() if jobs else [])
    assert by_transformers[0, len(PROMPT) :].tolist() == group[0].ids.tolist()


def test_a_tied_head_stays_tied(tiny_folder: Path, texts: list[EncodedExample]) -> None:
    whole = load_model(tiny_folder)
    student = begin_student(whole, choose_start(whole, NARROW, texts), name="student")
    head = student.network.get_output_embeddings().weight
    assert head is student.network.get_input_embeddings().weight
    assert head.shape == (400, 20)


def test_making_a_student_draws_nothing_from_the_global_generator(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    before = torch.get_rng_state()
    begin_student(whole, choose_start(whole, NARROW, texts), name="student")
    begin_student(whole, random_start(whole, NARROW, seed=3), name="student")
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_follow_from_the_seed_and_nothing_of_the_base_is_left(
    whole: LanguageModel,
) -> None:
    students = [
        begin_student(whole, random_start(whole, NARROW, seed=seed), name="student").network
        for seed in (1, 1, 2)
    ]
    assert torch.equal(logits_of(students[0]), logits_of(students[1]))
    assert not torch.equal(logits_of(students[0]), logits_of(students[2]))
    matrix = students[0].model.layers[0].mlp.up_proj.weight
    assert matrix.shape == (24, 20)
    pieces = whole.network.model.layers[0].mlp.up_proj.weight[:24, :20]
    assert not bool((matrix == pieces).any())
    assert students[0].config.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (KeptSizes(heads=3), r"heads=3, but .* 4 heads .* each 2 share .* multiple of 2 up to 4"),
        (KeptSizes(heads=0), "multiple of 2 up to 4"),
        (KeptSizes(heads=6), "multiple of 2 up to 4"),
        (KeptSizes(neurons=65), "mlp=65, but the model has 64. Give a number from 1 to 64"),
        (KeptSizes(neurons=0), "from 1 to 64"),
        (KeptSizes(channels=33), "hidden=33, but the model has 32"),
        (KeptSizes(layers=5), "the model has 4 layers"),
        (KeptSizes(layers=(0, 4)), "indices from 0 to 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    tiny_folder: Path, texts: list[EncodedExample], sizes: KeptSizes, message: str
) -> None:
    whole = load_model(tiny_folder)
    with pytest.raises(ConfigError, match=message):
        choose_start(whole, sizes, texts)
    with pytest.raises(ConfigError, match=message):
        random_start(whole, sizes, seed=0)


def test_a_width_that_transformers_would_not_open_is_refused(
    whole: LanguageModel, texts: list[EncodedExample]
) -> None:
    with pytest.raises(ConfigError, match=r"hidden=30 with 4 heads.*multiple of the number"):
        begin_student(whole, choose_start(whole, KeptSizes(channels=30), texts), name="student")


def test_importance_needs_text(tiny_folder: Path) -> None:
    whole = load_model(tiny_folder)
    for sizes, by in ((KeptSizes(neurons=3), "even"), (KeptSizes(layers=3), "loss")):
        with pytest.raises(DataError, match="measured on text and there is none"):
            choose_start(whole, sizes, [], layers_by=by)  # type: ignore[arg-type]
    assert choose_start(whole, KeptSizes(layers=3), []).layers == (0, 2, 3)


def test_another_architecture_is_refused_inside_its_layers_only(tiny_folder: Path) -> None:
    config = transformers.Phi3Config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=2,
    )
    fused = small_models.make(config, tiny_folder)
    with pytest.raises(ConfigError, match=r"phi3 model cannot be pruned inside its layers .*qkv"):
        choose_start(fused, KeptSizes(neurons=8), [])
    start = choose_start(fused, KeptSizes(layers=2), [])
    assert begin_student(fused, start, name="student").num_layers == 2


def test_norms_over_several_heads_are_refused(tiny_folder: Path) -> None:
    shared = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "pad_token_id": 2}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    olmo = small_models.make(transformers.Olmo2Config(**shared, **heads), tiny_folder)
    with pytest.raises(ConfigError, match="norms over several heads"):
        choose_start(olmo, KeptSizes(heads=2), [])


def test_how_a_student_began_is_read_back(tmp_path: Path) -> None:
    start = StudentStart(layers=(0, 2), neurons=((1, 2), (0, 5)), channels=(3, 4))
    start.write(tmp_path / START_NAME)
    assert StudentStart.read(tmp_path) == start


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"layer": [1]}', b'{"layers": "all"}'])
def test_a_student_that_does_not_say_how_it_began_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / START_NAME).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"start\.json does not say how the student began"):
        StudentStart.read(tmp_path)


def test_a_shape_needs_no_weights(tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny_folder / name).exists():
            (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    with pytest.raises(IntegrityError):
        load_model(tmp_path)
    blank = load_model(tmp_path, is_blank=True)
    assert blank.revision is None
    student = begin_student(blank, random_start(blank, KeptSizes(layers=2), seed=5), name="s")
    same = load_model(tiny_folder)
    wanted = begin_student(same, random_start(same, KeptSizes(layers=2), seed=5), name="s")
    assert torch.equal(logits_of(student.network), logits_of(wanted.network))
