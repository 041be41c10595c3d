"""A small range: random models that nobody would copy, and little of everything."""

from pathlib import Path
from typing import Any

from stillhouse.pipeline import RangeConfig

SUBJECTS = ("bridge", "bakery", "farm", "town", "prize", "council")


def write_prompts(path: Path, *, train: int = 36, held_out: int = 8) -> Path:
    """Prompts of two splits; held-out ones have groups of their own."""
    lines = []
    for number in range(train + held_out):
        split = "train" if number < train else "held_out"
        subject = SUBJECTS[number % len(SUBJECTS)]
        lines.append(
            f'{{"prompt": "Write about the {subject} number {number}.", "split": "{split}", '
            f'"group": "{split}-{subject}"}}'
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def settings(folder: Path, teacher: Path, base: Path, **changes: Any) -> dict[str, Any]:
    """One field with a teacher and a base of random numbers."""
    write_prompts(folder / "prompts.jsonl")
    return {
        "fields": {
            "words": {
                "prompts": "prompts.jsonl",
                "teacher": f"local:{teacher}",
                "editor": f"local:{teacher}",
                "num_prompts": 36,
                "num_held_out": 8,
                "max_tokens": 20,
                "top_logprobs": 8,
                "train": {
                    "base": f"local:{base}",
                    "epochs": 12,
                    "batch_size": 9,
                    "learning_rate": 5e-3,
                },
            }
        },
        "defences": {
            "none": {},
            "gumbel": {"mark": {"scheme": "gumbel", "context_width": 1}},
            "hide": {"hide_logprobs": True},
            "watched": {"limit": {"per_day": 4, "days": 3, "watch": True, "level": 0.2}},
        },
        "attacks": {
            "text": {},
            "logprobs": {"reads": "logprobs"},
            "mixed": {"mixing": 0.5},
            "accounts": {"accounts": 9},
        },
        "honest_accounts": 40,
        "reference_accounts": 60,
        "reference_requests": 40,
        "max_contexts": 500,
        "decoys": 20,
        **changes,
    }


def write_keys(folder: Path) -> None:
    """Keys that are the same in every run; a range makes random ones where there are none."""
    folder.mkdir(parents=True, mode=0o700)
    for name, kind in (("range.watermark-key", "watermark"), ("traffic.key", "traffic")):
        path = folder / name
        path.touch(mode=0o600)
        key = bytes(range(32)).hex()
        path.write_text(f'{{"key":"{key}","kind":"stillhouse/{kind}/key/1"}}\n', encoding="utf-8")


def config_of(given: dict[str, Any]) -> RangeConfig:
    return RangeConfig.model_validate(given)
