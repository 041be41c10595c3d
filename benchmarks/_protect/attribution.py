"""Which of four teachers taught a student: real models, without any watermark.

    python -m benchmarks._protect.attribution --work DIR [--layers 12] [--students 3] ...

Every model is kept in `--work` and is not made again: a stopped run goes on. Four teachers are
SmolLM2-135M-Instruct, fine-tuned on four kinds of text by people. Students are the same base,
fine-tuned on a teacher's answers to dolly's instructions. Controls are of that base too and
fine-tuned on as much text of another origin: half of them on what people answered, half on the
answers of the base itself. Each control is also tried as a suspect, against the others.

With the default sizes on two quiet cores: about five hours; with `--layers 12` about two.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks._protect.answers import Answer, kept_dataset
from benchmarks._protect.radioactivity import DATA, _generated, _teacher, _write

TEACHERS = ("news", "science", "novels", "medicine")
LEVEL = 0.01


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and compared.

    Attributes:
        work: Folder that keeps what was made.
        data: Folder of real data sets.
        layers: Of each model; 30 is the whole one.
        students: Of each teacher.
        controls: In all.
        texts: That a model learns.
        tokens: Of an answer at most.
        epochs: Of each model.
        precision: In which models are trained; all are read in float32.
        compared: Texts that all models read.
    """

    work: Path
    data: Path = DATA
    layers: int = 30
    students: int = 3
    controls: int = 8
    texts: int = 300
    tokens: int = 96
    epochs: float = 2.0
    precision: str = "float32"
    compared: int = 150


def run(sizes: Sizes) -> dict[str, Any]:
    """How many students are given to their teachers, and how many controls to anybody."""
    started_s = time.monotonic()
    lab = Lab(sizes)
    teachers = {name: lab.teacher(name) for name in TEACHERS}
    students = {
        (name, number): lab.student(name, number)
        for number in range(sizes.students)
        for name in TEACHERS
    }
    controls = [lab.control(number) for number in range(sizes.controls)]
    agreements = lab.agreements(teachers, [*students.values(), *controls])
    from stillhouse.protect import Agreements, attribute

    overlaps_MPJ, between = agreements
    first_control = len(students)
    controls_CPJ = overlaps_MPJ[first_control:]
    entry: dict[str, Any] = {"sizes": {k: v for k, v in vars(sizes).items() if k[0] not in "wd"}}
    entry["students"] = [
        {
            "teacher": name,
            **_told(attribute(Agreements(own, controls_CPJ, between), TEACHERS, level=LEVEL)),
        }
        for (name, _), own in zip(students, overlaps_MPJ, strict=False)
    ]
    entry["controls"] = []
    for place, own in enumerate(controls_CPJ):
        others = np.delete(controls_CPJ, place, axis=0)
        found = attribute(Agreements(own, others, between), TEACHERS, level=LEVEL)
        entry["controls"].append(_told(found))
    right = [one["named"] == one["teacher"] for one in entry["students"]]
    wrong = [one["named"] not in (None, one["teacher"]) for one in entry["students"]]
    accused = [one["named"] is not None for one in entry["controls"]]
    entry |= {
        "right_share": float(np.mean(right)),
        "wrong_share": float(np.mean(wrong)),
        "accused_controls_share": float(np.mean(accused)),
        "seconds": round(time.monotonic() - started_s, 1),
    }
    return entry


def _told(found: Any) -> dict[str, Any]:
    return {
        "named": found.teacher,
        "p_adjusted": {one.teacher: one.p_adjusted for one in found.findings},
        "imitation": {one.teacher: one.imitation for one in found.findings},
        "detectable": {one.teacher: one.detectable for one in found.findings},
    }


class Lab:
    """Makes models and texts, each once."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.folder = sizes.work / f"attribution-{sizes.layers}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def teacher(self, name: str) -> Path:
        return self._trained(f"teacher-{name}", _people(self.sizes, name)[: self.sizes.texts])

    def student(self, teacher: str, number: int) -> Path:
        rows = self._answers(f"{teacher}-{number}", str(self.teacher(teacher)), seed=number)
        return self._trained(f"student-{teacher}-{number}", rows)

    def control(self, number: int) -> Path:
        if number % 2:
            rows = self._answers(f"base-{number}", self._base, seed=50 + number)
        else:
            # A part of them each, so that controls differ by what they learnt, as suspects do.
            rows = _people(self.sizes, "answers")
            order = np.random.default_rng(number).permutation(len(rows))
            rows = [rows[place] for place in order[: self.sizes.texts]]
        return self._trained(f"control-{number}", rows)

    def agreements(
        self, teachers: dict[str, Path], models: list[Path]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Overlaps of each model with the teachers (M, P, J), and of the teachers (J, P, J)."""
        from stillhouse.models import load_model
        from stillhouse.protect._agreement import agreements, first_positions
        from stillhouse.protect._texts import Text
        from stillhouse.records import Message
        from stillhouse.runlog import ignore_progress

        names = "".join(path.name for path in [*teachers.values(), *models])
        path = self.folder / "agreements.json"
        if path.exists() and (kept := json.loads(path.read_text()))["names"] == names:
            return np.array(kept["models"]), np.array(kept["between"])
        # Of all kinds, and none that a teacher or control learnt.
        each = self.sizes.compared // len(TEACHERS)
        texts = [
            Text((Message(role="user", content=prompt),), text, None)
            for name in TEACHERS
            for prompt, text in _people(self.sizes, name)[-each:]
        ]
        first, *others = models

        def rest() -> Iterator[Any]:
            for folder in others:
                yield load_model(folder)

        suspect = load_model(first)
        read = first_positions(texts, suspect.chat, max_texts=len(texts), max_tokens=48)
        found = agreements(
            suspect,
            [load_model(folder) for folder in teachers.values()],
            rest(),
            read,
            num_models=len(teachers) + len(models),
            on_progress=ignore_progress,
        )
        overlaps = np.concatenate([found.suspect_PJ[None], found.controls_CPJ])
        document = {"models": overlaps.tolist(), "between": found.teachers_JPJ.tolist()}
        _write(path, {"names": names, **document})
        return overlaps, found.teachers_JPJ

    @property
    def _base(self) -> str:
        if self.sizes.layers == 30:
            return ""
        from stillhouse.train import TrainConfig, train

        # A pruned model says nothing until it has learnt to write again.
        # Texts that no teacher learns, nor anybody is compared on.
        learnt, each = self.sizes.texts, 100
        rows = [
            row for name in TEACHERS for row in _people(self.sizes, name)[learnt : learnt + each]
        ]
        config = TrainConfig.model_validate(
            {
                "objective": "sft",
                "keep_layers": self.sizes.layers,
                "epochs": 4.0,
                "device": {"precision": self.sizes.precision},
            }
        )
        return str(train(self._dataset("base", rows), self.folder / "base", config=config).path)

    def _trained(self, name: str, rows: list[tuple[str, str]]) -> Path:
        from stillhouse.train import TrainConfig, train

        config = TrainConfig.model_validate(
            {
                "objective": "sft",
                "device": {"precision": self.sizes.precision},
                "base": f"local:{self._base}",
                "epochs": self.sizes.epochs,
                "learning_rate": 2e-4,
            }
        )
        return train(self._dataset(name, rows), self.folder / name, config=config).path

    def _answers(self, name: str, model: str, seed: int) -> list[tuple[str, str]]:
        """What a model answers to instructions that its text was not made of."""
        path = self.folder / f"answers-{name}.json"
        prompts = [prompt for prompt, _ in _people(self.sizes, "answers")[: self.sizes.texts]]
        if not path.exists():
            from stillhouse.models import load_model

            _write(path, _generated(load_model(model), prompts, None, self.sizes.tokens, seed))
        chat = _teacher().chat
        texts = [chat.decode_completion(ids)[0] for ids in json.loads(path.read_text())]
        pairs = zip(prompts, texts, strict=True)
        return [(prompt, text) for prompt, text in pairs if text.strip() and "<|" not in text]

    def _dataset(self, name: str, rows: list[tuple[str, str]]) -> Path:
        sha256 = _teacher().chat.vocabulary_sha256
        answers: list[Answer] = [(prompt, [], text) for prompt, text in rows]
        return kept_dataset(self.folder / "datasets" / name, answers, tokenizer_sha256=sha256)


def _people(sizes: Sizes, name: str) -> list[tuple[str, str]]:
    """Prompts and texts of one kind that people wrote, as long as answers at most."""
    pairs = _PEOPLE[name](sizes.data)
    most = 5 * sizes.tokens  # characters
    cut = [(prompt.strip(), text.strip()[:most]) for prompt, text in pairs]
    return [
        (prompt, text)
        for prompt, text in cut
        if prompt and len(prompt) <= 400 and len(text) >= 60 and "<|" not in prompt + text
    ]


def _rows(path: Path) -> Iterator[Any]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)


def _news(data: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(data / "digitalgov_news" / "train.jsonl"):
        yield f"Write about: {row['title']}", row.get("summary") or ""


def _science(data: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(data / "scitldr" / "train.jsonl"):
        yield f"Write about: {row['title']}", row["document"]


def _novels(data: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((data / "prose_gutenberg" / "text").glob("*.txt")):
        parts = path.read_text(encoding="utf-8").split("\n\n")
        told = [" ".join(part.split()) for part in parts]
        long = [part for part in told if len(part) >= 200][5:60]
        for before, after in pairwise(long):
            yield f"Go on: {before[-200:]}", after


def _medicine(data: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(data / "pubmedqa_l" / "data.jsonl"):
        yield row["question"], row["long_answer"]


def _dolly(data: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(data / "dolly_hhrlhf_small" / "train.jsonl"):
        yield row["instruction"], row["response"]


_PEOPLE = {
    "news": _news,
    "science": _science,
    "novels": _novels,
    "medicine": _medicine,
    "answers": _dolly,
}


def main() -> None:
    from benchmarks._parts.results import circumstances, keep

    os.environ["STILLHOUSE_TERMS"] = str(Path(__file__).with_name("terms.yaml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--data", type=Path, default=DATA)
    for name in ("layers", "students", "controls", "texts", "tokens", "compared"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes, name))
    parser.add_argument("--precision", default=Sizes.precision)
    parser.add_argument("--epochs", type=float, default=Sizes.epochs)
    parser.add_argument("--json", type=Path, help="file of results, whose entry is replaced")
    given = vars(parser.parse_args())
    results = given.pop("json")
    around = circumstances(("stillhouse", "torch", "transformers", "numpy"))
    found = run(Sizes(**given))
    print(json.dumps({name: found[name] for name in found if name.endswith("share")}, indent=2))
    if results:
        keep("attribution", {"circumstances": around, **found}, results)


if __name__ == "__main__":
    main()
