"""stillhouse: `collect()`, which ends with an artefact.

    python ask_stillhouse.py URL PROMPTS OUT CONCURRENCY [CONFIG_JSON]

Says apart what it took until the last completion was in the ledger, where it is on disk and cannot
be lost any more.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from stillhouse.collect import CollectConfig, collect
from stillhouse.runlog import Progress


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(url: str, prompts: str, out: str, concurrency: str, given: str = "{}") -> None:
    settings: dict[str, Any] = {"sampling": {"max_tokens": 256}, **json.loads(given)}
    settings["access"] = {"concurrency": int(concurrency), **settings.get("access", {})}
    moments: list[tuple[float, float]] = []

    def note(progress: Progress) -> None:
        moments.append((cpu_s(), time.perf_counter()))

    artifact = collect(
        Path(prompts),
        Path(out) / "completions",
        teacher=f"{url}/v1#mock-small",
        config=CollectConfig.model_validate(settings),
        on_progress=note,
    )
    (first_cpu_s, first_s), (last_cpu_s, last_s) = moments[0], moments[-1]
    result = {
        "num_answers": artifact.manifest.counts.kept,
        "asking_cpu_s": last_cpu_s - first_cpu_s,
        "asking_s": last_s - first_s,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
