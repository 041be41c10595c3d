import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from export_cases import asked, small_student
from tiny_chain import Chain, settings

from stillhouse.errors import ConfigError, ExportRefusedError, IntegrityError
from stillhouse.export import REPORT_NAME, ExportReport, export
from stillhouse.export._folders import export_safetensors
from stillhouse.train import train

LORA = {"rank": 2, "save_adapter": True}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, chain: Chain) -> Path:
    folder = tmp_path_factory.mktemp("adapted") / "student"
    config = settings(chain, keep_layers=None, lora=LORA, epochs=1.0, objective="sft")
    train(chain.dataset, folder, config=config)
    return folder


def figures_of(folder: Path) -> list[dict[str, float]]:
    report = ExportReport.model_validate_json((folder / REPORT_NAME).read_bytes())
    return [{figure.name: figure.value for figure in made.figures} for made in report.formats]


def test_both_folders_give_the_students_distributions(adapted: Path, tmp_path: Path) -> None:
    export(adapted, tmp_path / "out", config=asked("safetensors", "adapter"))
    for figures in figures_of(tmp_path / "out"):
        assert figures["identical_conversations"] >= 200
        assert figures["mean_kl_nats"] < 1e-6
        assert figures["same_top1"] == 1.0


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's wrapper, about transformers
def test_the_adapter_changes_its_base_into_the_student(
    adapted: Path, tmp_path: Path, chain: Chain
) -> None:
    out = export(adapted, tmp_path / "out", config=asked("safetensors", "adapter")).path
    load = transformers.AutoModelForCausalLM.from_pretrained
    ids = torch.tensor([[1, 50, 60, 70, 80]])
    with torch.inference_mode():
        base = load(chain.model_dir)(ids).logits
        whole = load(out / "safetensors")(ids).logits
        put_on = peft.PeftModel.from_pretrained(load(chain.model_dir), out / "adapter")(ids).logits
    assert torch.allclose(put_on, whole, atol=1e-3)
    assert not torch.allclose(base, whole, atol=1e-2)


def test_weights_that_changed_on_the_way_are_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)

    def damaged(source, folder, name):
        with torch.no_grad():
            # Behind the back of the distributions, which are the student's own.
            assert source.probe
            source.model.network.get_decoder().layers[0].mlp.down_proj.weight.mul_(-1)
        return export_safetensors(source, folder, name)

    with pytest.raises(ExportRefusedError, match="mean_kl_nats"):
        export(
            student,
            tmp_path / "out",
            config=asked("safetensors"),
            exporters={"student": {"safetensors": damaged}},
        )


def test_a_student_without_an_adapter_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    student = small_student(tmp_path / "student", tiny_folder)
    with pytest.raises(ConfigError, match=r"Train with lora\.save_adapter"):
        export(student, tmp_path / "out", config=asked("adapter"))


def test_an_adapter_of_a_cut_base_is_refused(tmp_path: Path, chain: Chain) -> None:
    config = settings(chain, keep_layers=2, lora=LORA, epochs=1.0, objective="sft")
    train(chain.dataset, tmp_path / "student", config=config)
    with pytest.raises(ConfigError, match="is not all of its base"):
        export(tmp_path / "student", tmp_path / "out", config=asked("adapter"))


def test_an_adapter_whose_base_changed_is_refused(
    tmp_path: Path, tiny_folder: Path, chain: Chain
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_folder.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = settings(
        chain, base=str(base), keep_layers=None, lora=LORA, epochs=1.0, objective="sft"
    )
    train(chain.dataset, tmp_path / "student", config=config)
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    with pytest.raises(IntegrityError, match="is not the base"):
        export(tmp_path / "student", tmp_path / "out", config=asked("adapter"))
    config_text = json.loads((tmp_path / "student" / "manifest.json").read_text())
    assert config_text["config"]["base"] == str(base)
