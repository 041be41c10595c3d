"""How fast students are served: decisions a second, and text on parallel streams.

    python benchmarks/serve.py [--rounds 3] [--data FOLDER] [--work FOLDER] [--table]

`labels`: students of Banking77's recorded teacher behind `stillhouse serve`, a process of its own,
asked by another process over many connections at once, and then at a fixed rate. `streams`: eight
streams of text at once by SmolLM2-135M-Instruct behind our server, in float32 and as the GGUF file
that the weights came from, beside `transformers` generate on the same eight prompts as one static
batch and beside llama.cpp's own server on that file. All take turns; the best round of each counts.
Clients and servers share the machine's cores.

`overhead`: a cascade at a fixed rate beside its teacher asked directly, a loopback process with a
fixed delay. `deadline`: what clients get, and when, while the teacher is out in several ways.
`soak`: an hour (`--minutes`) at 50 requests a second with clients that hang up, broken bodies, and
outages of the teacher: every request is accounted for, and the memory of the server watched.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts.command import Benchmark, run
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.tables import GOALS, tables


def labels(options: ServeOptions) -> dict[str, Any]:
    from benchmarks._serve.labels import measured

    return measured(options)


def streams(options: ServeOptions) -> dict[str, Any]:
    from benchmarks._serve.streams import measured

    return measured(options)


def overhead(options: ServeOptions) -> dict[str, Any]:
    from benchmarks._serve.overhead import measured

    return measured(options)


def deadline(options: ServeOptions) -> dict[str, Any]:
    from benchmarks._serve.deadline import measured

    return measured(options)


def soak(options: ServeOptions) -> dict[str, Any]:
    from benchmarks._serve.soak import measured

    return measured(options)


SERVE = Benchmark(
    section="serve",
    parts={
        "labels": labels,
        "streams": streams,
        "overhead": overhead,
        "deadline": deadline,
        "soak": soak,
    },
    options_type=ServeOptions,
    packages=("stillhouse", "aiohttp", "torch", "transformers", "xllamacpp"),
    goals=GOALS,
    tables=tables,
)

if __name__ == "__main__":
    run(SERVE, __doc__)
