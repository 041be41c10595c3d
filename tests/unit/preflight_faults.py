"""Seeded faults: a sound chain with one thing wrong in its artefacts, as it was met in the wild.

Each fault keeps every hash and every fingerprint right that its real counterpart would keep right,
so that nothing but the check in question can find it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tiny_chain import TOP_K, Chain, settings
from tiny_model import END_OF_TURN_ID, make_tiny_model

from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.models import LanguageModel, load_model, save_model, top_logprobs
from stillhouse.records import Example, Message
from stillhouse.signal import SignalReader, SignalWriter, TopKCodec, TopKSignal
from stillhouse.train import TrainConfig

BOS_ID = 1


class Run(NamedTuple):
    """What `train` would be given."""

    dataset: Path
    signal: Path | None
    config: TrainConfig


@dataclass(frozen=True)
class Fault:
    """A way to be wrong.

    Attributes:
        trap: Number in the list of traps that peers fell into.
        seed: Makes the run that has it.
        message: What the refusal says.
    """

    trap: int
    seed: Callable[[Chain, Path], Run]
    message: str


Row = tuple[Example, EncodedExample]
Change = Callable[[Example], Example]
Rewrite = Callable[[int, Row, TopKSignal], TopKSignal]


def with_dataset(chain: Chain, folder: Path, change: Change) -> Run:
    """The chain with other rows, as an import from elsewhere would give; it needs no signal."""
    dataset = write_rows(chain, folder / "dataset", map(change, rows_of(chain.dataset)))
    return Run(dataset.path, None, settings(chain, objective="sft"))


def with_signal(chain: Chain, folder: Path, rewrite: Rewrite, **changes: Any) -> Run:
    """The chain with another signal of the same fingerprints."""
    reader = SignalReader(open_artifact(chain.signal))
    signals = [(row, reader.read(row[1].signal_key)) for row in encoded_rows(chain.dataset, chain)]
    rewritten = [
        (row[1].signal_key, rewrite(number, row, signal))
        for number, (row, signal) in enumerate(signals)
    ]
    write_signal(chain, folder / "signal", rewritten)
    return Run(chain.dataset, folder / "signal", settings(chain, **changes))


def rows_of(dataset: Path) -> Iterator[Example]:
    yield from open_artifact(dataset).rows("examples", Example)


def encoded_rows(dataset: Path, chain: Chain) -> list[Row]:
    """The training rows as the teacher's own tokens."""
    chat = load_model(chain.model_dir).chat
    return [
        (row, chat.encode_example(row.messages, row.completion, row.completion_token_ids))
        for row in rows_of(dataset)
        if row.split == "train"
    ]


def write_rows(chain: Chain, folder: Path, rows: Iterator[Example]) -> Artifact:
    manifest = open_artifact(chain.dataset).manifest
    assert manifest.tokenizer is not None
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={})
    count = writer.write_rows("examples", rows, Example)
    return writer.finish(
        counts=Counts.model_validate({"in": count, "kept": count}),
        teacher=manifest.teacher,
        tokenizer_sha256=manifest.tokenizer.sha256,
        chat_template_sha256=manifest.chat_template_sha256,
        sampling=manifest.sampling,
    )


def write_signal(chain: Chain, folder: Path, rows: list[tuple[str, TopKSignal]]) -> Artifact:
    manifest = open_artifact(chain.signal).manifest
    assert manifest.tokenizer is not None
    writer = begin_artifact(
        folder,
        kind="signal",
        stage="capture",
        config={},
        parents=[open_artifact(chain.dataset)],
    )
    store = SignalWriter(writer, TopKCodec(rows[0][1].ids.shape[1]))
    store.add_all(rows)
    store.close()
    return writer.finish(
        counts=Counts.model_validate({"in": len(rows), "kept": len(rows)}),
        teacher=manifest.teacher,
        tokenizer_sha256=manifest.tokenizer.sha256,
        chat_template_sha256=manifest.chat_template_sha256,
    )


def with_ids(example: Example, ids: tuple[int, ...]) -> Example:
    return example.model_copy(update={"completion_token_ids": ids})


def ended(chain: Chain, folder: Path, ids: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Run:
    """Rows whose turns ended before the limit, with `ids` done to their tokens."""
    chat = load_model(chain.model_dir).chat

    def change(example: Example) -> Example:
        assert example.completion_token_ids is not None
        short = example.completion_token_ids[:6]
        text, _ = chat.decode_completion(short)
        return with_ids(example, ids((*short, END_OF_TURN_ID))).model_copy(
            update={"completion": text}
        )

    return with_dataset(chain, folder, change)


def scored_by(model: LanguageModel, render: Callable[[Row], EncodedExample]) -> Rewrite:
    """The signal that another model, or the same one under another prompt, would give."""

    def rewrite(number: int, row: Row, signal: TopKSignal) -> TopKSignal:
        ((ids, logprobs),) = top_logprobs(model, [render(row)], TOP_K)
        return TopKSignal.of(ids, logprobs)

    return rewrite


def as_it_is(row: Row) -> EncodedExample:
    return row[1]


def shifted(chain: Chain, folder: Path) -> Run:
    return with_signal(
        chain,
        folder,
        lambda number, row, signal: TopKSignal(
            np.roll(signal.ids, -1, axis=0),
            np.roll(signal.logprobs, -1, axis=0),
            np.roll(signal.tail_logprob, -1),
        ),
    )


def end_of_turn_masked(chain: Chain, folder: Path) -> Run:
    return ended(chain, folder, lambda ids: ids[:-1])


def unknown_end_of_turn(chain: Chain, folder: Path) -> Run:
    run = ended(chain, folder, lambda ids: ids)
    base = copied_model(chain, folder)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        path = base / name
        if path.exists():
            edited = json.loads(path.read_text())
            edited["eos_token" if name.startswith("tok") else "eos_token_id"] = (
                "<|endoftext|>" if name.startswith("tok") else 0
            )
            path.write_text(json.dumps(edited))
    return run._replace(config=settings(chain, objective="sft", base=f"local:{base}"))


def prompt_learnt(chain: Chain, folder: Path) -> Run:
    chat = load_model(chain.model_dir).chat
    return with_dataset(
        chain,
        folder,
        lambda row: with_ids(
            row, (*chat.encode_prompt(row.messages)[3:], *(row.completion_token_ids or ()))
        ),
    )


def padding_learnt(chain: Chain, folder: Path) -> Run:
    return ended(chain, folder, lambda ids: (*ids, END_OF_TURN_ID, END_OF_TURN_ID))


def two_turns_learnt(chain: Chain, folder: Path) -> Run:
    return ended(chain, folder, lambda ids: (*ids, *ids))


def tempered(chain: Chain, folder: Path) -> Run:
    """Logits divided by 3, as where a loss's temperature is applied at capture."""
    model = load_model(chain.model_dir)
    with torch.no_grad():
        model.network.model.norm.weight.div_(3.0)
    return with_signal(chain, folder, scored_by(model, as_it_is))


def small_head(chain: Chain, folder: Path) -> Run:
    model = load_model(chain.model_dir)
    model.network.resize_token_embeddings(300)
    base = saved(model, folder / "base")
    return Run(chain.dataset, None, settings(chain, objective="sft", base=f"local:{base}"))


def wide_signal(chain: Chain, folder: Path) -> Run:
    """A teacher with a padded head, whose pads have mass."""

    def rewrite(number: int, row: Row, signal: TopKSignal) -> TopKSignal:
        ids = signal.ids.copy()
        ids[:, 1] = 401
        return replace(signal, ids=ids)

    return with_signal(chain, folder, rewrite)


def renormalised(chain: Chain, folder: Path) -> Run:
    def rewrite(number: int, row: Row, signal: TopKSignal) -> TopKSignal:
        mass = np.exp(signal.logprobs).sum(axis=1, keepdims=True)
        return TopKSignal(
            signal.ids, signal.logprobs - np.log(mass), np.full(len(signal), -np.inf, np.float32)
        )

    return with_signal(chain, folder, rewrite)


def other_tokenizer(chain: Chain, folder: Path) -> Run:
    """Of the same size: two tokens have changed places."""
    base = copied_model(chain, folder)
    path = base / "tokenizer.json"
    edited = json.loads(path.read_text())
    vocabulary = edited["model"]["vocab"]
    first, second = list(vocabulary)[50:52]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(edited))
    return Run(chain.dataset, chain.signal, settings(chain, base=f"local:{base}"))


def other_template(chain: Chain, folder: Path) -> Run:
    model = load_model(chain.model_dir)
    model.chat.tokenizer.chat_template = model.chat.tokenizer.chat_template.replace("\n", " ")
    base = saved(model, folder / "base")
    return Run(chain.dataset, None, settings(chain, objective="sft", base=f"local:{base}"))


def other_prompt_at_capture(chain: Chain, folder: Path) -> Run:
    """The teacher saw a system prompt when it was scored, and none when it wrote."""
    model = load_model(chain.model_dir)
    system = Message(role="system", content="You are a town council.")

    def render(row: Row) -> EncodedExample:
        prompt = model.chat.encode_prompt((system, *row[0].messages))
        return EncodedExample((*prompt, *row[1].completion_ids), len(prompt))

    return with_signal(chain, folder, scored_by(model, render))


def bos_in_front(chain: Chain, folder: Path) -> Run:
    return with_dataset(
        chain, folder, lambda row: with_ids(row, (BOS_ID, *(row.completion_token_ids or ())))
    )


def rows_misaligned(chain: Chain, folder: Path) -> Run:
    """Every row has the signal of the one before, as where a cache is read by place."""
    reader = SignalReader(open_artifact(chain.signal))
    rows = encoded_rows(chain.dataset, chain)
    return with_signal(
        chain,
        folder,
        lambda number, row, signal: reader.read(rows[number - 1][1].signal_key),
    )


def texts_misaligned(chain: Chain, folder: Path) -> Run:
    """Every row has the tokens of the one before."""
    ids = [row.completion_token_ids or () for row in rows_of(chain.dataset)]
    left = iter([ids[-1], *ids])
    return with_dataset(chain, folder, lambda row: with_ids(row, next(left)))


def stale_signal(chain: Chain, folder: Path) -> Run:
    """The dataset was curated again, and has a row less."""
    rows = list(rows_of(chain.dataset))
    dataset = write_rows(chain, folder / "dataset", iter(rows[1:]))
    return Run(dataset.path, chain.signal, settings(chain))


def signal_with_a_hole(chain: Chain, folder: Path) -> Run:
    """The last row was never captured: met only when its turn comes."""
    rows = encoded_rows(chain.dataset, chain)
    reader = SignalReader(open_artifact(chain.signal))
    kept = [(row.signal_key, reader.read(row.signal_key)) for _, row in rows[:-1]]
    write_signal(chain, folder / "signal", kept)
    return Run(chain.dataset, folder / "signal", settings(chain))


def signal_cut_short(chain: Chain, folder: Path) -> Run:
    return with_signal(chain, folder, lambda number, row, signal: signal.rows(0, len(signal) - 1))


def wrong_teacher(chain: Chain, folder: Path) -> Run:
    """Another model of the same architecture, tokenizer and template."""
    other = load_model(make_tiny_model(folder / "other", seed=1))
    return with_signal(chain, folder, scored_by(other, as_it_is))


def quantised_teacher(chain: Chain, folder: Path) -> Run:
    """Six bits a weight when it was captured, all of them when the text was written."""
    model = load_model(chain.model_dir)
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.ndim == 2:
                step = parameter.abs().amax(dim=1, keepdim=True).clamp(min=1e-6) / 31
                parameter.copy_((parameter / step).round() * step)
    return with_signal(chain, folder, scored_by(model, as_it_is))


def held_out_trained(chain: Chain, folder: Path) -> Run:
    held_out = [row for row in rows_of(chain.dataset) if row.split == "held_out"]
    copies = [row.model_copy(update={"split": "train", "id": f"c{row.id}"}) for row in held_out]
    rows = [*rows_of(chain.dataset), *copies[:3]]
    dataset = write_rows(chain, folder / "dataset", iter(rows))
    return Run(dataset.path, None, settings(chain, objective="sft"))


def foreign_text(chain: Chain, folder: Path) -> Run:
    """Another model's tokens under this teacher's name."""
    numbers = np.random.Generator(np.random.Philox(0))
    chat = load_model(chain.model_dir).chat

    def change(row: Example) -> Example:
        ids = tuple(int(one) for one in numbers.integers(3, 360, 12))
        return with_ids(row, ids).model_copy(update={"completion": chat.decode_completion(ids)[0]})

    return with_dataset(chain, folder, change)


def copied_model(chain: Chain, folder: Path) -> Path:
    return Path(shutil.copytree(chain.model_dir, folder / "base"))


def saved(model: LanguageModel, folder: Path) -> Path:
    folder.mkdir()
    save_model(model, folder)
    return folder


FAULTS: dict[str, Fault] = {
    "the signal is shifted by one": Fault(1, shifted, "off by one|less likely"),
    "the end of turn is masked": Fault(2, end_of_turn_masked, "would never stop"),
    "the end of turn is another token": Fault(2, unknown_end_of_turn, "would never stop"),
    "the prompt is learnt": Fault(3, prompt_learnt, "learn other text"),
    "padding is learnt": Fault(3, padding_learnt, "learn other text"),
    "two turns are learnt": Fault(3, two_turns_learnt, "learn other text"),
    "the signal has a temperature": Fault(6, tempered, "flatter|another precision"),
    "the head is smaller than the tokenizer": Fault(7, small_head, "300 rows in its head"),
    "the signal has ids of padding": Fault(7, wide_signal, "token id 401"),
    "the top-k is renormalised": Fault(8, renormalised, "renormalised"),
    "another tokenizer of the same size": Fault(9, other_tokenizer, "another tokenizer"),
    "another template": Fault(10, other_template, "another chat template"),
    "another prompt at capture": Fault(10, other_prompt_at_capture, "less likely|precision"),
    "a BOS in front": Fault(11, bos_in_front, "begin with the special token"),
    "the signals are a row late": Fault(16, rows_misaligned, "less likely|positions for"),
    "the tokens are a row late": Fault(16, texts_misaligned, "learn other text"),
    "a stale signal": Fault(16, stale_signal, "another dataset"),
    "a signal with a hole": Fault(16, signal_with_a_hole, "lacks 1 of 32"),
    "a signal that is cut short": Fault(16, signal_cut_short, "11 positions for 12"),
    "a teacher of the same architecture": Fault(18, wrong_teacher, "less likely"),
    "a quantised teacher": Fault(20, quantised_teacher, "another precision"),
    "held-out prompts are trained on": Fault(21, held_out_trained, "training prompts too"),
    "text of another model": Fault(18, foreign_text, "less likely"),
}
