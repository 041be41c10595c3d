"""Bytes, fidelity and decoding speed of the signal store on a real teacher.

    python benchmarks/signal_store.py [--prompts FILE.jsonl] [--student DIR] [--json FILE]

The teacher is SmolLM2-135M-Instruct. It answers the prompts (a JSON object with `instruction` a
line, or the demo's news) at temperature 1; what it says at each token of its answers is scored as
`capture` does it, and written with every codec. `--name` says which entry of the file of results
that becomes, `--text` what the texts are.

Fidelity: the relative L2 error of the gradient by the logits, q - p, of a top-k + tail target
against the dense one, for a student in training and for the teacher with a little noise in its
weights. `k` is the error of the exact top-k, `k_and_codes` that of what was decoded, `codes` the
distance of the two. `bias` is the norm of the mean error over the mean norm of the gradient.

Speed is in CPU seconds of one core, so that a busy machine does not count: rows in the order they
were written, in random order with what the reader caches, and in random order without a cache.
"""

import argparse
import copy
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._demo import demo_prompts
from benchmarks._machine import machine
from benchmarks._parts.results import circumstances, keep
from benchmarks._texts import drawn_texts

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.chat import EncodedExample
from stillhouse.collect import CaptureConfig
from stillhouse.collect._capture_scores import scorer_of
from stillhouse.models import (
    GenerationJob,
    LanguageModel,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.records import Message
from stillhouse.signal import (
    AdaptiveCodec,
    Codec,
    Signal,
    SignalReader,
    SignalWriter,
    TopKCodec,
    TopKSignal,
    describe,
)

MAX_NEW_TOKENS = 96
TOP_K = 32
TILE = 100
NOISE = 0.03  # of each matrix's standard deviation: 0.03 nats from the teacher
SMALL_STEP = 200  # examples of the costly dense codecs
PUBLISHED = {
    "raw float16 logprobs + int32 ids, K = 32": 6 * TOP_K,
    "raw float16 logprobs + int32 ids, K = 128": 768,
    "DistillKit, recommended (published)": 312,
    "DistillKit, budget (published)": 114,
}

Rows = list[tuple[str, Signal]]


class Scored(NamedTuple):
    """Signals by key, and the codec that keeps them."""

    codec: Codec[Any]
    rows: Rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--prompts", type=Path, help="JSON lines with `instruction`; the demo's news"
    )
    parser.add_argument("--name", default="news", help="of the entry in --json")
    parser.add_argument("--text", default="the demo's news", help="what the answers are, in words")
    parser.add_argument("--num-prompts", type=int, default=280)
    parser.add_argument("--examples", type=Path, help="where the answers are kept and found again")
    parser.add_argument("--student", help="a model folder of the teacher's vocabulary")
    parser.add_argument("--positions", type=int, default=1_500, help="of the gradient's error")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load_model("")
    examples = read_examples(arguments, teacher)
    kept = scored(teacher, examples)
    result = {
        "circumstances": circumstances(("stillhouse", "pyarrow", "numpy")),
        "machine": machine(),
        "text": arguments.text,
        "rows": len(examples),
        "tokens": sum(len(example.completion_ids) for example in examples),
        "published_bytes_per_token": PUBLISHED,
        "codecs": {label: measure(codec, rows) for label, codec, rows in codecs(kept)},
        "gradient_error": {
            name: gradient_error(teacher, examples, kept["topk"].rows, network, arguments.positions)
            for name, network in students(teacher, arguments.student)
        },
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        keep(arguments.name, result, arguments.json)


def read_examples(arguments: argparse.Namespace, teacher: LanguageModel) -> list[EncodedExample]:
    if arguments.examples and arguments.examples.is_file():
        found = json.loads(arguments.examples.read_text())
        return [EncodedExample(ids=tuple(ids), num_prompt=num) for ids, num in found]
    texts = [text for text in read_texts(arguments.prompts) if len(text) < 600]
    examples = answers(teacher, texts[: arguments.num_prompts])
    if arguments.examples:
        kept = [[list(example.ids), example.num_prompt] for example in examples]
        arguments.examples.write_text(json.dumps(kept))
    return examples


def read_texts(path: Path | None) -> list[str]:
    if path is None:
        return [prompt.messages[-1].content for prompt in demo_prompts()]
    return [json.loads(line)["instruction"] for line in path.read_text().splitlines()]


def answers(teacher: LanguageModel, texts: Sequence[str]) -> list[EncodedExample]:
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=teacher.chat.encode_prompt([Message(role="user", content=text)]),
            max_tokens=MAX_NEW_TOKENS,
            temperature=1.0,
            seed=number,
        )
        for number, text in enumerate(texts)
    ]
    return drawn_texts(teacher, jobs)


@torch.inference_mode()
def hidden_states(network: Any, example: EncodedExample) -> Tensor:
    return predicting_hidden_states(network, predicting_batch([example]))


def tiles(teacher: LanguageModel, hidden_nD: Tensor) -> Iterator[Tensor]:
    head_VD = output_head(teacher.network).detach()
    for hidden_CD in torch.split(hidden_nD, TILE):
        yield torch.log_softmax(hidden_CD @ head_VD.T, dim=1)


def scored(teacher: LanguageModel, examples: Sequence[EncodedExample]) -> dict[str, Scored]:
    """What capture would keep, by codec; of the costly ones for the first examples only."""
    found = {}
    for name in ("topk", "sampled", "actual", "hidden", "kl_cache"):
        scorer = scorer_of(CaptureConfig.model_validate({"codec": name, "top_k": TOP_K}), teacher)
        asked = examples if name == "topk" else examples[:SMALL_STEP]
        rows = [(one.signal_key, next(iter(scorer.signals([one])))) for one in asked]
        found[name] = Scored(scorer.codec, rows)
    return found


def codecs(kept: dict[str, Scored]) -> Iterator[tuple[str, Codec[Any], Rows]]:
    """Label, codec and what it is to keep."""
    topk = kept["topk"].rows
    yield "topk, K = 32", kept["topk"].codec, topk
    yield "adaptive, K <= 32, tail 0.5 %", AdaptiveCodec(TOP_K, 0.005), topk
    yield "adaptive, K <= 32, tail 2 %", AdaptiveCodec(TOP_K, 0.02), topk
    yield "adaptive, K <= 16, tail 0.5 %", AdaptiveCodec(16, 0.005), topk
    yield "sampled, 12 draws", *kept["sampled"]
    yield "actual", *kept["actual"]
    yield "hidden, float16, without the head", *kept["hidden"]
    # The teacher's own head stands for a frozen student's: the bytes are those of its width.
    yield "kl_cache, float16", *kept["kl_cache"]


def measure(codec: Codec[Any], rows: Rows) -> dict[str, Any]:
    """Bytes per token of the whole folder, and tokens per CPU second of reading."""
    num_tokens = sum(len(signal) for _, signal in rows)
    with tempfile.TemporaryDirectory() as folder:
        started_s = time.process_time()
        artifact = write(Path(folder) / "signal", codec, rows)
        encoded_s = time.process_time() - started_s
        size = sum(path.stat().st_size for path in artifact.path.iterdir())
        keys = [key for key, _ in rows]
        shuffled = random.Random(0).sample(keys, len(keys))
        first = [SignalReader(artifact).read(key) for key in keys]
        return {
            "bytes_per_token": size / num_tokens,
            "tokens": num_tokens,
            "ids_per_token": _ids_per_token(first),
            "encode_tokens_per_s": num_tokens / encoded_s,
            "decode_tokens_per_s": {
                "in_order": read_rate(SignalReader(artifact), keys, num_tokens),
                "shuffled": read_rate(SignalReader(artifact), shuffled, num_tokens),
                "shuffled_and_cached": read_rate(_warm(artifact, keys), shuffled, num_tokens),
                "shuffled_without_cache": read_rate(
                    SignalReader(artifact, cache_bytes=1), shuffled, num_tokens
                ),
            },
        }


def _ids_per_token(signals: Sequence[Any]) -> float | None:
    if not isinstance(signals[0], TopKSignal):
        return None
    return float(np.concatenate([np.isfinite(one.logprobs).sum(axis=1) for one in signals]).mean())


def write(folder: Path, codec: Codec[Any], rows: Rows) -> Artifact:
    artifact = begin_artifact(folder, kind="signal", stage="capture", config={})
    store = SignalWriter(artifact, codec)
    for key, signal in rows:
        store.add(key, signal)
    store.close()
    return artifact.finish(
        counts=Counts(num_in=len(rows), kept=len(rows)), results={"codec": describe(codec)}
    )


def _warm(artifact: Artifact, keys: Sequence[str]) -> SignalReader:
    reader = SignalReader(artifact)
    for key in keys:
        reader.read(key)
    return reader


def read_rate(reader: SignalReader, keys: Sequence[str], num_tokens: int) -> float:
    """Checksums are part of a first reading, as they are in use."""
    started_s = time.process_time()
    for key in keys:
        reader.read(key)
    return num_tokens / (time.process_time() - started_s)


def students(teacher: LanguageModel, folder: str | None) -> Iterator[tuple[str, Any]]:
    noisy = copy.deepcopy(teacher.network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in noisy.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise * weight.std() * NOISE)
    yield "teacher with noise", noisy
    if folder:
        yield "student of 12 layers", load_model(folder).network


@torch.inference_mode()
def gradient_error(
    teacher: LanguageModel,
    examples: Sequence[EncodedExample],
    rows: Rows,
    student: Any,
    num_positions: int,
) -> dict[str, Any]:
    """Errors of top-k targets, fixed and adaptive, exact and decoded, over whole examples."""
    targets = {"k": [signal for _, signal in rows]}
    for name, codec in (
        ("k_and_codes", TopKCodec(TOP_K)),
        ("adaptive_and_codes", AdaptiveCodec(TOP_K, 0.005)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            reader = SignalReader(write(Path(folder) / "signal", codec, rows))
            targets[name] = [reader.read(key) for key, _ in rows]
    tally = _Tally(list(targets))
    for number in random.Random(1).sample(range(len(examples)), len(examples)):
        if tally.num_positions >= num_positions:
            break
        student_nD = hidden_states(student, examples[number])
        teacher_nD = hidden_states(teacher.network, examples[number])
        start = 0
        for logprobs_CV, hidden_CD in zip(
            tiles(teacher, teacher_nD), torch.split(student_nD, TILE), strict=True
        ):
            logits_CV = hidden_CD @ output_head(student).T
            stop = start + len(logits_CV)
            given = {name: signals[number].rows(start, stop) for name, signals in targets.items()}
            tally.add(logprobs_CV.exp(), torch.softmax(logits_CV, dim=1), given)
            start = stop
    return tally.result()


class _Tally:
    def __init__(self, names: Sequence[str]) -> None:
        self.num_positions = 0
        self._errors: dict[str, list[Tensor]] = {name: [] for name in (*names, "codes")}
        self._mean_error: dict[str, Any] = dict.fromkeys(names, 0.0)
        self._norms: list[Tensor] = []
        self._mean_gradient: Any = 0.0
        self._kl: list[Tensor] = []
        self._tails: list[Tensor] = []

    def add(self, teacher_CV: Tensor, student_CV: Tensor, given: dict[str, TopKSignal]) -> None:
        dense_CV = student_CV - teacher_CV
        norm_C = dense_CV.norm(dim=1)
        gradients = {name: sparse_gradient(student_CV, signal) for name, signal in given.items()}
        for name, gradient_CV in gradients.items():
            error_CV = gradient_CV - dense_CV
            self._errors[name].append(error_CV.norm(dim=1) / norm_C)
            self._mean_error[name] = self._mean_error[name] + error_CV.sum(dim=0).double()
        codes_CV = gradients["k_and_codes"] - gradients["k"]
        self._errors["codes"].append(codes_CV.norm(dim=1) / norm_C)
        self._norms.append(norm_C)
        self._mean_gradient = self._mean_gradient + dense_CV.sum(dim=0).double()
        log_ratio_CV = (teacher_CV.clamp_min(1e-30) / student_CV.clamp_min(1e-30)).log()
        self._kl.append((teacher_CV * log_ratio_CV).sum(dim=1))
        self._tails.append(torch.from_numpy(np.exp(given["k"].tail_logprob)))
        self.num_positions += len(norm_C)

    def result(self) -> dict[str, Any]:
        norms = torch.cat(self._norms)
        summary: dict[str, Any] = {
            "positions": self.num_positions,
            "kl_nats": float(torch.cat(self._kl).mean()),
            "tail_mass_at_k": float(torch.cat(self._tails).mean()),
        }
        for name, parts in self._errors.items():
            errors = torch.cat(parts)
            summary[name] = {
                "mean": float(errors.mean()),
                "median": float(errors.median()),
                "p95": float(errors.quantile(0.95)),
                "of_all_positions_together": float(
                    ((errors * norms) ** 2).sum().sqrt() / (norms**2).sum().sqrt()
                ),
            }
        for name, error_V in self._mean_error.items():
            mean_norm = float(norms.sum())
            summary[name]["bias"] = float(error_V.norm()) / mean_norm
            summary[name]["bias_of_mean_gradient"] = float(
                error_V.norm() / self._mean_gradient.norm()
            )
        return summary


def sparse_gradient(student_CV: Tensor, signal: TopKSignal) -> Tensor:
    """Of top-k + tail, by the logits: q - p on the ids, r (Q - P) elsewhere, r = q / Q."""
    ids_CK = torch.from_numpy(signal.ids).long()
    probs_CK = torch.from_numpy(np.exp(signal.logprobs))
    tail_C1 = torch.from_numpy(np.exp(signal.tail_logprob)).unsqueeze(1)
    outside_CV = student_CV.clone().scatter_(1, ids_CK, 0.0)
    mass_C1 = outside_CV.sum(dim=1, keepdim=True).clamp_min(1e-30)
    gradient_CV = outside_CV * ((mass_C1 - tail_C1) / mass_C1)
    # Fillers repeat the first id and have no mass: added, they change nothing.
    teacher_CV = torch.zeros_like(student_CV).scatter_add_(1, ids_CK, probs_CK)
    kept_CK = student_CV.gather(1, ids_CK) - teacher_CV.gather(1, ids_CK)
    return gradient_CV.scatter_(1, ids_CK, kept_CK)


if __name__ == "__main__":
    main()
