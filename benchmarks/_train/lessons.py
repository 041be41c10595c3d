"""The texts as our own loop learns them."""

from benchmarks._train.materials import Materials, read_texts

from stillhouse.artifacts import open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.signal import SignalReader
from stillhouse.train._guides import CapturedSignal, Guide, own_tokens
from stillhouse.train._lessons import Lesson


def lessons_of(materials: Materials) -> list[Lesson]:
    """All texts, in their order."""
    return [
        Lesson(
            EncodedExample(
                ids=(*row["prompt_ids"], *row["completion_ids"]), num_prompt=len(row["prompt_ids"])
            )
        )
        for row in read_texts(materials.texts)
    ]


def guide_of(materials: Materials, objective: str) -> Guide:
    """What the student is to predict: the captured signal, or the text for `sft`."""
    if objective == "sft":
        return own_tokens
    return CapturedSignal(SignalReader(open_artifact(materials.signal)))
