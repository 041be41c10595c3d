"""Training with the workers of a Ray cluster: the same student, the same refusals."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_cases import assert_near
from ray_cluster import two_nodes
from tiny_chain import Chain, settings, write_dataset

from stillhouse.collect import CaptureConfig, capture
from stillhouse.errors import ConfigError
from stillhouse.train import TrainConfig, train

pytest.importorskip("ray")
pytest.importorskip("pandas", reason="Ray Train needs it")

torch.set_num_threads(1)

# Ray leaves sockets and files to the end of the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


def on_ray(chain: Chain, **changes: Any) -> TrainConfig:
    return settings(chain, objective="sft", engine="ray", **changes)


@pytest.mark.slow
def test_workers_on_two_nodes_train_the_student_of_one_process(
    cluster: Any, chain: Chain, tmp_path: Path
) -> None:
    train(chain.dataset, tmp_path / "whole", config=settings(chain, objective="sft"))
    made = train(chain.dataset, tmp_path / "s", config=on_ray(chain))
    assert_near(made.path, tmp_path / "whole")
    assert [entry.name for entry in tmp_path.iterdir() if "ray" in entry.name] == []
    # Neither engine makes again what the other has made.
    before = (made.path / "manifest.json").read_bytes()
    train(chain.dataset, made.path, config=settings(chain, objective="sft"))
    train(chain.dataset, made.path, config=on_ray(chain))
    assert (made.path / "manifest.json").read_bytes() == before


@pytest.mark.slow
def test_relative_folders_in_the_settings_are_those_of_this_process(
    cluster: Any, chain: Chain, tmp_path: Path
) -> None:
    changes = {
        "objective": "forward_kl",
        "epochs": 0.25,
        "base": f"local:{chain.model_dir.name}",
        "cross": {"teacher": f"local:{chain.model_dir.name}"},
    }
    dataset, signal = tmp_path / "dataset", tmp_path / "signal"
    write_dataset(dataset, chain.teacher)
    capture(dataset, signal, teacher=chain.teacher, config=CaptureConfig())
    with contextlib.chdir(chain.model_dir.parent):
        config = settings(chain, **changes, engine="ray")
        made = train(dataset, tmp_path / "s", config=config, signal=signal)
        before = (made.path / "manifest.json").read_bytes()
        alone = settings(chain, **changes)
        train(dataset, made.path, config=alone, signal=signal)
    assert (made.path / "manifest.json").read_bytes() == before


@pytest.mark.slow
def test_what_a_worker_is_refused_is_said_in_one_line(
    cluster: Any, chain: Chain, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"keep_layers=9, but the model has 4 layers") as caught:
        train(chain.dataset, tmp_path / "s", config=on_ray(chain, keep_layers=9))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_ray_one_line_says_what_to_install(chain: Chain, tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from stillhouse.cli import main; main()"
    arguments = ["train", str(chain.dataset), "--out", str(tmp_path / "s"), "--engine", "ray"]
    arguments += ["--objective", "sft", "--base", chain.teacher]
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "engine=ray needs Ray Train" in ran.stderr
    assert "pip install 'stillhouse[ray]'" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()
