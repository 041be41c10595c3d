"""Finding and opening models, and what is said of those that cannot be opened."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_process import run_there

from stillhouse import models
from stillhouse.artifacts import weights_revision
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.models import ModelFolder, load_chat, load_model, locate_model


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_folder_is_opened_in_float32_and_not_for_training(folder: Path) -> None:
    model = load_model(folder)
    assert model.name == "tiny"
    assert model.revision == weights_revision(folder)
    assert (model.num_layers, model.context_tokens) == (4, 256)
    assert not model.network.training
    assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}


def test_weights_of_half_precision_are_widened(folder: Path) -> None:
    model = load_model(folder)
    wide = {name: weight.bfloat16().float() for name, weight in model.network.named_parameters()}
    model.network.bfloat16().save_pretrained(folder)
    again = load_model(str(folder))
    for name, weight in again.network.named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, wide[name])


def test_the_name_is_that_of_the_folder_however_it_is_given(folder: Path) -> None:
    with contextlib.chdir(folder):
        assert locate_model(".").name == "tiny"


def test_a_hub_name_is_taken_as_one_only_where_no_folder_is_meant(tmp_path: Path) -> None:
    assert locate_model("org/model-1.5") == ModelFolder("org/model-1.5", "model-1.5", False)
    assert locate_model("org/model-1.5").revision is None
    for source in (tmp_path / "missing", "a/b/c", "missing", "./missing"):
        with pytest.raises(ConfigError, match="No model at"):
            locate_model(source)


def test_a_folder_that_is_missing_is_not_only_looked_for_on_the_hub(tmp_path: Path) -> None:
    ran = run_there("serve", "run/student", "--port", "0", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert ran.code == 2
    assert "error: There is no folder run/student here, and the model of that name" in ran.err


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        locate_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "{", '{"a": 1}'])
def test_damaged_files_are_named_in_one_line(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(IntegrityError, match="cannot be loaded") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_cut_off_weights_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match=str(folder)):
        load_model(folder)


def test_weights_that_do_not_fit_the_configuration_are_refused(folder: Path) -> None:
    edit(folder / "config.json", lambda config: config.update(num_hidden_layers=5))
    with pytest.raises(IntegrityError, match=r"lacks 9 of the weights.*model\.layers\.4\."):
        load_model(folder)


def test_the_end_of_turn_is_found_wherever_it_is_written(folder: Path) -> None:
    def end_ids() -> tuple[int, ...]:
        return load_chat(locate_model(folder)).end_of_turn_ids

    generation = folder / "generation_config.json"
    edit(generation, lambda config: config.update(eos_token_id=[0, 2]))
    assert end_ids() == (0, 2)
    edit(generation, lambda config: config.update(eos_token_id=5))
    assert end_ids() == (2, 5)  # the tokenizer names 2
    generation.unlink()
    edit(folder / "config.json", lambda config: config.update(eos_token_id=7))
    assert end_ids() == (2, 7)


def test_a_model_that_no_chat_can_be_held_with_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template"):
        load_chat(locate_model(folder))


def test_finding_models_loads_no_torch() -> None:
    code = "import sys, stillhouse.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_exported_name_exists() -> None:
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        models.generat  # noqa: B018
