"""`stillhouse watermark` on texts: what it prints, and what it refuses."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pytest
from cli_process import run_here
from detection_cases import KEY, marked_text

from stillhouse.chat import PlainTextTokenizer
from stillhouse.signing import create_key, load_private_key
from stillhouse.watermark import Profile, WatermarkKey, make_key, write_profile, zipf_law


class Owner(NamedTuple):
    folder: Path
    profile: Path
    key: WatermarkKey
    options: tuple[str, ...]


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Owner:
    """A key in a folder, and a profile of the tiny model that commits to it."""
    folder = tmp_path_factory.mktemp("owner")
    key = make_key("mine", folder)
    now = datetime.now(UTC)
    until = now + timedelta(days=9)
    file = folder / "signer.key"
    create_key(file, name="signer", valid_from=now, valid_until=until, now=now)
    signer = load_private_key(file)
    profile = Profile.model_validate(
        {
            "scheme": "gumbel",
            "key_id": key.key_id,
            "tokenizer_sha256": PlainTextTokenizer(tiny_folder).sha256,
        }
    )
    file = folder / "profile.json"
    write_profile(file, profile, signer, now=now)
    options = ("--profile", str(file), "--folder", str(folder), "--model", str(tiny_folder))
    return Owner(folder, file, key, options)


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows) + b"\n")
    return path


def marked_ids(owner: Owner, num_tokens: int = 120, **settings: object) -> list[int]:
    rng = np.random.default_rng(1)
    return marked_text(num_tokens, zipf_law(4.0, 4000), rng, key=owner.key, **settings).tolist()  # type: ignore[arg-type]


def test_a_text_is_told_to_be_unmarked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    (tmp_path / "text.txt").write_text("The old bridge was opened to the people of the town.")
    ran = run_here(capsys, "watermark", "detect", str(tmp_path / "text.txt"), *owner.options)
    assert ran.code == 0
    assert ran.out.startswith("not shown to be marked: p = 0.")
    assert "4 without a context" in ran.out


def test_marked_texts_are_told_with_their_parts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(4000, 40_000, 300).tolist()
    rows = [
        {"id": "plain", "ids": plain},
        {"id": "mixed", "ids": plain + marked_ids(owner), "prompt_ids": plain[:50]},
        {"id": "text", "text": "Words in a text.", "prompt": "What is in a text?"},
    ]
    file = write_lines(tmp_path / "texts.jsonl", rows)  # type: ignore[arg-type]
    ran = run_here(capsys, "watermark", "detect", str(file), *owner.options, "--parts", "--json")
    found = {row["name"]: row for row in json.loads(ran.out)["texts"]}
    assert [row["is_marked"] for row in found.values()] == [False, True, False]
    (part,) = found["mixed"]["parts"]
    assert abs(part["start"] - 300) < 25
    assert abs(part["end"] - 420) < 25
    assert found["mixed"]["num_in_prompt"] == 46
    corrected = found["mixed"]["log10_adjusted_p"]
    assert corrected == pytest.approx(found["mixed"]["log10_p"] + np.log10(3))
    ran = run_here(capsys, "watermark", "detect", str(file), *owner.options, "--parts")
    assert "1 of 3 are marked at 0.001" in ran.out
    assert run_here(capsys, "watermark", "detect", str(file), *owner.options, "--quiet").out == ""


def test_standard_input_is_one_text(owner: Owner) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stillhouse", "watermark", "detect", "-", *owner.options, "--json"],
        input="Größe".encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["texts"][0]["num_tokens"] > 0


def test_text_in_another_encoding_has_the_same_tokens_or_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    told = set()
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file = tmp_path / "text.txt"
        file.write_text("Größe und Güte einer Brücke.", encoding=encoding)
        told.add(run_here(capsys, "watermark", "detect", str(file), *owner.options).out)
    assert len(told) == 1
    file.write_bytes("Größe".encode("latin-1"))
    ran = run_here(capsys, "watermark", "detect", str(file), *owner.options)
    assert (ran.code, ran.out) == (2, "")
    assert "no UTF-8 at byte 2" in " ".join(ran.err.split())


def test_the_customer_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    file = write_lines(tmp_path / "t.jsonl", [{"ids": marked_ids(owner, customer="Ada & Co")}])
    (tmp_path / "names").write_text("\n".join(f"other {n}" for n in range(99)) + "\nAda & Co\n\n")
    words = ("watermark", "identify", str(file), *owner.options)
    ran = run_here(capsys, *words, "--customers", str(tmp_path / "names"), "--json")
    document = json.loads(ran.out)
    assert [one["customer"] for one in document["found"]] == ["Ada & Co"]
    assert document["num_customers"] == 100


def test_calibration_writes_a_filter_that_detection_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    rng = np.random.default_rng(0)
    shared = rng.integers(0, 40_000, 30).tolist()
    rows = [{"ids": [*shared, *rng.integers(0, 40_000, 60).tolist()]} for _ in range(300)]
    file, out = write_lines(tmp_path / "t.jsonl", rows), tmp_path / "common.ngrams"
    words = ("watermark", "calibrate", str(file), *owner.options, "--out", str(out))
    ran = run_here(capsys, *words, "--length", "80", "--decoys", "5", "--json")
    document = json.loads(ran.out)
    assert {row["length"] for row in document["rows"]} == {80}
    assert document["num_common_ngrams"] == 26
    ran = run_here(capsys, *words, "--length", "80", "--decoys", "5")
    assert "26 common n-grams" in ran.out
    words = ("watermark", "detect", str(file), *owner.options, "--common", str(out), "--json")
    found = json.loads(run_here(capsys, *words).out)["texts"]
    assert {row["num_common"] for row in found} == {26}


def test_a_forecast_needs_no_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("watermark", "forecast", "--scheme", "kgw", "--parameter", "gamma=0.5")
    ran = run_here(capsys, *words, "--entropy", "2", "--length", "50", "--json")
    document = json.loads(ran.out)
    assert document["power"][0]["tokens"] == 50
    assert document["power"][0]["power"] == pytest.approx(0.91, abs=0.03)  # protection.md
    (tmp_path / "logprobs").write_text("[-0.1, -2.3]\n\n[-1.0]\n")
    ran = run_here(capsys, "watermark", "forecast", "--logprobs", str(tmp_path / "logprobs"))
    assert "tokens are needed" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("detect",), "takes a NAME or FILE"),
        (("detect", "none.txt"), "takes --profile"),
        (("detect", "none.txt", "PROFILE"), "none.txt is no file"),
        (("detect", "EMPTY", "PROFILE"), "holds no text"),
        (("detect", "TEXT", "PROFILE", "--level", "0"), "--level is 0"),
        (("detect", "TEXT", "PROFILE", "--key", "other"), "cannot be read"),
        (("detect", "TEXT", "PROFILE", "--model", "OTHER"), "tokenizer"),
        (("detect", "TEXT", "PROFILE", "--common", "TEXT"), "no filter"),
        (("detect", "BROKEN", "PROFILE"), "BROKEN:1 is no JSON"),
        (("detect", "TYPES", "PROFILE"), "neither text nor a list of ids"),
        (("identify", "TEXT", "PROFILE"), "takes --customers"),
        (("calibrate", "TEXT", "PROFILE"), "takes --out"),
        (("calibrate", "TEXT", "PROFILE", "--out", "x"), "at least 50"),
        (("forecast",), "either entropies or probabilities"),
        (("forecast", "x", "--entropy", "1"), "takes no text"),
        (("forecast", "--entropy", "1", "--parameter", "delta=1"), "no such profile"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("TEXT").write_text("A text.")
    Path("EMPTY").mkdir()
    Path("BROKEN.jsonl").write_text("{\n")
    Path("TYPES.jsonl").write_text('{"ids": [1, "2"]}\n')
    Path("OTHER").mkdir()
    Path("OTHER/tokenizer.json").write_text(_WORDS)
    given = [f"{word}.jsonl" if word in ("BROKEN", "TYPES") else word for word in words]
    if "PROFILE" in given:
        place = given.index("PROFILE")
        options = [one for one in owner.options if "--model" not in given or one != "--model"]
        if "--model" in given:
            options = list(owner.options[:4])
        given[place : place + 1] = options
    ran = run_here(capsys, "watermark", *given)
    assert ran.code == 2
    assert message.replace("BROKEN:", "BROKEN.jsonl:") in " ".join(ran.err.split())


def test_a_changed_profile_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    raw = bytearray(owner.profile.read_bytes())
    place = raw.index(b'"payload"') + 40
    raw[place] = ord("A") if raw[place] != ord("A") else ord("B")
    (tmp_path / "profile.json").write_bytes(raw)
    (tmp_path / "t.txt").write_text("A text.")
    options = ("--profile", str(tmp_path / "profile.json"), *owner.options[2:])
    ran = run_here(capsys, "watermark", "detect", str(tmp_path / "t.txt"), *options)
    assert ran.code == 2
    assert "profile.json" in ran.err


def test_the_key_of_another_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, owner: Owner
) -> None:
    assert owner.key.key_id != KEY.key_id
    make_key("another", tmp_path)
    (tmp_path / "t.txt").write_text("A text.")
    words = ("watermark", "detect", str(tmp_path / "t.txt"), *owner.options)
    ran = run_here(capsys, *words, "--key", str(tmp_path / "another.watermark-key"))
    assert ran.code == 2
    assert "Give the key that the profile was made with" in ran.err
    (tmp_path / "another.watermark-key").chmod(0o644)
    ran = run_here(capsys, *words, "--key", str(tmp_path / "another.watermark-key"))
    assert ran.code == 2
    assert "others may use it" in ran.err


_WORDS = json.dumps(
    {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
    }
)
