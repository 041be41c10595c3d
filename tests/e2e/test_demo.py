"""The demo in its quick form: a real process, the real teacher, a report that a browser opens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.weights]

STAGES = ["completions", "dataset", "signal", "students/student", "students/student-sft"]


def stillhouse(
    *arguments: str, cwd: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stillhouse", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(
    tmp_path_factory: pytest.TempPathFactory, user_environment: dict[str, str]
) -> tuple[Path, dict[str, Any]]:
    """A quick demo that is stopped with Ctrl-C while it collects, and then run to its end."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "stillhouse", "demo", "--quick", "--out", "still"]
    started = subprocess.Popen(
        command, cwd=folder, env=user_environment, stderr=subprocess.PIPE, text=True
    )
    ledger = folder / "still" / "ledger.sqlite"
    deadline = time.monotonic() + 300
    while not ledger.exists() and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2.0)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=120)
    assert started.returncode == 130, errors
    assert "resume" in errors

    done = stillhouse(
        "demo", "--quick", "--out", "still", "--json", cwd=folder, environment=user_environment
    )
    assert done.returncode == 0, done.stderr
    return folder / "still", json.loads(done.stdout)


def test_the_whole_chain_is_left_and_verifies(
    demo: tuple[Path, dict[str, Any]], user_environment: dict[str, str]
) -> None:
    folder, _ = demo
    assert [name for name in STAGES if not (folder / name / "manifest.json").is_file()] == []
    verified = stillhouse(
        "verify", "evaluation", "--json", cwd=folder, environment=user_environment
    )
    assert verified.returncode == 0, verified.stderr
    assert len(json.loads(verified.stdout)["artifacts"]) == len(STAGES) + 1


def test_training_brought_the_student_closer_to_the_teacher(
    demo: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = demo
    results = json.loads((folder / "evaluation" / "results.json").read_bytes())
    models = {model["name"]: model for model in results["models"]}
    student, untrained = models["student"], models["student untrained"]
    assert student["forward_kl_nats"]["high"] < 0.25 * untrained["forward_kl_nats"]["low"]
    assert student["num_parameters"] <= 0.62 * models["teacher"]["num_parameters"]
    assert student["top1_agreement"]["low"] > untrained["top1_agreement"]["high"]


def test_the_report_is_one_file_about_this_run(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = demo
    report = (folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    results = json.loads((folder / "evaluation" / "results.json").read_bytes())
    assert "stillhouse demo --quick" in report
    assert "http://" not in report.replace("http://www.w3.org/", "")
    assert results["samples"]
    assert report.count("<svg") >= 4


def test_a_second_run_skips_every_stage(
    demo: tuple[Path, dict[str, Any]], user_environment: dict[str, str]
) -> None:
    folder, _ = demo
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("manifest.json")}
    again = stillhouse(
        "demo", "--quick", "--out", folder.name, cwd=folder.parent, environment=user_environment
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("manifest.json")} == before


def test_the_student_answers_in_the_terminal(
    demo: tuple[Path, dict[str, Any]], user_environment: dict[str, str]
) -> None:
    folder, _ = demo
    prompt = "A bakery in Lyon has won a prize for its bread, officials said on Monday."
    done = stillhouse(
        "chat",
        os.fspath(folder / "students" / "student"),
        "--prompt",
        prompt,
        "--json",
        cwd=folder,
        environment=user_environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
