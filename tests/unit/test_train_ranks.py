"""Several processes train one student: the same losses and weights as one process gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from rank_cases import KillAt, assert_near, start_ranks, train_together
from test_train_resume import stop_at
from tiny_chain import Chain, losses_of, metrics_of, settings, weights_of

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.models import load_model
from stillhouse.runlog import Progress
from stillhouse.train import TrainConfig, train
from stillhouse.train._device_config import DeviceConfig
from stillhouse.train._lessons import Lesson
from stillhouse.train._ranks import Ranks
from stillhouse.train._step import own_share

torch.set_num_threads(1)

METHODS: dict[str, dict[str, Any]] = {
    "sft": {"objective": "sft"},
    "forward_kl in parts": {"objective": "forward_kl", "accumulate": 2},
    "lora": {"objective": "sft", "lora": {"rank": 4, "alpha": 8}},
    "fewer examples than ranks": {"objective": "sft", "batch_size": 1, "epochs": 0.25},
}


def alone(chain: Chain, out: Path, config: TrainConfig, **options: Any) -> Path:
    needs_signal = config.objective != "sft"
    train(
        chain.dataset, out, config=config, signal=chain.signal if needs_signal else None, **options
    )
    return out


@pytest.mark.parametrize("method", sorted(METHODS))
def test_two_processes_give_what_one_gives(chain: Chain, tmp_path: Path, method: str) -> None:
    config = settings(chain, **METHODS[method])
    whole = alone(chain, tmp_path / "whole", config)
    needs_signal = config.objective != "sft"
    out = train_together(chain, tmp_path / "s", config, size=2, has_signal=needs_signal)
    assert_near(out, whole)
    columns = ("train/tokens", "train/learning_rate")
    for ours, theirs in zip(metrics_of(out), metrics_of(whole), strict=True):
        assert [ours[name] for name in columns] == [theirs[name] for name in columns]
        assert ours["train/grad_norm"] == pytest.approx(theirs["train/grad_norm"], rel=1e-3)
    assert load_model(out).num_layers == 2


def test_a_head_of_its_own_is_summed_over_processes(
    chain: Chain, tiny_folder: Path, tmp_path: Path
) -> None:
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    config = transformers.AutoConfig.from_pretrained(tiny_folder, tie_word_embeddings=False)
    untied = transformers.LlamaForCausalLM(config)
    untied.load_state_dict(network.state_dict())
    untied.save_pretrained(tmp_path / "untied")
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path / "untied")
    base = settings(chain, objective="sft", base=f"local:{tmp_path / 'untied'}")
    whole = alone(chain, tmp_path / "whole", base)
    out = train_together(chain, tmp_path / "s", base, size=2)
    assert "lm_head.weight" in weights_of(out)
    assert_near(out, whole)


def test_three_processes_go_on_where_one_was_stopped_and_one_where_they_were(
    chain: Chain, tmp_path: Path
) -> None:
    config = settings(chain, objective="sft", checkpoint_s=0.0)
    whole = alone(chain, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        alone(chain, tmp_path / "s", config, on_progress=stop_at(3, KeyboardInterrupt()))
    crew = start_ranks(chain, tmp_path / "s", [config] * 3, on_progress=KillAt(5))
    crew.join()
    assert saved_steps(tmp_path / "s") == [4]  # the fifth step was done, and not kept
    assert not (tmp_path / "s" / "manifest.json").exists()
    alone(chain, tmp_path / "s", config)
    assert_near(tmp_path / "s", whole)


def wait_for_step(out: Path, step: int) -> None:
    deadline_s = time.monotonic() + 60
    while not (steps := saved_steps(out)) or max(steps) < step:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def saved_steps(out: Path) -> list[int]:
    names = [entry.name for entry in (out / ".work" / "checkpoints").glob("step-*")]
    return [int(name.removeprefix("step-")) for name in names]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_process_ends_the_others_with_one_line_and_nothing_is_lost(
    chain: Chain, tmp_path: Path
) -> None:
    config = settings(chain, objective="sft", epochs=30.0, checkpoint_s=0.0)
    crew = start_ranks(chain, tmp_path / "s", [config] * 2)
    wait_for_step(tmp_path / "s", 4)
    os.kill(crew.processes[1].pid, signal.SIGKILL)
    crew.join()
    assert crew.errors.keys() == {0}
    name, message = crew.errors[0]
    assert name == "TrainingError"
    assert "Another process of this training ended" in message
    assert "\n" not in message
    assert not (tmp_path / "s" / "manifest.json").exists()
    assert saved_steps(tmp_path / "s")
    resumed_at = json.loads(next((tmp_path / "s").rglob("state.json")).read_text())["step"]
    told: list[Progress] = []
    alone(chain, tmp_path / "s", config, on_progress=told.append)
    assert told[0].done >= resumed_at >= 4
    assert len(losses_of(tmp_path / "s")) == 120


def test_processes_with_other_settings_refuse_to_begin(chain: Chain, tmp_path: Path) -> None:
    configs = [settings(chain, objective="sft", seed=seed) for seed in (0, 1)]
    crew = start_ranks(chain, tmp_path / "s", configs)
    crew.join()
    assert {name for name, _ in crew.errors.values()} == {"ConfigError"}
    assert crew.errors.keys() == {0, 1}
    assert "2 processes of this training differ in their settings" in crew.errors[1][1]
    assert not (tmp_path / "s").exists()


def test_what_the_first_process_is_refused_all_are_told(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "letter.txt").write_text("not ours")
    crew = start_ranks(chain, tmp_path / "s", [settings(chain, objective="sft")] * 2)
    crew.join()
    assert crew.errors[0] == crew.errors[1]
    assert crew.errors[0][0] == "ConfigError"


def test_a_finished_student_is_returned_by_all(chain: Chain, tmp_path: Path) -> None:
    config = settings(chain, objective="sft", epochs=0.25)
    out = train_together(chain, tmp_path / "s", config, size=2)
    before = (out / "manifest.json").read_bytes()
    train_together(chain, out, config, size=2)
    assert (out / "manifest.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--json", "--quiet"])
def test_torchrun_starts_the_command_and_one_process_speaks(
    chain: Chain, tmp_path: Path, flag: str
) -> None:
    """As in docs/training.md."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "stillhouse", "train", str(chain.dataset)]
    command += ["--out", str(tmp_path / "s"), "--base", chain.teacher, "--layers", "2"]
    command += ["--objective", "sft", "--epochs", "0.25", flag]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    if flag == "--json":
        assert json.loads(ran.stdout)["kind"] == "student"
    else:
        assert ran.stdout == ""
    check_files(open_artifact(tmp_path / "s", kind="student"))


def test_each_lesson_is_learnt_once() -> None:
    lessons = [Lesson(EncodedExample(ids=(5, 6, number), num_prompt=2)) for number in range(5)]
    for size in (1, 2, 3, 7):
        cpu = torch.device("cpu")
        shares = [own_share(lessons, Ranks(rank, size, cpu)) for rank in range(size)]
        assert all(shares)
        counted = [lesson for share in shares for lesson in share if lesson.weight]
        assert sorted(id(lesson) for lesson in counted) == sorted(id(one) for one in lessons)


def test_bfloat16_is_near_float32_and_weights_stay_float32(chain: Chain, tmp_path: Path) -> None:
    exact = settings(chain, objective="sft", learning_rate=1e-4)
    short = settings(chain, objective="sft", learning_rate=1e-4, device={"precision": "bfloat16"})
    whole = alone(chain, tmp_path / "exact", exact)
    out = alone(chain, tmp_path / "short", short)
    assert losses_of(out) != losses_of(whole)
    assert losses_of(out) == pytest.approx(losses_of(whole), rel=2e-2)
    assert {weight.dtype for weight in weights_of(out).values()} == {torch.float32}


@pytest.mark.slow
# Of the compiler's own modules, and of what it asks of each tensor it sees.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_layers_learn_the_same(chain: Chain, tmp_path: Path) -> None:
    # A compiler rounds otherwise; at a small rate Adam does not make that large.
    plain = settings(chain, objective="sft", learning_rate=1e-4)
    whole = alone(chain, tmp_path / "plain", plain)
    out = alone(
        chain, tmp_path / "s", plain.model_copy(update={"device": DeviceConfig(compile="on")})
    )
    assert losses_of(out) != losses_of(whole)
    assert losses_of(out) == pytest.approx(losses_of(whole), rel=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"device\.kind is cuda, but torch finds no GPU"):
        alone(chain, tmp_path / "s", settings(chain, objective="sft", device={"kind": "cuda"}))
    assert not (tmp_path / "s").exists()
