"""Answers that students learn, as dataset artefacts."""

from collections.abc import Sequence
from pathlib import Path

from stillhouse.artifacts import Counts, begin_artifact
from stillhouse.records import Example, Message

Answer = tuple[str, list[int], str]
"""The prompt, the token ids where they are known, and the text."""


def kept_dataset(folder: Path, answers: Sequence[Answer], *, tokenizer_sha256: str) -> Path:
    """The dataset in a folder; made once.

    Args:
        folder: Of the dataset.
        answers: Of which it is made, unless it is there.
        tokenizer_sha256: Of what the ids are of.
    """
    if (folder / "manifest.json").exists():
        return folder
    config = {"name": folder.name}
    writer = begin_artifact(folder, kind="dataset", stage="curate", config=config)
    examples = (
        Example(
            id=f"e{number}",
            prompt_id=f"p{number}",
            request_id=f"r{number}",
            messages=(Message(role="user", content=prompt),),
            completion=text,
            completion_token_ids=tuple(ids) if ids else None,
        )
        for number, (prompt, ids, text) in enumerate(answers)
    )
    writer.write_rows("examples", examples, Example)
    counts = Counts.model_validate({"in": len(answers), "kept": len(answers)})
    return writer.finish(counts=counts, tokenizer_sha256=tokenizer_sha256).path
