"""Bytes, fidelity and decoding speed of the signal store on a real teacher.

    python benchmarks/signal_store.py [--prompts FILE.jsonl] [--student DIR] [--name NAME]
    python benchmarks/signal_store.py --table

The teacher answers the prompts (a JSON object with `instruction` a line, or the demo's news); what
it says at each token of its answers is scored as `capture` does it, and written with every codec.
`--name` says which entry of the file of results that becomes, `--text` what the texts are.
`--table` only writes the tables of `docs/benchmarks.md` anew.

What is measured, and how, is said in `_signal/storage.py` and `_signal/fidelity.py`.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._demo import demo_prompts
from benchmarks._machine import machine
from benchmarks._parts import BENCHMARKS
from benchmarks._parts.pages import write_tables
from benchmarks._parts.results import circumstances, keep, read
from benchmarks._signal.fidelity import gradient_error, students
from benchmarks._signal.storage import Rows, decoded, measure
from benchmarks._signal.tables import tables
from benchmarks._texts import sampled_texts

from stillhouse.chat import EncodedExample
from stillhouse.collect import CaptureConfig
from stillhouse.collect._capture_scores import scorer_of
from stillhouse.models import LanguageModel, load_model
from stillhouse.records import Message
from stillhouse.signal import AdaptiveCodec, Codec, RelativeCodec, TopKCodec

RESULTS = BENCHMARKS / "results" / "signal.json"
MAX_NEW_TOKENS = 96
TOP_K = 32
MOST = 512  # ids of a token of the adaptive codecs
SMALL_STEP = 200  # examples of the costly dense codecs
EXACT = (TOP_K, 128, MOST)
PUBLISHED = {
    "raw float16 logprobs + int32 ids, K = 32": 6 * TOP_K,
    "raw float16 logprobs + int32 ids, K = 128": 768,
    # `total_bits` of its settings in github.com/arcee-ai/DistillKit at a61c2e7, V = 49,152; what
    # its Parquet files take beside that is not in it.
    "DistillKit, recommended (by its code)": 312,
    "DistillKit, budget (by its code)": 114,
}


class Scored(NamedTuple):
    """Signals by key, and the codec that keeps them."""

    codec: Codec[Any]
    rows: Rows


def main() -> None:
    arguments = parser().parse_args()
    if arguments.table:
        write_tables("signal", tables(read(arguments.json)))
        return
    torch.set_num_threads(1)
    found = circumstances(("stillhouse", "pyarrow", "numpy"))
    teacher = load_model(arguments.teacher)
    examples = read_examples(arguments, teacher)
    kept = scored(teacher, examples, arguments.teacher)
    result = {
        "circumstances": found,
        "machine": machine(),
        "teacher": teacher.name,
        "text": arguments.text,
        "rows": len(examples),
        "tokens": sum(len(example.completion_ids) for example in examples),
        "published_bytes_per_token": PUBLISHED,
        "codecs": {label: measure(codec, rows) for label, codec, rows in codecs(kept)},
        "gradient_error": errors(teacher, examples, kept["topk"].rows, arguments),
    }
    print(json.dumps(result, indent=2))
    keep(arguments.name, result, arguments.json)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="", help="a model folder; SmolLM2-135M-Instruct")
    parser.add_argument(
        "--prompts", type=Path, help="JSON lines with `instruction`; the demo's news"
    )
    parser.add_argument("--name", default="news", help="of the entry in --json")
    parser.add_argument("--text", default="the demo's news", help="what the answers are, in words")
    parser.add_argument("--num-prompts", type=int, default=280)
    parser.add_argument("--temperature", type=float, default=1.0, help="of the answers")
    parser.add_argument("--examples", type=Path, help="where the answers are kept and found again")
    parser.add_argument("--student", help="a model folder of the teacher's vocabulary")
    parser.add_argument("--positions", type=int, default=1_500, help="of the gradient's error")
    parser.add_argument("--json", type=Path, default=RESULTS, help="the file of results")
    parser.add_argument("--table", action="store_true", help="write docs/benchmarks.md, only")
    return parser


def read_examples(arguments: argparse.Namespace, teacher: LanguageModel) -> list[EncodedExample]:
    if arguments.examples and arguments.examples.is_file():
        found = json.loads(arguments.examples.read_text())
        return [EncodedExample(ids=tuple(ids), num_prompt=num) for ids, num in found]
    texts = [text for text in read_texts(arguments.prompts) if len(text) < 600]
    examples = answers(teacher, texts[: arguments.num_prompts], arguments.temperature)
    if arguments.examples:
        kept = [[list(example.ids), example.num_prompt] for example in examples]
        arguments.examples.write_text(json.dumps(kept))
    return examples


def read_texts(path: Path | None) -> list[str]:
    if path is None:
        return [prompt.messages[-1].content for prompt in demo_prompts()]
    return [json.loads(line)["instruction"] for line in path.read_text().splitlines()]


def answers(
    teacher: LanguageModel, texts: Sequence[str], temperature: float
) -> list[EncodedExample]:
    return sampled_texts(
        teacher,
        [[Message(role="user", content=text)] for text in texts],
        max_tokens=MAX_NEW_TOKENS,
        temperature=temperature,
        first_seed=0,
    )


def scored(
    teacher: LanguageModel, examples: Sequence[EncodedExample], source: str
) -> dict[str, Scored]:
    """What capture would keep, by codec; of the costly ones for the first examples only."""
    found = {}
    for name in ("topk", "sampled", "actual", "hidden", "kl_cache"):
        config = CaptureConfig.model_validate(
            {"codec": name, "top_k": MOST, "student": f"local:{source}"}
        )
        scorer = scorer_of(config, teacher)
        asked = examples if name == "topk" else examples[:SMALL_STEP]
        rows = [(one.signal_key, next(iter(scorer.signals([one])))) for one in asked]
        found[name] = Scored(scorer.codec, rows)
    return found


def topk_codecs() -> dict[str, Codec[Any]]:
    """Those of the largest probabilities, by label."""
    return {
        "topk, K = 32": TopKCodec(TOP_K),
        "adaptive, K <= 32, tail 0.5 %": AdaptiveCodec(TOP_K, 0.005),
        "adaptive, K <= 16, tail 0.5 %": AdaptiveCodec(16, 0.005),
        "adaptive, K <= 512, tail 0.5 %": AdaptiveCodec(MOST, 0.005),
        **{
            f"relative, K <= 512, threshold {threshold}": RelativeCodec(MOST, threshold)
            for threshold in (0.03, 0.012, 0.006, 0.002)
        },
    }


def cut(rows: Rows, k: int) -> Rows:
    return [(key, signal.truncated(k)) for key, signal in rows]


def codecs(kept: dict[str, Scored]) -> Iterator[tuple[str, Codec[Any], Rows]]:
    """Label, codec and what it is to keep."""
    for label, codec in topk_codecs().items():
        yield label, codec, cut(kept["topk"].rows, codec.parameters["top_k"])
    yield "sampled, 12 draws", *kept["sampled"]
    yield "actual", *kept["actual"]
    yield "hidden, float16, without the head", *kept["hidden"]
    # The teacher's own head stands for a frozen student's: the bytes are those of its width.
    yield "kl_cache, float16", *kept["kl_cache"]


def errors(
    teacher: LanguageModel,
    examples: Sequence[EncodedExample],
    rows: Rows,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """By student, of what the codecs give back and of exact lists, on some of the examples."""
    asked, num_positions = [], 0
    for number in random.Random(1).sample(range(len(examples)), len(examples)):
        if num_positions < arguments.positions:
            asked.append(number)
            num_positions += len(examples[number].completion_ids)
    keys = [rows[number][0] for number in asked]
    targets = {f"exact, K = {k}": [rows[number][1].truncated(k) for number in asked] for k in EXACT}
    for label, codec in topk_codecs().items():
        targets[label] = decoded(codec, cut(rows, codec.parameters["top_k"]), keys)
    texts = [examples[number] for number in asked]
    return {
        name: gradient_error(teacher, texts, targets, network)
        for name, network in students(teacher, arguments.student)
    }


if __name__ == "__main__":
    main()
