"""A folder of small benchmark tasks, in the form of lm-evaluation-harness."""

import json
from pathlib import Path
from typing import Any

TOPICS = ("town", "bakery", "farm", "bridge")
CHOICES = ("a bridge", "bread", "it on Monday after two years")


def items(number: int) -> list[dict[str, Any]]:
    """Questions with three choices; four of them are about one page."""
    return [
        {
            "question": f"Question {index}: the {TOPICS[index % 4]} opened",
            "choices": list(CHOICES),
            "answer": index % 3,
            "page": f"page {index // 4}",
        }
        for index in range(number)
    ]


def make_tasks(folder: Path, *, number: int = 40) -> Path:
    """The tasks `quiz` (choices), `write` (generation) and `stream` (whole texts)."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items(number)))
    source = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / ".cache")},
        "test_split": "test",
        "fewshot_split": "test",
    }
    quiz = {
        "task": "quiz",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metadata": {"version": 2},
    }
    write = {
        "task": "write",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["e"], "max_gen_toks": 9},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    stream = {
        "task": "stream",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }
    for task in (quiz, write, stream):
        # JSON is YAML.
        (folder / f"{task['task']}.yaml").write_text(json.dumps({**source, **task}))
    return folder
