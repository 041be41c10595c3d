"""What of a method can be chosen, and what is refused before anything is loaded."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tiny_chain import Chain, settings

from stillhouse import losses
from stillhouse.errors import ConfigError
from stillhouse.train import GUIDES, OBJECTIVES, SOURCES, TrainConfig, check_method, train
from stillhouse.train._methods import GuideName, ObjectiveName, SourceName

ALL = [
    (objective, source, guide) for objective in OBJECTIVES for source in SOURCES for guide in GUIDES
]


def test_settings_name_the_objectives_that_the_losses_have() -> None:
    per_token = {name for name, method in OBJECTIVES.items() if method.is_per_token}
    assert per_token == set(losses.OBJECTIVES)
    assert set(get_args(ObjectiveName)) == set(OBJECTIVES)


def test_the_tables_name_what_settings_allow() -> None:
    assert set(get_args(SourceName)) == set(SOURCES)
    assert set(get_args(GuideName)) == set(GUIDES)
    for method in OBJECTIVES.values():
        assert method.summary
        assert "." not in method.summary[-1:]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_valid_method(name: ObjectiveName) -> None:
    valid = [
        (source, guide)
        for one, source, guide in ALL
        if one == name and is_valid(one, source, guide)
    ]
    assert valid
    assert all(source == "dataset" for source, guide in valid if guide == "signal")


def is_valid(objective: ObjectiveName, source: SourceName, guide: GuideName) -> bool:
    try:
        check_method(objective, source, guide)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("objective", "source", "guide", "says"),
    [
        ("sft", "rollouts", "text", "objective sft cannot learn from source rollouts; use dataset"),
        ("sft", "dataset", "live", "guided by live .*; it needs text .no signal and no live.teach"),
        ("forward_kl", "dataset", "text", "signal .no live.* or live .live.teachers, or --teacher"),
        ("reverse_kl", "rollouts", "signal", "no captured signal can know; set live.teachers"),
        ("policy_gradient_gated", "dataset", "live", "use rollouts, or another objective"),
        ("policy_gradient_truncated", "mixed", "live", "cannot learn from source mixed"),
        ("sampled_cross_entropy", "dataset", "live", "it needs signal"),
    ],
)
def test_what_cannot_go_together_is_refused_in_one_line(
    objective: ObjectiveName, source: SourceName, guide: GuideName, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_method(objective, source, guide)
    assert "\n" not in str(caught.value)


def test_a_wrong_parameter_of_the_objective_is_refused_before_anything_is_written(
    chain: Chain, tmp_path: Path
) -> None:
    for parameters, says in (
        ({"beta": 0.5}, "objective skew_kl has no parameter 'beta'; it has skew"),
        ({"skew": 2.0}, re.escape("skew_kl skew=2.0; give a number in [0, 0.999]")),
    ):
        config = settings(chain, objective="skew_kl", objective_parameters=parameters)
        with pytest.raises(ConfigError, match=says):
            train(chain.dataset, tmp_path / "s", config=config, signal=chain.signal)
    assert not (tmp_path / "s").exists()


def test_parameters_reach_the_objective(chain: Chain, tmp_path: Path) -> None:
    finals = []
    for weight in (0.0, 1.0):
        config = settings(
            chain,
            objective="mixed_kl",
            objective_parameters={"forward_weight": weight},
            epochs=0.25,
        )
        student = train(chain.dataset, tmp_path / f"{weight}", config=config, signal=chain.signal)
        finals.append(student.manifest.results["final_loss_nats"])
    assert finals[0] != pytest.approx(finals[1], rel=1e-2)


def test_settings_load_without_torch() -> None:
    code = (
        "import sys; from stillhouse.train import TrainConfig, OBJECTIVES;"
        "TrainConfig(objective='reverse_kl'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_unknown_objective_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="'reverse_kl'"):
        TrainConfig.model_validate({"objective": "kl"})
