"""`keys` and `sign`: the whole way on the command line, and each mistake in one line."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from artifact_chains import listing, make_artifact, make_chain
from cli_process import Ran, run_here, write_prompts

from stillhouse.artifacts import ATTESTATIONS_NAME, open_artifact
from stillhouse.provenance import check_signed, lineage, read_attestations
from stillhouse.signing import Keyring, load_trust

PASSPHRASE = "correct horse battery"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> "Runner":
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("STILLHOUSE_KEY_PASSPHRASE", raising=False)
    return Runner(capsys)


class Runner:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        return run_here(self._capsys, *arguments)


def test_keys_sign_what_a_trust_file_lets_others_check(run: Runner, tmp_path: Path) -> None:
    child = make_chain(tmp_path / "run")
    made = run("keys", "create", "lab")
    assert made.code == 0
    assert "stillhouse sign DIR --key lab" in made.out
    signed = run("sign", child.path, "--key", "lab", "--json").json()
    assert [one["signer"] for one in signed["statements"]] == ["lab", "lab"]
    trust = tmp_path / "trust.json"
    assert run("keys", "trust", "lab", "--out", trust).code == 0
    found = check_signed(lineage(child.path), load_trust(trust), now=datetime.now(UTC))
    assert len(found[child.path]) == 2


def test_names_in_any_script_come_through_a_trust_file(run: Runner, tmp_path: Path) -> None:
    for name in ("\U00020bb7\u91ce\u5bb6", "Ann M\u00fcller"):
        run("keys", "create", name)
        assert run("keys", "trust", name, "--out", tmp_path / "trust.json").code == 0
        (found,) = load_trust(tmp_path / "trust.json").keys.values()
        assert found.key.name == name
        (tmp_path / "trust.json").unlink()


def test_verify_tells_whose_signature_it_is(run: Runner, tmp_path: Path) -> None:
    child = make_chain(tmp_path / "run")
    for name in ("lab", "eve"):
        run("keys", "create", name)
        run("keys", "trust", name, "--out", tmp_path / f"{name}.json")
    trusts_lab = ["verify", child.path, "--trust", tmp_path / "lab.json"]
    unsigned = run(*trusts_lab)
    assert (unsigned.code, "child is not signed" in unsigned.err) == (2, True)
    run("sign", child.path, "--key", "eve")
    refused = run(*trusts_lab)
    assert (refused.code, "does not have" in refused.err) == (2, True)
    run("sign", child.path, "--key", "lab")
    run("sign", tmp_path / "run" / "left", "--key", "eve")
    trusted = run(*trusts_lab)
    assert trusted.code == 0
    assert "the signatures of 1 artefacts (by keys that you trust)" in trusted.out
    assert "eve?, lab" in trusted.out
    assert run("verify", child.path).code == 0
    path = child.path / ATTESTATIONS_NAME
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"A', 1))
    changed = run("verify", child.path)
    assert (changed.code, f"error: {path}, line 1" in changed.err) == (2, True)


def test_what_real_stages_wrote_is_signed_with_its_teacher(run: Runner, tmp_path: Path) -> None:
    completions, dataset = tmp_path / "completions", tmp_path / "dataset"
    prompts = write_prompts(tmp_path / "p.jsonl")
    run("collect", prompts, "--teacher", "fake:", "--out", completions)
    run("curate", completions, "--out", dataset)
    run("keys", "create", "lab")
    assert run("sign", dataset, "--key", "lab").code == 0
    payload = json.loads(read_attestations(dataset)[0].payload)
    (teacher,) = payload["predicate"]["teachers"]
    manifest = open_artifact(completions).manifest
    assert manifest.teacher is not None
    assert (teacher["id"], teacher["provider"]) == (manifest.teacher.id, "fake")
    (found,) = payload["predicate"]["datasets"]
    assert found["rows_root"] == open_artifact(dataset).manifest.rows_root
    assert payload["predicate"]["usage"]["completion_tokens"] > 0


def test_rotation_and_revocation_reach_the_trust_file(run: Runner, tmp_path: Path) -> None:
    run("keys", "create", "lab", "--days", 30)
    assert run("keys", "rotate", "lab", "lab-2", "--json").json()["name"] == "lab-2"
    trust = tmp_path / "trust.json"
    run("keys", "trust", "lab", "--out", trust)
    assert {one.key.name for one in load_trust(trust).keys.values()} == {"lab", "lab-2"}
    revoked = run(
        "keys", "revoke", "lab-2", "--since", "2026-01-02", "--why", "a new machine", "--json"
    ).json()
    assert (revoked["reason"], revoked["date_utc"]) == ("superseded", "2026-01-02T00:00:00Z")
    listed = run("keys", "list", "--json").json()["keys"]
    assert [one["rotated_to"] for one in listed] == ["lab-2", None]
    assert listed[1]["revocation"]["why"] == "a new machine"
    text = run("keys", "list").out
    assert "rotated to lab-2" in text
    assert "superseded since 2026-01-02" in text
    compromised = run("keys", "revoke", "lab", "--by", "lab-2", "--reason", "compromised")
    assert "lab is compromised since" in compromised.out
    refused = run("keys", "trust", "lab", "--out", trust)
    assert refused.code == 2
    assert "keys trust lab-2" in refused.err


def test_a_trust_file_keeps_what_a_person_wrote_into_it(run: Runner, tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    run("keys", "create", "lab")
    run("keys", "trust", "lab", "--out", trust)
    data = json.loads(trust.read_text())
    data["require"] = [{"kinds": ["student"], "signed_by": ["lab"]}]
    data["keys"][0]["predicates"] = ["https://slsa.dev/provenance/v1"]
    trust.write_text(json.dumps(data))
    run("keys", "create", "ann")
    assert run("keys", "trust", "lab", "ann", "--out", trust).code == 0
    again = json.loads(trust.read_text())
    assert again["require"] == data["require"]
    assert [one["predicates"] for one in again["keys"]] == [data["keys"][0]["predicates"], None]
    trust.write_text("not a trust file")
    assert run("keys", "trust", "lab", "--out", trust).code == 2
    assert trust.read_text() == "not a trust file"


def test_an_encrypted_key_signs_with_the_passphrase_of_the_environment(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "a")
    assert "is no terminal" in run("keys", "create", "lab", "--encrypt").err
    monkeypatch.setenv("STILLHOUSE_KEY_PASSPHRASE", PASSPHRASE)
    assert run("keys", "create", "lab", "--encrypt").code == 0
    assert b"ENCRYPTED" in (tmp_path / "keys" / "lab.key").read_bytes()
    assert run("sign", artifact.path, "--key", "lab").code == 0
    monkeypatch.setenv("STILLHOUSE_KEY_PASSPHRASE", "another one entirely")
    wrong = run("sign", artifact.path, "--key", "lab")
    assert (wrong.code, "passphrase is another one" in wrong.err) == (2, True)
    monkeypatch.delenv("STILLHOUSE_KEY_PASSPHRASE")
    assert "Set STILLHOUSE_KEY_PASSPHRASE" in run("sign", artifact.path, "--key", "lab").err


def test_a_key_may_be_given_as_a_file(run: Runner, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    Keyring(tmp_path / "keys").create("lab", now=datetime.now(UTC), valid_days=1)
    path = tmp_path / "keys" / "lab.key"
    assert run("sign", artifact.path, "--key", path).code == 0
    path.chmod(0o644)
    refused = run("sign", artifact.path, "--key", path)
    assert (refused.code, "chmod 600" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["keys", "create"], "keys create takes the name of the new key; it was given 0"),
        (["keys", "create", "a", "b"], "it was given 2"),
        (["keys", "list", "a"], "keys list takes no name"),
        (["keys", "rotate", "lab"], "a key and that of its successor"),
        (["keys", "revoke"], "takes the name of a key"),
        (["keys", "trust", "--out", "t.json"], "the names of one or more keys"),
        (["keys", "trust", "lab"], "--out FILE"),
        (["keys", "list", "--out", "t.json"], "--out FILE"),
        (["keys", "create", "l\u0430b"], "mixes letters of CYRILLIC, LATIN"),
        (["keys", "create", "lab"], "has a key called lab"),
        (["keys", "create", "new", "--days", "0"], "greater than or equal to 1"),
        (["keys", "create", "new", "--days", "99999999"], "less than or equal to 36500"),
        (["keys", "revoke", "lab", "--since", "yesterday"], "--since 'yesterday' is no date"),
        (["keys", "revoke", "lab", "--by", "bob"], "no key called 'bob'"),
        (["keys", "burn", "lab"], "burn"),
        (["sign", "a", "--key", "bob"], "no key called 'bob'"),
        (["sign", "none", "--key", "lab"], "none does not exist"),
        (["sign", "a", "--key", "lab", "--out", "x"], "--out is for --format oms"),
        (["sign", "a", "--key", "lab", "--format", "oms"], "takes no Ed25519"),
        (["sign", "a", "--key", "./none.pem"], "none.pem cannot be read"),
        (["sign", "a"], "Missing option '--key'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], part: str
) -> None:
    make_artifact(tmp_path / "a")
    run("keys", "create", "lab")
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert part in ran.err
    assert listing(tmp_path) == before


def test_quiet_says_nothing(run: Runner, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    for arguments in (["keys", "create", "lab"], ["keys", "list"], ["sign", artifact.path]):
        more = ["--key", "lab"] if arguments[0] == "sign" else []
        ran = run(*arguments, *more, "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (artifact.path / ATTESTATIONS_NAME).exists()


def test_an_empty_folder_of_keys_says_how_to_begin(run: Runner) -> None:
    assert "stillhouse keys create NAME" in run("keys", "list").out


def test_signing_loads_no_model_library(run: Runner, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a")
    run("keys", "create", "lab")
    code = (
        "import sys\n"
        "from stillhouse.cli._main import run_command\n"
        f"assert run_command(['sign', {str(artifact.path)!r}, '--key', 'lab', '--quiet']) == 0\n"
        "print([name for name in ('torch', 'transformers', 'sigstore') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
