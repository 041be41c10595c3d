"""Attribution of networks: overlaps against a naive loop, other tokenizers, and the command."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest
import tokenizers
import torch
import transformers
from cli_process import Ran, run_here
from tiny_chain import write_dataset
from tiny_model import TEMPLATE, make_tiny_model
from toy_marks import toy_key, toy_profile

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.errors import ConfigError, DataError
from stillhouse.models import LanguageModel, load_model, save_model
from stillhouse.protect import (
    AttributionConfig,
    Inputs,
    Lineup,
    RadioactivityConfig,
    attribution,
    find_radioactivity,
)
from stillhouse.protect._agreement import agreements, first_positions
from stillhouse.protect._reading import VocabularyView, read_texts
from stillhouse.protect._texts import open_texts, score_windows
from stillhouse.runlog import ignore_progress

SENTENCES = [
    f"The {what} of {place} opened a {new} on {day}, say townspeople working there yearly."
    for what in ("council", "baker", "farm")
    for place in ("a small town", "the bridge", "Monday")
    for new in ("bridge", "bakery", "prize")
    for day in ("Monday", "work")
]


def moved(folder: Path, base: Path, *, seed: int, noise: float, toward: Path | None = None) -> Path:
    """The base with noise on its weights, half of the way to another model if one is given."""
    model = load_model(base)
    generator = torch.Generator().manual_seed(seed)
    target = None if toward is None else dict(load_model(toward).network.named_parameters())
    with torch.no_grad():
        for name, weights in model.network.named_parameters():
            if target is not None:
                weights += 0.5 * (target[name] - weights)
            weights += noise * torch.randn(weights.shape, generator=generator)
    folder.mkdir()
    save_model(model, folder)
    return folder


@dataclass(frozen=True)
class Family:
    folder: Path
    base: Path
    teachers: dict[str, str]
    controls: list[str]
    student: Path
    innocent: Path
    texts: Artifact


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    folder = tmp_path_factory.mktemp("family")
    base = make_tiny_model(folder / "base", layers=2)
    teachers = {
        name: str(moved(folder / name, base, seed=seed, noise=0.05))
        for seed, name in enumerate(("ash", "birch", "cedar"))
    }
    controls = [
        str(moved(folder / f"control-{seed}", base, seed=100 + seed, noise=0.01))
        for seed in range(5)
    ]
    return Family(
        folder,
        base,
        teachers,
        controls,
        moved(folder / "student", base, seed=200, noise=0.005, toward=Path(teachers["birch"])),
        moved(folder / "innocent", base, seed=201, noise=0.01),
        write_dataset(folder / "texts", f"local:{base}", [("Write.", text) for text in SENTENCES]),
    )


def run(capsys: pytest.CaptureFixture[str], family: Family, suspect: Path, *more: object) -> Ran:
    words: list[object] = ["attribute", suspect, "--texts", family.texts.path]
    for name, folder in family.teachers.items():
        words += ["--teacher", f"{name}={folder}"]
    for control in family.controls:
        words += ["--control", control]
    return run_here(capsys, *words, *more)


def test_the_command_names_the_teacher_of_a_model_halfway_to_it(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run(capsys, family, family.student, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    told = ran.json()
    assert told["results"]["teacher"] == "birch"
    assert told["is_found"]
    assert told["results"]["num_texts"] == len(SENTENCES)
    assert orjson.loads((tmp_path / "out" / "evidence.json").read_bytes()) == told
    manifest = open_artifact(tmp_path / "out", kind="evidence").manifest
    assert manifest.stage == "attribute"
    page = (tmp_path / "out" / "evidence.html").read_text(encoding="utf-8")
    for word in ("birch", "By whose doing?", "sibling", "p models"):
        assert word in page


def test_a_model_of_the_same_base_is_given_to_nobody(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run(capsys, family, family.innocent, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("No teacher can be named for innocent")
    assert "It does not show:" in ran.out


def test_a_model_that_is_given_twice_is_refused(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suspect_is_teacher = run(
        capsys, family, Path(family.teachers["ash"]), "--out", tmp_path / "out"
    )
    assert suspect_is_teacher.code == 2
    assert "given twice" in suspect_is_teacher.err
    again = run(capsys, family, family.student, "--control", family.base, "--teacher",
                f"elm={family.base}", "--out", tmp_path / "out")  # fmt: skip
    assert again.code == 2
    assert "given twice" in again.err
    assert not (tmp_path / "out").exists()
    named_twice = run(capsys, family, family.student, "--teacher", "ash=elsewhere")
    assert "'ash'" in named_twice.err


def test_few_controls_are_refused_before_a_model_is_read(family: Family, tmp_path: Path) -> None:
    lineup = Lineup("nowhere", family.teachers, family.controls[:2], family.texts.path)
    with pytest.raises(ConfigError, match="2 controls"):
        attribution(lineup, tmp_path / "out", config=AttributionConfig())


def test_overlaps_are_those_of_a_naive_loop(family: Family) -> None:
    teachers = [load_model(folder) for folder in family.teachers.values()]
    suspect = load_model(family.student)
    controls = [load_model(folder) for folder in family.controls[:3]]
    _, texts = open_texts(family.texts.path)
    read = first_positions(texts, suspect.chat, max_texts=3, max_tokens=5)
    found = agreements(
        suspect, teachers, iter(controls), read, num_models=7, on_progress=ignore_progress
    )
    assert found.suspect_PJ == pytest.approx(naive(suspect, teachers, texts[:3]), abs=1e-5)
    assert found.controls_CPJ[1] == pytest.approx(naive(controls[1], teachers, texts[:3]), abs=1e-5)
    assert found.teachers_JPJ[2] == pytest.approx(naive(teachers[2], teachers, texts[:3]), abs=1e-5)


@torch.inference_mode()
def naive(model: LanguageModel, teachers: list[LanguageModel], texts: list) -> np.ndarray:
    rows = []
    for text in texts:
        encoded = model.chat.encode_example(text.messages, text.completion)
        ids = torch.tensor([encoded.ids])
        width = len(model.chat.text_bytes)
        laws = [
            torch.softmax(one.network(ids).logits[0], dim=1)[:, :width]
            for one in (model, *teachers)
        ]
        places = [encoded.num_prompt - 1 + place for place in range(5)]
        rows.append(
            [
                float(np.mean([float(torch.minimum(laws[0][p], law[p]).sum()) for p in places]))
                for law in laws[1:]
            ]
        )
    return np.array(rows)


@pytest.fixture(scope="module")
def foreigner(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model with another tokenizer: other merges, and ids in another order."""
    folder = tmp_path_factory.mktemp("foreign")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    special = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet(), reverse=True),
        show_progress=False,
    )
    backend.train_from_iterator(
        ["say townspeople working there yearly ", "opened works towns"] * 3, trainer
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=330,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.4,
    )
    torch.manual_seed(5)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return load_model(folder)


def test_a_suspect_with_other_tokens_is_asked_where_tokens_begin_in_both(
    family: Family, foreigner: LanguageModel
) -> None:
    chat = load_model(family.base).chat
    profile = toy_profile("kgw", toy_key(0), 2, chat.vocabulary_sha256)
    _, texts = open_texts(family.texts.path)
    corpus = score_windows(texts, chat, profile, max_contexts=500, has_own_tokens=False)
    reading = read_texts(
        foreigner, None, corpus.texts, chat, kept_tokens=8, on_progress=ignore_progress
    )
    assert 0 < len(reading.soft) < corpus.num_windows
    assert 0.2 < reading.shared_share < 1
    # The first position that both can be asked about, done by hand.
    text = corpus.texts[0]
    view = VocabularyView(foreigner, chat)
    encoded = view.encode(text)
    places = view.places(text, encoded)
    first = int(np.flatnonzero(places >= 0)[0])
    before = b"".join(
        foreigner.chat.text_bytes[token] for token in encoded.completion_ids[: places[first]]
    )
    ours = text.completion_ids[: text.windows.positions_N[first]]
    assert before == b"".join(chat.text_bytes[token] for token in ours)
    with torch.inference_mode():
        logits = foreigner.network(torch.tensor([encoded.ids])).logits[0]
    law = torch.softmax(logits[encoded.num_prompt - 1 + places[first]], dim=0)
    for token, weight in zip(reading.soft.ids_NK[0], reading.soft.weights_NK[0], strict=True):
        data = chat.text_bytes[token]
        theirs = foreigner.chat.text_bytes.index(data) if data else None
        expected = 0.0 if theirs is None else float(law[theirs])
        assert weight == pytest.approx(expected, abs=1e-6)


def test_a_suspect_with_other_tokens_needs_the_tokenizer_and_is_then_tested(
    family: Family, foreigner: LanguageModel, tmp_path: Path
) -> None:
    save_model(foreigner, tmp_path)
    chat = load_model(family.base).chat
    profile = toy_profile("kgw", toy_key(0), 2, chat.vocabulary_sha256)
    inputs = Inputs(
        str(tmp_path), family.texts.path, reference=str(family.base), tokenizer=str(family.base)
    )
    found = find_radioactivity(
        inputs, profile, toy_key(0), config=RadioactivityConfig(decoys=0)
    ).results
    assert not found.is_found
    assert 0 < found.counts.aligned_share < 1
    assert found.counts.contexts == found.tests["contrast"].num_contexts


def test_texts_without_answers_have_nothing_to_compare(family: Family) -> None:
    chat = load_model(family.base).chat
    with pytest.raises(DataError, match="No text"):
        first_positions([], chat, max_texts=3, max_tokens=3)
