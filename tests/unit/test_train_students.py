"""What a student may begin as: narrower, random, or with a low-rank update; whole runs of each."""

import json
import time
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from tiny_chain import Chain, are_same_weights, losses_of, settings, weights_of

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.models import Adapter, StudentStart, begin_student, load_model
from stillhouse.runlog import Progress
from stillhouse.settings import check_settings
from stillhouse.train import TrainConfig, train

torch.set_num_threads(1)

NARROW = {"layers": 3, "heads": 2, "mlp": 40, "hidden": 24, "importance": "loss"}
LORA = {"rank": 4, "alpha": 8}
KINDS: dict[str, dict[str, Any]] = {
    "narrow": {"prune": NARROW},
    "by cosine": {"prune": {"layers": 2, "importance": "cosine", "texts": 5}},
    "random": {"init": "random", "prune": {"layers": 2, "mlp": 16}},
    "lora": {"lora": LORA, "keep_layers": 2},
    "lora on a narrow one": {"lora": {**LORA, "targets": ["q_proj"]}, "prune": NARROW},
}


def student_of(chain: Chain, out: Path, **changes: Any) -> Path:
    values = {"keep_layers": None, "objective": "sft", **changes}
    train(chain.dataset, out, config=settings(chain, **values))
    return out


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    return KINDS[request.param]


def test_every_kind_of_student_learns_and_is_a_plain_model(
    chain: Chain, tmp_path: Path, kind: dict[str, Any]
) -> None:
    out = student_of(chain, tmp_path / "s", **kind)
    artifact = open_artifact(out, kind="student")
    check_files(artifact)
    losses = losses_of(out)
    assert losses[-1] < losses[0]
    opened = transformers.AutoModelForCausalLM.from_pretrained(out)
    ours = load_model(out)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(opened(input_ids=ids).logits, ours.network(input_ids=ids).logits)
    assert not [name for name in weights_of(out) if "lora" in name]
    assert artifact.manifest.results["parameters"] == ours.num_parameters


def test_the_untrained_student_can_be_made_again(
    chain: Chain, tmp_path: Path, kind: dict[str, Any]
) -> None:
    """A rate too small to move any weight: what is saved is what training began with."""
    out = student_of(chain, tmp_path / "s", **kind, learning_rate=1e-30, epochs=0.25)
    start = StudentStart.read(out)
    base = load_model(chain.model_dir, is_blank=start.random_seed is not None)
    network = begin_student(base, start, name="again").network
    for name, weight in weights_of(out).items():
        torch.testing.assert_close(network.state_dict()[name], weight, atol=1e-6, rtol=0.0)


def test_a_stopped_run_goes_on_to_the_same_bits(
    chain: Chain, tmp_path: Path, kind: dict[str, Any]
) -> None:
    whole = student_of(chain, tmp_path / "whole", **kind)

    def stop(progress: Progress) -> None:
        if progress.done >= 4:
            raise InterruptedError
        time.sleep(0.1)  # the ticker tells at most ten times a second

    config = settings(chain, **{"keep_layers": None, "objective": "sft", **kind}, checkpoint_s=0.0)
    with pytest.raises(InterruptedError):
        train(chain.dataset, tmp_path / "s", config=config, on_progress=stop)
    state = next((tmp_path / "s").rglob("state.json"))
    assert json.loads(state.read_text())["step"] > 0
    train(chain.dataset, tmp_path / "s", config=config)
    assert losses_of(tmp_path / "s") == losses_of(whole)
    assert are_same_weights(tmp_path / "s", whole)


def test_a_checkpoint_of_an_adapter_holds_nothing_else(chain: Chain, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done >= 2:
            raise KeyboardInterrupt
        time.sleep(0.1)

    config = settings(chain, objective="sft", lora=LORA)
    with pytest.raises(KeyboardInterrupt):
        train(chain.dataset, tmp_path / "s", config=config, on_progress=stop)
    weights = next((tmp_path / "s").rglob("weights.safetensors"))
    assert weights.stat().st_size < 60_000 < (chain.model_dir / "model.safetensors").stat().st_size


# peft asks transformers 5 by a name that is to go; only its own reader does, which is used here.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_only_the_layers_with_an_adapter_change_and_it_is_saved_beside(
    chain: Chain, tmp_path: Path
) -> None:
    lora = {**LORA, "targets": ["q_proj", "down_proj"], "save_adapter": True}
    out = student_of(chain, tmp_path / "s", lora=lora)
    base, student = weights_of(chain.model_dir), weights_of(out)
    for name, weight in student.items():
        is_target = name.endswith(("q_proj.weight", "down_proj.weight"))
        assert torch.equal(weight, base[name]) != is_target
    network = transformers.AutoModelForCausalLM.from_pretrained(chain.model_dir)
    opened = peft.PeftModel.from_pretrained(network, out / "adapter").merge_and_unload()
    for name, weight in opened.state_dict().items():
        if name in student:
            torch.testing.assert_close(weight, student[name], atol=1e-6, rtol=1e-6)
    update = (
        student["model.layers.0.self_attn.q_proj.weight"]
        - base["model.layers.0.self_attn.q_proj.weight"]
    )
    singular = torch.linalg.svdvals(update.double())
    assert singular[3] > 1e-4  # of rank 4
    assert singular[4] < 1e-6


def test_an_adapter_is_the_same_for_the_same_seed(chain: Chain) -> None:
    def first_matrix(seed: int) -> torch.Tensor:
        network = load_model(chain.model_dir).network
        Adapter(network, rank=2, alpha=4, targets=None, seed=seed)
        trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        assert len(trained) == 2 * 7 * 4  # of seven linear layers in each of four blocks
        assert all("lora_" in name for name in trained)
        return trained["model.layers.0.self_attn.q_proj.lora_A.default.weight"]

    before = torch.get_rng_state()
    assert torch.equal(first_matrix(1), first_matrix(1))
    assert not torch.equal(first_matrix(1), first_matrix(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "c_attn"])
def test_an_adapter_where_the_loss_would_not_see_it_is_refused(
    chain: Chain, tmp_path: Path, target: str
) -> None:
    with pytest.raises(ConfigError, match=rf"lora.targets names \['{target}'\].*'q_proj'"):
        student_of(chain, tmp_path / "s", lora={**LORA, "targets": [target]})
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lora": LORA, "init": "random"}, "init is random; use one of them"),
        ({"prune": {"layers": 2}, "keep_layers": 2}, "put the layers into prune"),
        ({"prune": {"heads": "all"}}, "prune.heads"),
        ({"prune": {"width": 3}}, "prune.width is not a setting"),
        ({"lora": {"rank": 0}}, "lora.rank"),
        ({"lora": {"targets": []}}, "lora.targets"),
        ({"lora": {"dropout": 0.1}}, "lora.dropout is not a setting"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(TrainConfig, given, where="settings")


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ({"heads": 3}, "multiple of 2 up to 4"),
        ({"hidden": 31}, "multiple of the number of heads"),
        ({"mlp": 65}, "from 1 to 64"),
    ],
)
def test_what_does_not_fit_the_base_is_refused_before_a_folder_is_made(
    chain: Chain, tmp_path: Path, prune: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        student_of(chain, tmp_path / "s", prune=prune)
    assert not (tmp_path / "s").exists()


def test_a_head_with_a_soft_cap_is_refused_before_a_folder_is_made(
    chain: Chain, tiny_folder: Path, tmp_path: Path
) -> None:
    config = transformers.Gemma2Config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=2,
        eos_token_id=2,
    )
    transformers.Gemma2ForCausalLM(config).save_pretrained(tmp_path / "capped")
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path / "capped")
    with pytest.raises(ConfigError, match=r"final_logit_softcapping=30"):
        student_of(chain, tmp_path / "s", base=f"local:{tmp_path / 'capped'}")
    assert not (tmp_path / "s").exists()
