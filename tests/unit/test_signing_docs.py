"""The pages on signatures: commands are run, examples loaded, and each message is provoked."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from artifact_chains import edit_manifest, make_artifact, make_chain
from cli_process import run_here
from signing_cases import DAY, forged, make_key, payload_of, trust_of

from stillhouse.artifacts import ATTESTATIONS_NAME
from stillhouse.errors import StillhouseError
from stillhouse.provenance import (
    DISTILLATION_TYPE,
    SLSA_TYPE,
    attest,
    check_attestations,
    check_signed,
    distillation_schema,
    lineage,
)
from stillhouse.records import canonical_json
from stillhouse.signing import (
    Envelope,
    PrivateKey,
    create_key,
    load_private_key,
    load_trust,
    sign_revocation,
    sign_rotation,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "signatures.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    lines = text[text.index(f"| {title} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_commands_at_the_top_work_as_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "keys"))
    monkeypatch.chdir(tmp_path)
    make_artifact(tmp_path / "runs" / "first" / "student")
    commands = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert len(commands) == 4
    for program, *arguments in commands:
        assert program == "stillhouse"
        assert run_here(capsys, *arguments).code == 0


def test_the_trust_file_that_is_shown_can_be_loaded(tmp_path: Path) -> None:
    start = datetime.now(UTC) - DAY
    for name in ("lab", "auditor"):
        make_key(tmp_path, name, start=start, end=start + 9 * DAY)
    (tmp_path / "trust.yaml").write_text(blocks("yaml")[0])
    trust = load_trust(tmp_path / "trust.yaml")
    assert {one.key.name: one.predicates for one in trust.keys.values()} == {
        "lab": None,
        "auditor": (DISTILLATION_TYPE, SLSA_TYPE),
    }
    assert trust.require[0].kinds == ("dataset", "student")


def test_the_program_that_is_shown_checks_without_stillhouse(scene: "Scene") -> None:
    program = scene.folder / "check.py"
    program.write_text(blocks("python")[0])

    def run(key_id: str) -> tuple[int, str]:
        done = subprocess.run(
            # Isolated: neither this folder nor the environment brings stillhouse in.
            [sys.executable, "-I", str(program), str(scene.path), key_id],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = run(scene.key.key_id)
    assert code == 0
    assert [line.split(",")[0] for line in said.splitlines()] == [DISTILLATION_TYPE, SLSA_TYPE]
    assert run("0" * 64) == (1, "not signed by that key\n")
    raw = scene.file.read_bytes()
    scene.file.write_bytes(raw.replace(b'"sig":"', b'"sig":"AAAA', 1))
    assert run(scene.key.key_id)[0] == 1
    scene.file.write_bytes(raw)
    edit_manifest(scene.path, {"config": {"n": 4}})
    assert run(scene.key.key_id) == (1, "signed for another manifest\n")


def test_the_page_of_the_predicate_has_every_field_of_the_schema() -> None:
    text = (DOCS / "predicates" / "distillation-v1.md").read_text(encoding="utf-8")
    schema = distillation_schema()
    assert [cells[0].strip("`") for cells in rows(text, "field")] == list(schema["properties"])
    said = {cells[0].strip("`"): cells[2] for cells in rows(text, "field")}
    for name, part in schema["properties"].items():
        inner = part.get("items", part).get("properties", {})
        if name != "lineage":  # told by the fields of `artifact`
            assert [field for field in inner if f"`{field}`" not in said[name]] == []


class Scene:
    """A signed artefact and its key, a copy of `stage`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC)
        self.key = load_private_key(folder / "keys" / "lab.key")
        self.path = folder / "child"
        self.file = self.path / ATTESTATIONS_NAME
        self.lines = self.file.read_bytes().splitlines()

    def new_key(self, name: str) -> PrivateKey:
        return make_key(
            self.folder / "keys", name, start=self.now - 9 * DAY, end=self.now + 9 * DAY
        )

    def check(self, *lines: bytes) -> None:
        if lines:
            self.file.write_bytes(b"".join(line + b"\n" for line in lines))
        check_attestations(self.path, now=self.now)

    def trust(self, *keys: PrivateKey, **parts: object) -> None:
        trust = trust_of(self.folder, *keys, **parts)
        check_signed(lineage(self.path), trust, now=self.now)

    def forge(self, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
        data = payload_of(Envelope.parse(self.lines[0]))
        change(data)
        self.check(forged(data, self.key).to_bytes(), self.lines[1])

    def replay(self) -> None:
        other = make_artifact(self.folder / "other")
        (other.path / ATTESTATIONS_NAME).write_bytes(self.file.read_bytes())
        check_attestations(other.path, now=self.now)

    def flip(self) -> None:
        raw = Envelope.parse(self.lines[0])
        payload = raw.payload.replace(b'"seconds":', b'"secondz":')
        self.check(Envelope(payload, raw.key_id, raw.signature).to_bytes(), self.lines[1])

    def revoke(self, reason: str) -> None:
        revocation = sign_revocation(
            self.key.public,
            self.key,
            reason=reason,  # type: ignore[arg-type]
            date=self.now - DAY,
            now=self.now,
        )
        self.trust(self.key, revocations=[revocation])

    def rotate_after_theft(self) -> None:
        first = self.new_key("first")
        parts = {
            "rotations": [sign_rotation(first, self.key.public, now=self.now)],
            "revocations": [
                sign_revocation(
                    first.public, first, reason="compromised", date=self.now, now=self.now
                )
            ],
        }
        self.trust(first, **parts)

    def valid(self, start: int, end: int) -> None:
        now = self.now.replace(microsecond=0)
        record = self.key.public.model_copy(
            update={"valid_from_utc": now + start * DAY, "valid_until_utc": now + end * DAY}
        )
        self.trust(PrivateKey(record, self.key._key))

    def rename_key(self) -> None:
        record = self.key.public.model_copy(update={"name": "other"})
        self.trust(PrivateKey(record, self.key._key))

    def require(self) -> None:
        auditor = self.new_key("auditor")
        rule = {"kinds": ["*"], "signed_by": ["auditor"]}
        self.trust(self.key, auditor, require=[rule])

    def cut_off(self) -> None:
        self.file.write_bytes(self.file.read_bytes()[:-1])
        self.check()

    def lose_parent(self) -> None:
        (self.folder / "left").rename(self.folder / "gone")
        self.check()

    def remove(self) -> None:
        self.file.unlink()
        self.trust(self.key)

    def open_rights(self) -> None:
        (self.folder / "keys" / "lab.key").chmod(0o644)
        load_private_key(self.folder / "keys" / "lab.key")

    def wrong_passphrase(self) -> None:
        path = self.folder / "keys" / "new.key"
        create_key(
            path,
            name="new",
            valid_from=self.now,
            valid_until=self.now + DAY,
            now=self.now,
            passphrase="correct horse battery",
        )
        load_private_key(path, ask=lambda: "another one")

    def look_back(self) -> None:
        self.now -= DAY
        self.trust(self.key)

    def old_signature(self) -> None:
        old = f"{self.now - DAY:%Y-%m-%dT%H:%M:%SZ}"
        self.forge(lambda data: data["predicate"]["stillhouse_signer"].update(signed_utc=old))


SCENES: dict[str, Callable[[Scene], object]] = {
    "has changed since it was signed": Scene.flip,
    "not byte for byte as stillhouse writes it": lambda s: s.check(
        s.lines[0].replace(b":", b": ", 1), s.lines[1]
    ),
    "holds a line twice": lambda s: s.check(s.lines[0], s.lines[0]),
    "a line was taken out or put in": lambda s: s.check(s.lines[0]),
    "is empty or cut off": Scene.cut_off,
    "was signed for something else": Scene.replay,
    "which this stillhouse does not know": lambda s: s.forge(
        lambda data: data.update(predicateType="https://example.org/v1")
    ),
    "breaks the schema of": lambda s: s.forge(lambda data: data["predicate"].update(more=1)),
    "says something else than the manifests of the lineage": lambda s: s.forge(
        lambda data: data["predicate"]["usage"].update(prompt_tokens=9)
    ),
    "before the artefact was made": Scene.old_signature,
    "is missing. Put the folder back": Scene.lose_parent,
    "is not signed": Scene.remove,
    "a key that the trust file does not have": lambda s: s.trust(s.new_key("ann")),
    "calls itself": Scene.rename_key,
    "which is not trusted with statements of the type": lambda s: s.trust(
        s.key, predicates={"lab": [SLSA_TYPE]}
    ),
    "had expired when it signed": lambda s: s.valid(-3, -1),
    "was not yet valid when it signed": lambda s: s.valid(1, 3),
    "was revoked as superseded": lambda s: s.revoke("superseded"),
    "was revoked as compromised": lambda s: s.revoke("compromised"),
    "to which a rotation leads that does not count": Scene.rotate_after_theft,
    "which lies ahead": Scene.look_back,
    "must be signed by": Scene.require,
    "the clock is in the past": lambda s: attest(s.path, s.key, now=s.now - DAY),
    "others may use it": Scene.open_rights,
    "the passphrase is another one": Scene.wrong_passphrase,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each scene is a copy of."""
    folder = tmp_path_factory.mktemp("stage")
    (folder / "keys").mkdir()
    start = datetime.now(UTC) - 9 * DAY
    key = make_key(folder / "keys", start=start, end=start + 18 * DAY)
    attest(make_chain(folder).path, key, now=datetime.now(UTC))
    return folder


@pytest.fixture
def scene(stage: Path, tmp_path: Path) -> Scene:
    return Scene(shutil.copytree(stage, tmp_path / "scene"))


def test_every_message_of_the_page_is_provoked_here() -> None:
    told = [cells[0].strip("`") for cells in rows(PAGE, "the message says")]
    assert told == list(SCENES)


@pytest.mark.parametrize("phrase", SCENES)
def test_each_failure_says_what_the_page_says(scene: Scene, phrase: str) -> None:
    with pytest.raises(StillhouseError) as caught:
        SCENES[phrase](scene)
    assert phrase in str(caught.value)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1


def test_envelopes_are_as_the_page_says(scene: Scene) -> None:
    for line, kind in zip(scene.lines, (DISTILLATION_TYPE, SLSA_TYPE), strict=True):
        data = payload_of(Envelope.parse(line))
        assert canonical_json(data) == Envelope.parse(line).payload
        assert (data["predicateType"], f"`{kind}`" in PAGE) == (kind, True)
