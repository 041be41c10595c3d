"""Signals of every codec that keeps distributions teach; the others are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_chain import Chain, losses_of, settings

from stillhouse.collect import CaptureConfig, capture
from stillhouse.errors import ConfigError
from stillhouse.train import train

torch.set_num_threads(1)


def captured(chain: Chain, out: Path, **config: Any) -> Path:
    capture(chain.dataset, out, teacher=chain.teacher, config=CaptureConfig(**config))
    return out


def losses_with(
    chain: Chain, folder: Path, objective: str = "forward_kl", **config: Any
) -> list[float]:
    signal = captured(chain, folder / "signal", **config)
    options = settings(chain, objective=objective)
    train(chain.dataset, folder / "student", signal=signal, config=options)
    return losses_of(folder / "student")


def test_each_codec_of_distributions_teaches_about_the_same(chain: Chain, tmp_path: Path) -> None:
    dense = losses_with(chain, tmp_path / "dense", codec="hidden", dtype="bfloat16")
    adaptive = losses_with(chain, tmp_path / "few", codec="adaptive", top_k=300, tail_mass=0.001)
    relative = losses_with(chain, tmp_path / "near", codec="relative", top_k=300, threshold=0.002)
    sampled = losses_with(
        chain, tmp_path / "drawn", "sampled_cross_entropy", codec="sampled", draws=255
    )
    assert dense[-1] < 0.8 * dense[0]
    assert adaptive == pytest.approx(dense, rel=0.05)
    assert relative == pytest.approx(dense, rel=0.05)
    # Cross-entropy against draws: the teacher's entropy more than the KL, but falling alike.
    assert sampled[0] - sampled[-1] == pytest.approx(dense[0] - dense[-1], rel=0.25)


@pytest.mark.parametrize("codec", ["actual", "kl_cache"])
def test_a_codec_without_distributions_is_refused(chain: Chain, tmp_path: Path, codec: str) -> None:
    signal = captured(chain, tmp_path / "signal", codec=codec, student=chain.teacher)
    with pytest.raises(ConfigError, match=f"codec {codec} keeps no distributions"):
        train(chain.dataset, tmp_path / "student", signal=signal, config=settings(chain))
    assert not (tmp_path / "student" / "manifest.json").exists()
