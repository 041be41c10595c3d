"""The recording proxy as a process, between a client and a provider."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.mock_provider import MockProvider

from stillhouse.collect import ImportConfig, import_completions
from stillhouse.records import Completion
from stillhouse.runlog import Ledger

KEY = "sk-callers-own-secret"


@contextmanager
def proxy_to(mock: MockProvider, ledger: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    command = [sys.executable, "-m", "stillhouse", "proxy", "--to", "openai", "--port", "0"]
    environment = {**os.environ, "OPENAI_BASE_URL": mock.base_url("openai_chat")}
    environment.pop("OPENAI_API_KEY", None)
    process = subprocess.Popen(
        [*command, "--ledger", str(ledger), "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    counts: list[dict[str, Any]] = []
    try:
        assert process.stderr is not None
        found = re.search(r"listening at (\S+)", process.stderr.readline())
        assert found is not None
        yield f"{found[1]}/v1", counts
        process.send_signal(signal.SIGINT)
        counts.append(json.loads(process.communicate(timeout=30)[0]))
    finally:
        process.kill()
        process.communicate()


def ask(url: str, text: str, **fields: Any) -> tuple[int, bytes]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "seed": 1, **fields}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as err:
        return err.code, err.read()


def text_of(body: bytes) -> str:
    return str(json.loads(body)["choices"][0]["message"]["content"])


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is POSIX")
def test_what_passes_is_what_the_provider_says_and_is_recorded_without_keys(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with MockProvider() as mock, proxy_to(mock, ledger) as (url, counts):
        status, body = ask(url, "Tell of the town")
        _, direct = ask(mock.base_url("openai_chat"), "Tell of the town")
        stream_status, stream = ask(url, "Tell of a stream", stream=True)
        refused, error = ask(url, "Tell of [[fault=server_error]]")
    assert (status, stream_status, refused) == (200, 200, 500)
    assert text_of(body) == text_of(direct)
    assert stream.rstrip().endswith(b"data: [DONE]")
    assert b"error" in error
    assert counts[0]["num_calls"] == 3
    with Ledger(ledger) as book:
        totals = book.totals()
        assert (totals.num_answered, totals.num_failed, totals.num_open) == (2, 1, 0)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())
    made = import_completions(ledger, tmp_path / "out", config=ImportConfig(format="ledger"))
    texts = [row.text for row in made.rows("completions", Completion)]
    assert text_of(body) in texts
    assert len(texts) == 2
