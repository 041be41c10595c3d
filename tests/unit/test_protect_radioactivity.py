"""Radioactivity of real networks: tiny ones, trained here on marked text."""

import dataclasses
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from cli_process import run_here
from signing_cases import NOW, make_key
from tiny_model import make_tiny_model
from toy_marks import teacher_laws, toy_key, toy_profile, write

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact, open_artifact
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError, DataError, VocabularyMismatchError
from stillhouse.models import LanguageModel, load_model, save_model
from stillhouse.protect import Inputs, RadioactivityConfig, find_radioactivity
from stillhouse.records import Completion, Example, Message, Prompt
from stillhouse.watermark import Profile, WatermarkKey, write_profile

KEY = toy_key(0)
SIZE = 24
LENGTH = 40
CONFIG = RadioactivityConfig(decoys=60)
QUESTION = (Message(role="user", content="Tell me."),)


def names(chat: ChatTokenizer) -> np.ndarray:
    """Ids of tokens that are plain letters, so that text and tokens say the same."""
    plain = [token for token, data in enumerate(chat.text_bytes) if data.isalpha()]
    return np.array(plain[:SIZE])


def texts(chat: ChatTokenizer, count: int, seed: int, profile: Profile | None) -> np.ndarray:
    key = None if profile is None else KEY
    laws = teacher_laws(3, 0.3)[:SIZE, :SIZE]
    return write(laws, count, LENGTH, seed=seed, profile=profile, key=key, names_V=names(chat))


def dataset(
    folder: Path, chat: ChatTokenizer, ids: np.ndarray, *, revision: str | None = None
) -> Artifact:
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={"rows": len(ids)})
    rows = [
        Example(
            id=f"e{number}",
            prompt_id=f"p{number}",
            request_id=f"r{number}",
            messages=QUESTION,
            completion=b"".join(chat.text_bytes[token] for token in row).decode(),
            completion_token_ids=(*row.tolist(), chat.end_of_turn_ids[0]),
        )
        for number, row in enumerate(ids)
    ]
    writer.write_rows("examples", rows, Example)
    return writer.finish(
        counts=Counts.model_validate({"in": len(ids), "kept": len(ids)}),
        teacher=None
        if revision is None
        else TeacherRef(id="local:tiny", provider="local", revision=revision),
        tokenizer_sha256=chat.vocabulary_sha256,
    )


def answers(folder: Path, ids: list[list[int]], chat: ChatTokenizer) -> Artifact:
    """Completions of a closed model, as collect writes them."""
    writer = begin_artifact(folder, kind="completions", stage="collect", config={"n": len(ids)})
    writer.write_rows("prompts", [Prompt(id="p", messages=QUESTION)], Prompt)
    rows = [
        Completion(
            request_id=f"r{number}",
            prompt_id="p",
            text=b"".join(chat.text_bytes[token] for token in row).decode(),
            finish_reason="length",
            model="closed",
            created_utc=datetime(2026, 11, 1, tzinfo=UTC),
        )
        for number, row in enumerate(ids)
    ]
    writer.write_rows("completions", rows, Completion)
    return writer.finish(counts=Counts.model_validate({"in": len(ids), "kept": len(ids)}))


def train(folder: Path, base: Path, ids: np.ndarray, *, steps: int = 120) -> Path:
    model = load_model(base)
    chat = model.chat
    prompt = chat.encode_prompt(QUESTION)
    whole = torch.tensor([[*prompt, *row.tolist()] for row in ids])
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=4e-3)
    model.network.train()
    for _ in range(steps):
        rows = whole[torch.randint(len(whole), (16,), generator=generator)]
        logits = model.network(input_ids=rows[:, :-1]).logits[:, len(prompt) - 1 :]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), rows[:, len(prompt) :].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.network.eval()
    folder.mkdir()
    save_model(model, folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Lab:
    folder: Path
    base: Path
    chat: ChatTokenizer
    profile: Profile
    marked: Artifact
    plain: Artifact
    student: Path
    innocent: Path

    def find(self, suspect: Path | str, **changes: Any) -> Any:
        inputs = Inputs(suspect=str(suspect), texts=self.marked.path, **changes)
        return find_radioactivity(inputs, self.profile, KEY, config=CONFIG).results


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("radioactive")
    base = make_tiny_model(folder / "base", layers=2)
    chat = load_model(base).chat
    profile = toy_profile("gumbel", KEY, 2, chat.vocabulary_sha256)
    marked_ids = texts(chat, 60, 1, profile)
    plain_ids = texts(chat, 60, 2, None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Lab(
        folder,
        base,
        chat,
        profile,
        dataset(folder / "marked", chat, marked_ids),
        dataset(folder / "plain", chat, plain_ids),
        train(folder / "student", base, marked_ids),
        train(folder / "innocent", base, plain_ids),
    )
    torch.set_num_threads(threads)


def test_a_student_of_marked_text_is_found_and_an_innocent_one_is_not(lab: Lab) -> None:
    found = lab.find(lab.student, reference=str(lab.base))
    assert found.is_found
    assert found.access == "open"
    assert found.primary == "contrast"
    assert found.tests["contrast"].log10_p < -8
    assert found.decoys.num_above == 0
    assert found.decoys.is_sound
    assert found.counts.aligned_share == 1.0
    assert 0.9 < found.shared_share <= 1.0 + 1e-6  # the rest goes to rows that pad the head
    assert found.effect_z > 10
    assert 0 < found.detectable_share < 1
    innocent = lab.find(lab.innocent, reference=str(lab.base))
    assert not innocent.is_found
    assert innocent.tests["contrast"].log10_p > -3
    assert lab.find(lab.base).tests["soft"].log10_p > -3


def test_the_difference_of_roots_decides_where_it_was_chosen(lab: Lab) -> None:
    inputs = Inputs(str(lab.student), lab.marked.path, reference=str(lab.base))
    config = RadioactivityConfig(decoys=60, contrast="root contrast")
    found = find_radioactivity(inputs, lab.profile, KEY, config=config).results
    assert found.primary == "root contrast"
    assert found.log10_p == found.tests["root contrast"].log10_p < -8
    assert found.tests["root contrast"].effective > found.tests["contrast"].effective
    assert found.decoys is not None
    assert found.decoys.is_sound
    innocent = Inputs(str(lab.innocent), lab.marked.path, reference=str(lab.base))
    assert not find_radioactivity(innocent, lab.profile, KEY, config=config).results.is_found


def test_without_a_reference_the_plain_statistic_decides(lab: Lab) -> None:
    alone = lab.find(lab.student)
    assert alone.primary == "soft"
    assert alone.reference is None
    assert alone.is_found


def test_a_contaminated_reference_costs_power_and_accuses_nobody(lab: Lab) -> None:
    innocent = lab.find(lab.innocent, reference=str(lab.student))
    assert not innocent.is_found
    assert innocent.tests["contrast"].z < 0


def test_a_suspect_that_equals_the_reference_or_the_teacher_is_refused(lab: Lab) -> None:
    with pytest.raises(DataError, match="agree in everything"):
        lab.find(lab.student, reference=str(lab.student))
    revision = load_model(lab.student).revision
    theirs = dataset(
        lab.folder / "theirs", lab.chat, texts(lab.chat, 3, 1, lab.profile), revision=revision
    )
    with pytest.raises(ConfigError, match="is the model that wrote"):
        find_radioactivity(Inputs(str(lab.student), theirs.path), lab.profile, KEY, config=CONFIG)


def test_a_wrong_key_or_tokenizer_is_refused_before_anything_is_read(lab: Lab) -> None:
    inputs = Inputs(str(lab.student), lab.marked.path)
    with pytest.raises(ConfigError, match="key"):
        find_radioactivity(inputs, lab.profile, toy_key(5), config=CONFIG)
    other = lab.profile.model_copy(update={"tokenizer_sha256": "1" * 64})
    with pytest.raises(VocabularyMismatchError, match="--tokenizer MODEL"):
        find_radioactivity(inputs, other, KEY, config=CONFIG)
    with pytest.raises(VocabularyMismatchError, match="--tokenizer MODEL"):
        find_radioactivity(Inputs(str(lab.marked.path), None), lab.profile, KEY, config=CONFIG)
    with pytest.raises(ConfigError, match="--texts"):
        find_radioactivity(Inputs(str(lab.student), None), lab.profile, KEY, config=CONFIG)


def test_unmarked_texts_give_no_forecast_and_no_accusation(lab: Lab) -> None:
    inputs = Inputs(str(lab.innocent), lab.plain.path)
    found = find_radioactivity(inputs, lab.profile, KEY, config=CONFIG).results
    assert not found.is_found
    assert found.detectable_share is None


def drawn(model: LanguageModel, count: int, *, seed: int) -> list[list[int]]:
    """Answers at temperature 1, without tokens that are no letters."""
    kept = names(model.chat)
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.tensor([model.chat.encode_prompt(QUESTION)] * count)
    ids = prompt
    with torch.inference_mode():
        for _ in range(LENGTH):
            logits = model.network(input_ids=ids).logits[:, -1, kept]
            probs = torch.softmax(logits, dim=1)
            chosen = torch.multinomial(probs, 1, generator=generator)
            ids = torch.cat([ids, torch.from_numpy(kept)[chosen]], dim=1)
    return ids[:, prompt.shape[1] :].tolist()


def test_the_answers_of_a_closed_student_are_enough(lab: Lab) -> None:
    model = load_model(lab.student)
    given = answers(lab.folder / "answers", drawn(model, 60, seed=1), lab.chat)
    tokenizer = str(lab.base)
    found = lab.find(given.path, tokenizer=tokenizer)
    assert found.access == "closed"
    assert found.primary == "written"
    assert found.is_found
    assert found.share_estimate is not None
    assert 0.05 < found.share_estimate < 1.2
    helped = lab.find(given.path, reference=str(lab.innocent))
    assert helped.primary == "written less expected"
    assert helped.is_found
    innocent = answers(
        lab.folder / "innocent-answers", drawn(load_model(lab.innocent), 60, seed=2), lab.chat
    )
    assert not lab.find(innocent.path, tokenizer=tokenizer).is_found


def test_refusals_leave_nothing_to_test(lab: Lab) -> None:
    letters = names(lab.chat)[:2].tolist()
    refusing = answers(lab.folder / "refusing", [letters] * 20, lab.chat)
    with pytest.raises(DataError, match="refusals and repetitions"):
        lab.find(refusing.path, tokenizer=str(lab.base))
    silent = answers(lab.folder / "silent", [[]] * 3, lab.chat)
    with pytest.raises(DataError, match="nothing was answered"):
        lab.find(silent.path, tokenizer=str(lab.base))


def test_customers_keys_are_corrected_together(lab: Lab) -> None:
    inputs = Inputs(
        str(lab.student), lab.marked.path, reference=str(lab.base), customers=("ann", "bob")
    )
    config = RadioactivityConfig(decoys=0)
    found = find_radioactivity(inputs, lab.profile, KEY, config=config).results
    plain = found.tests["contrast"].log10_p
    assert found.log10_p == pytest.approx(plain + math.log10(3))
    assert [one.customer for one in found.customers] == ["ann", "bob"]
    assert all(one.log10_p_adjusted > -2 for one in found.customers)
    assert found.decoys is None
    twice = dataclasses.replace(inputs, customers=("ann", "ann"))
    with pytest.raises(ConfigError, match="twice"):
        find_radioactivity(twice, lab.profile, KEY, config=config)


def test_text_of_one_customer_shows_under_that_customer_s_key_alone(lab: Lab) -> None:
    theirs = lab.profile.model_copy(update={"customer": KEY.customer_id("ann")})
    ids = texts(lab.chat, 60, 4, theirs)
    student = train(lab.folder / "of-ann", lab.base, ids)
    read = dataset(lab.folder / "for-ann", lab.chat, ids)
    found = find_radioactivity(
        Inputs(str(student), read.path, reference=str(lab.base), customers=("bob", "ann")),
        lab.profile,
        KEY,
        config=RadioactivityConfig(decoys=0),
    ).results
    assert found.is_found
    assert found.log10_p > -3
    adjusted = {one.customer: one.log10_p_adjusted for one in found.customers}
    assert adjusted["ann"] < -6
    assert adjusted["bob"] > -3


@pytest.fixture
def files(lab: Lab, tmp_path: Path) -> tuple[Path, Path]:
    """The profile and the key as files."""
    write_profile(tmp_path / "profile.json", lab.profile, make_key(tmp_path), now=NOW)
    secret = tmp_path / "key"
    secret.write_bytes(
        orjson.dumps({"kind": "stillhouse/watermark/key/1", "key": KEY.secret.hex()})
    )
    secret.chmod(0o600)
    return tmp_path / "profile.json", secret


def test_the_command_writes_evidence_that_holds_what_it_says(
    lab: Lab, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, key = files
    out = tmp_path / "evidence"
    arguments = ["radioactivity", lab.student, "--profile", profile, "--key", key]
    arguments += ["--texts", lab.marked.path, "--reference", lab.base, "--out", out]
    arguments += ["--set", "decoys=10", "--set", "max_contexts=150", "--json"]
    ran = run_here(capsys, *arguments)
    assert ran.code == 0, ran.err
    told = ran.json()
    assert told["is_found"]
    artifact = open_artifact(out, kind="evidence")
    assert orjson.loads((out / "evidence.json").read_bytes()) == told
    assert artifact.manifest.results["verdict"] == told["verdict"]
    assert [one.sha256 for one in artifact.manifest.parents] == [lab.marked.manifest_sha256]
    page = (out / "evidence.html").read_text(encoding="utf-8")
    for word in ("Who put it there?", "What it does not show", "Null hypothesis", "decides"):
        assert word in page
    assert KEY.secret.hex() not in page
    assert "<script" not in page
    assert any("paraphrases" in line for line in told["not_shown"])
    signed = run_here(capsys, "sign", out, "--key", tmp_path / "lab.key")
    assert signed.code == 0, signed.err
    assert (out / "attestations.jsonl").is_file()
    again = run_here(capsys, *arguments)
    assert again.code == 2
    assert "--force" in again.err
    assert run_here(capsys, *arguments, "--force").code == 0


def test_a_key_that_others_can_read_is_refused(
    lab: Lab, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, key = files
    key.chmod(0o644)
    ran = run_here(
        capsys, "radioactivity", lab.student, "--profile", profile, "--key", key,
        "--texts", lab.marked.path, "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 2
    assert "chmod 600" in ran.err


def test_a_changed_profile_is_refused(
    lab: Lab, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, key = files
    document = orjson.loads(profile.read_bytes())
    document["payload"] = document["payload"][:40] + "AAAA" + document["payload"][44:]
    profile.write_bytes(orjson.dumps(document))
    ran = run_here(
        capsys, "radioactivity", lab.student, "--profile", profile, "--key", key,
        "--texts", lab.marked.path, "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 2
    assert str(profile) in ran.err
    assert not (tmp_path / "out").exists()


def test_the_secret_is_nowhere_in_what_is_told(lab: Lab) -> None:
    found = lab.find(lab.student)
    assert KEY.secret.hex() not in found.model_dump_json()
    assert isinstance(KEY, WatermarkKey)
