"""The parts of the training benchmark that judge: rates, shares, ratios, tables."""

from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._train import peers, speed, tables
from benchmarks._train.flops import step_gflop
from benchmarks._train.options import RESULTS
from benchmarks.train import TRAIN
from tiny_model import make_tiny_model

from stillhouse.chat import EncodedExample
from stillhouse.models import load_model
from stillhouse.train._lessons import Lesson

SPREAD = {"min": 1.0, "median": 2.0, "max": 3.0}


def turn(*steps: tuple[int, float], **more: Any) -> dict[str, Any]:
    listed = [{"tokens": tokens, "seconds": seconds} for tokens, seconds in steps]
    return {"steps": listed, "peak_rss_mb": 1_000.0, **more}


def test_the_first_step_does_not_count() -> None:
    assert speed.tokens_per_s(turn((9_999, 1.0), (100, 2.0), (300, 2.0))) == 100.0


def test_the_share_of_the_machine_is_that_of_each_moment() -> None:
    steps = turn((1, 1.0), (1, 2.0), (1, 1.0), gflop=[9e9, 200, 30], matmul_gflops=[1, 200, 60])
    found = speed.shares([steps])
    assert found["share_of_matmul"] == {"min": 0.5, "median": 0.5, "max": 0.5}
    assert found["sustained_gflops"]["max"] == 100


def test_ratios_compare_turns_of_one_round() -> None:
    ours, gkd = [turn((0, 1), (80, 1)), turn((0, 1), (40, 1))], [turn((0, 1), (8, 1))] * 2
    found = speed.ratios({peers.OURS.name: ours, peers.GKD.name: gkd})
    assert found["times_gkd"] == {"min": 5.0, "median": 7.5, "max": 10.0}


def test_what_trl_gives_by_itself_is_compared_at_its_own_precision() -> None:
    turns = {
        peers.OURS.name: [turn((0, 1), (80, 1))],
        peers.OURS_BFLOAT16.name: [turn((0, 1), (120, 1)), turn((0, 1), (999, 1))],
        peers.GKD_AS_IT_COMES.name: [turn((0, 1), (10, 1))],
    }
    found = speed.ratios(turns)
    assert found["times_gkd_as_it_comes"]["median"] == 12.0
    assert found["times_as_fast_as"][peers.GKD_AS_IT_COMES.name]["median"] == 8.0


def test_a_smaller_student_proves_nothing_of_the_goal() -> None:
    words = "trained tokens/s, times those of TRL's GKDTrainer"

    def shown(layers: int) -> str:
        document = {"speed": {"keep_layers": layers, "times_gkd": {"median": 12.0}}}
        (row,) = (row for row in rows(document, tables.GOALS) if row.goal.words == words)
        return row.cells[2]

    assert (shown(12), shown(15)) == ("not measured", "12")


def test_each_trainer_stands_with_its_version_and_our_lead() -> None:
    figures = {
        "versions": {"trl": "1.16.0", "torch": "2.13.0"},
        "learns_from": "teacher beside",
        "tokens_per_s": SPREAD,
        "peak_rss_mb": SPREAD,
    }
    table = tables.trainers_table(
        {"trainers": {"TRL GKDTrainer": figures}, "times_as_fast_as": {"TRL GKDTrainer": SPREAD}}
    )
    assert table.splitlines()[-1] == (
        "| TRL GKDTrainer | trl 1.16.0 | teacher beside | 2.0 | 2.0 | 0.0 GB |"
    )


def test_the_arithmetic_is_that_of_positions_that_are_needed(tmp_path: Path) -> None:
    network = load_model(make_tiny_model(tmp_path)).network
    short = Lesson(EncodedExample(ids=(1, 2, 3, 4, 5), num_prompt=3))
    other = Lesson(EncodedExample(ids=(9, 8, 7, 6, 5, 4, 3), num_prompt=3))
    head = network.get_input_embeddings().weight.numel()
    layers = sum(p.numel() for p in network.parameters()) - head
    width = network.config.num_hidden_layers * network.config.hidden_size
    expected = 6 * layers * (4 + 6) + 6 * head * (2 + 4) + 6 * width * (4**2 + 6**2)
    assert step_gflop(network, [short, other]) == pytest.approx(expected / 1e9)


def test_a_shared_beginning_is_needed_once(tmp_path: Path) -> None:
    network = load_model(make_tiny_model(tmp_path)).network
    texts = [Lesson(EncodedExample((*range(1, 21), last), num_prompt=20)) for last in (30, 31)]
    single = step_gflop(network, texts[:1])
    assert single < step_gflop(network, texts) < 1.5 * single


def test_every_script_of_a_trainer_is_there() -> None:
    for one in peers.TRAINERS:
        assert (peers.SCRIPTS / one.script).is_file()


def test_the_tables_of_the_page_are_in_step_with_the_results() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "train", tables.tables(read(RESULTS))) == page, (
        "run: python benchmarks/train.py --table"
    )


def test_results_are_those_of_the_parts_that_there_are() -> None:
    assert set(read(RESULTS)) <= set(TRAIN.parts)
    assert {goal.path[0] for goal in tables.GOALS} == set(TRAIN.parts)


torch.set_num_threads(1)
