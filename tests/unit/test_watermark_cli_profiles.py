"""`stillhouse watermark key` and `watermark profile`."""

import json
from pathlib import Path

import pytest
from cli_process import run_here

from stillhouse.models import load_chat, locate_model
from stillhouse.watermark import find_key, read_profile

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "keys"))
    assert run_here(capsys, "keys", "create", "me").code == 0
    return tmp_path / "keys"


def test_a_key_and_a_profile_are_made(
    keys: Path, tiny_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    made = run_here(capsys, "watermark", "key", "prod", "--json")
    assert made.code == 0
    told = json.loads(made.out)
    assert find_key(told["key_id"], keys).secret.hex() not in made.out + made.err
    assert Path(told["path"]).stat().st_mode & 0o777 == 0o600
    path = tmp_path / "p.json"
    words = ["watermark", "profile", str(path), "--key", "prod", "--sign-key", "me"]
    words += ["--model", str(tiny_folder), "--scheme", "kgw", "--parameter", "gamma=0.5"]
    words += ["--context-width", "3", "--customer", "Acme & Söhne", "--repeats", "conversation"]
    done = run_here(capsys, *words, "--json")
    assert done.code == 0
    found = read_profile(path).profile
    assert json.loads(done.out)["profile_id"] == found.profile_id
    assert found.parameters == {"gamma": 0.5, "delta": 2.0}
    assert (found.context_width, found.repeats) == (3, "conversation")
    assert found.key_id == told["key_id"]
    assert found.tokenizer_sha256 == load_chat(locate_model(tiny_folder)).vocabulary_sha256
    assert found.customer == find_key(found.key_id, keys).customer_id("Acme & Söhne")
    assert "Acme" not in path.read_text()
    again = run_here(capsys, *words)
    assert again.code == 2
    assert "a profile is never replaced" in again.err


def test_quiet_says_nothing_and_the_text_says_what_comes_next(
    keys: Path, tiny_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert run_here(capsys, "watermark", "key", "a", "--quiet").out == ""
    shown = run_here(capsys, "watermark", "key", "b").out
    assert "stillhouse watermark profile FILE --key b" in shown
    words = ["--key", "a", "--sign-key", "me", "--model", f"local:{tiny_folder}"]
    shown = run_here(capsys, "watermark", "profile", str(tmp_path / "p"), *words).out
    assert f"stillhouse serve STUDENT --watermark {tmp_path / 'p'}" in shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["key", "../up"], "cannot be called"),
        (["key", "prod"], "a key is never replaced"),
        (["profile", "P"], "takes --key NAME, the watermark key, and --sign-key NAME"),
        (["profile", "P", "--key", "none", "--sign-key", "me"], "cannot be read"),
        (["profile", "P", "--key", "prod", "--sign-key", "none"], "no key called 'none'"),
        (["profile", "P", "--parameter", "gamma"], "is not NAME=NUMBER"),
        (["profile", "P", "--parameter", "gamma=0.5"], "parameters of gumbel are none"),
        (["profile", "P", "--scheme", "kgw", "--parameter", "gamma=2"], "gamma=2.0: more than 0"),
        (["profile", "P", "--prf", "synthid-v1"], "is for the scheme synthid"),
        (["profile", "/none/p"], "cannot be written"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    keys: Path, tiny_folder: Path, tmp_path: Path, capsys: Capture, words: list[str], why: str
) -> None:
    assert run_here(capsys, "watermark", "key", "prod").code == 0
    given = [str(tmp_path / "p") if word == "P" else word for word in words]
    if given[0] == "profile":
        given += ["--model", str(tiny_folder)]
        if "--key" not in given and why[:11] != "takes --key":
            given += ["--key", "prod", "--sign-key", "me"]
    ran = run_here(capsys, "watermark", *given)
    assert ran.code == 2
    assert why in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "p").exists()


def test_a_key_that_others_may_read_makes_no_profile(
    keys: Path, tiny_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    run_here(capsys, "watermark", "key", "prod")
    (keys / "prod.watermark-key").chmod(0o644)
    words = ["--key", "prod", "--sign-key", "me", "--model", str(tiny_folder)]
    ran = run_here(capsys, "watermark", "profile", str(tmp_path / "p"), *words)
    assert ran.code == 2
    assert "with rights 644: others may use it" in ran.err
