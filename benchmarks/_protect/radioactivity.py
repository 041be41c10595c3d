"""What marked text leaves in real students: SmolLM2-135M-Instruct marks, students learn, we look.

    python -m benchmarks._protect.radioactivity --work DIR [--schemes gumbel kgw] [--texts 500] ...

Every text and student is kept in `--work` and is not made again: a stopped run goes on. The teacher
answers the instructions of dolly at temperature 1, once with a mark and once without. Students are
fine-tuned on those answers, of which a share is marked; the rest has none (`share`) or is written
by people (`mixed`). `edited` students learn from marked answers in which a share of the tokens was
drawn anew by a model that does not mark, `paraphrased` ones from what such a model made of them
when it was asked for other words. Each is then tested, with the true key and with decoys, on
texts that it learnt (`learnt`) and on marked texts that no student saw (`unseen`), against its
exact base and against a base that was trained further on other text. Last, as a closed model: by
what it answers to instructions that nobody asked before.

With the default sizes on two quiet cores: four to five hours for each scheme.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks._parts import BENCHMARKS
from benchmarks._protect.answers import Answer, kept_dataset
from benchmarks._protect.corpus import tokenizer_of

KEY = bytes(range(32))
SIZES = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000)
BASE_EPOCHS = 6.0  # of a pruned model, over text of people, until it writes again
EDITED_SHARE = 0.3
DATA = BENCHMARKS.parents[1] / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and tested.

    Attributes:
        work: Folder that keeps what was made.
        data: Folder of real data sets.
        schemes: That mark.
        layers: Of each student; 30 is the whole model, fewer are spread evenly.
        shares: Of marked answers in what a student learns.
        others: Further arms: what was done to marked answers, and the share of them.
        texts: Answers that a student learns.
        unseen: Marked answers that none does.
        answers: Of a student as a closed model.
        closed: Arms that are tested as closed models too.
        tokens: Of an answer at most.
        epochs: Of each student.
        learning_rate: Of each student.
        precision: In which students are trained; all is read in float32.
        width: Tokens of a context.
        contexts: That are tested at most.
        decoys: Keys that nobody used.
    """

    work: Path
    data: Path = DATA
    schemes: tuple[str, ...] = ("gumbel", "kgw")
    layers: tuple[int, ...] = (30, 12)
    shares: tuple[float, ...] = (0.0, 0.01, 0.05, 0.2, 1.0)
    others: tuple[str, ...] = ("paraphrased-1", "mixed-0.2", "edited-1")
    texts: int = 500
    unseen: int = 200
    answers: int = 300
    closed: tuple[str, ...] = ("share-0", "share-0.2", "share-1")
    tokens: int = 96
    epochs: float = 3.0
    learning_rate: float = 1e-4
    precision: str = "float32"
    width: int = 2
    contexts: int = 16_000
    decoys: int = 200


def run(sizes: Sizes) -> dict[str, Any]:
    """All students of all schemes, by scheme, layers and arm."""
    found: dict[str, Any] = {"sizes": _plain(sizes)}
    for scheme in sizes.schemes:
        texts = Texts(sizes, scheme)
        found[scheme] = {
            "unique_contexts": texts.unique_contexts(),
            "texts_found": texts.found_shares(),
        }
        for layers in sizes.layers:
            students = Students(sizes, texts, layers)
            entry = {}
            for arm, folder in students.all():
                entry[arm] = _tested(sizes, texts, students, arm, folder)
                _say(scheme, layers, arm, entry[arm])
                entry[arm]["last_epoch_loss_nats"] = _last_loss(sizes, folder)
                if arm in sizes.closed:
                    entry[arm]["closed"] = _closed(sizes, texts, students, arm, folder)
            found[scheme][f"layers_{layers}"] = entry
            found[scheme][f"decoys_{layers}"] = _pooled(entry)
    return found


class Texts:
    """The teacher's answers, as dataset artefacts in the work folder."""

    def __init__(self, sizes: Sizes, scheme: str) -> None:
        self.sizes = sizes
        self.scheme = scheme
        self.folder = sizes.work / f"{scheme}-w{sizes.width}"
        self.folder.mkdir(parents=True, exist_ok=True)
        total = sizes.texts + sizes.unseen
        self.prompts = _instructions(sizes.data, total)
        self.asked = _titles(sizes.data, sizes.answers)
        self.marked = self._answers("marked", marked=True, seed=1)
        self.plain = self._answers("plain", marked=False, seed=2)

    @property
    def profile(self) -> Any:
        from stillhouse.watermark import Profile, WatermarkKey

        key = WatermarkKey(KEY)
        return Profile.model_validate(
            {
                "scheme": self.scheme,
                "context_width": self.sizes.width,
                "tokenizer_sha256": _teacher().chat.vocabulary_sha256,
                "key_id": key.key_id,
            }
        )

    def arm(self, name: str) -> Path:
        """The dataset that the student of an arm learns."""
        kind, _, given = name.partition("-")
        share = float(given)
        count = round(share * self.sizes.texts)
        learnt = slice(0, self.sizes.texts)
        marked, plain = self.marked[learnt], self.plain[learnt]
        if kind in REWRITERS:
            rows = self._rewritten(kind)[:count] + plain[count:]
        elif kind == "mixed":
            rows = marked[:count] + _human(self.sizes.data, self.sizes.texts - count)
        else:
            rows = marked[:count] + plain[count:]
        return self.dataset(name, rows)

    def learnt(self, name: str) -> Path:
        """The marked texts that an arm learnt, as the owner has them: before anybody edited them.

        All of them where it learnt none.
        """
        count = round(float(name.partition("-")[2]) * self.sizes.texts) or self.sizes.texts
        return self.dataset(f"learnt-{count}", self.marked[:count])

    def unseen(self) -> Path:
        """Marked texts that no student learnt."""
        return self.dataset("unseen", self.marked[self.sizes.texts :])

    def others(self) -> Path:
        """Text of people, for a reference that is not the exact base."""
        return self.dataset("others", _human(self.sizes.data, self.sizes.texts))

    def unique_contexts(self) -> dict[str, int]:
        """How various the texts are: different contexts in marked and unmarked answers."""
        from stillhouse.watermark import context_hashes

        return {
            name: len(
                np.unique(
                    np.concatenate([context_hashes(ids, self.sizes.width) for _, ids, _ in rows])
                )
            )
            for name, rows in (("marked", self.marked), ("plain", self.plain))
        }

    def _answers(self, name: str, *, marked: bool, seed: int) -> list[Answer]:
        path = self.folder / f"{name}.json"
        if not path.exists():
            model = _teacher()
            mark = _mark(self.profile) if marked else None
            ids = _generated(model, self.prompts, mark, self.sizes.tokens, seed)
            _write(path, ids)
        ids = json.loads(path.read_text())
        chat = _teacher().chat
        return [
            (prompt, one, chat.decode_completion(one)[0])
            for prompt, one in zip(self.prompts, ids, strict=True)
        ]

    def found_shares(self) -> dict[str, Any]:
        """How many answers a detector finds at 1e-3, as they are and rewritten; from the text."""
        from stillhouse.statistics import fraction_interval
        from stillhouse.watermark import WatermarkKey, detect_many

        learnt = slice(0, self.sizes.texts)
        kinds = {"marked": self.marked[learnt], "plain": self.plain[learnt]}
        kinds |= {kind: self._rewritten(kind) for kind in REWRITERS}
        tokenizer, found = tokenizer_of(), {}
        for kind, rows in kinds.items():
            ids = tokenizer.ids([text for _, _, text in rows])
            long = [one for one in ids if len(one) >= self.sizes.tokens // 2]
            detections = detect_many(long, self.profile, WatermarkKey(KEY))
            number = sum(one.is_marked(1e-3) for one in detections)
            share = fraction_interval(number, len(long))
            found[kind] = {
                "texts": len(long),
                "found": share.value,
                "interval": [share.low, share.high],
            }
        return found

    def _rewritten(self, kind: str) -> list[Answer]:
        """Marked answers after a model without the mark had them."""
        path = self.folder / f"{kind}.json"
        if not path.exists():
            _write(path, REWRITERS[kind](self.marked[: self.sizes.texts], self.sizes.tokens))
        chat = _teacher().chat
        return [
            (prompt, ids, chat.decode_completion(ids)[0])
            for (prompt, _, _), ids in zip(self.marked, json.loads(path.read_text()), strict=False)
        ]

    def dataset(self, name: str, answers: Sequence[Answer]) -> Path:
        """Answers under a name; made once."""
        sha256 = _teacher().chat.vocabulary_sha256
        return kept_dataset(self.folder / "datasets" / name, answers, tokenizer_sha256=sha256)


class Students:
    """Fine-tuned models, and what they are compared with."""

    def __init__(self, sizes: Sizes, texts: Texts, layers: int) -> None:
        self.sizes = sizes
        self.texts = texts
        self.layers = layers
        self.folder = texts.folder / f"layers-{layers}"

    def all(self) -> Iterator[tuple[str, Path]]:
        """The name of each arm with its student."""
        arms = [f"share-{share:g}" for share in self.sizes.shares]
        for arm in [*arms, *self.sizes.others]:
            yield arm, self._trained(arm, self.texts.arm(arm))

    @property
    def base(self) -> str:
        """Where students start: the whole model, or a pruned one that learnt plain answers."""
        if self.layers == 30:
            return ""
        return str(self._trained("base", self.texts.others(), base="local:"))

    def references(self) -> dict[str, str]:
        """The exact base, and one that was trained further on other text."""
        return {"exact": self.base, "other": str(self._trained("other", self.texts.others()))}

    def _trained(self, name: str, dataset: Path, base: str | None = None) -> Path:
        from stillhouse.train import TrainConfig, train

        is_base = base is not None
        config = TrainConfig.model_validate(
            {
                "objective": "sft",
                "base": base or f"local:{self.base}",
                "keep_layers": self.layers if is_base else None,
                "epochs": BASE_EPOCHS if is_base else self.sizes.epochs,
                "learning_rate": 1e-3 if is_base else self.sizes.learning_rate,
                "device": {"precision": self.sizes.precision},
            }
        )
        return train(dataset, self.folder / name, config=config).path


def _tested(
    sizes: Sizes, texts: Texts, students: Students, arm: str, folder: Path
) -> dict[str, Any]:
    """One student on both kinds of texts, against each reference; kept once it is done."""
    path = students.folder / f"{arm}.json"
    if path.exists():
        return json.loads(path.read_text())
    entry: dict[str, Any] = {}
    for kind, dataset in (("learnt", texts.learnt(arm)), ("unseen", texts.unseen())):
        for name, reference in students.references().items():
            entry[f"{kind}/{name}"] = _read(sizes, texts, folder, reference, dataset)
    _write(path, entry)
    return entry


def _last_loss(sizes: Sizes, folder: Path) -> float:
    """How well a student learnt: its mean loss over the last epoch, nats per token."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["train/loss_nats"] for line in lines]
    return float(np.mean(losses[-max(1, round(len(losses) / sizes.epochs)) :]))


def _read(
    sizes: Sizes, texts: Texts, suspect: Path, reference: str, dataset: Path
) -> dict[str, Any]:
    """Every statistic at growing numbers of contexts, and decoys at all of them."""
    from stillhouse.artifacts import open_artifact
    from stillhouse.models import load_model
    from stillhouse.protect._keyed import decoy_scores, keyed_scores
    from stillhouse.protect._reading import read_texts
    from stillhouse.protect._test import TokenTest
    from stillhouse.protect._texts import open_texts, score_windows
    from stillhouse.runlog import ignore_progress
    from stillhouse.watermark import WatermarkKey

    started_s = time.monotonic()
    profile = texts.profile
    keyed = keyed_scores(profile, WatermarkKey(KEY))
    chat = _teacher().chat
    corpus = score_windows(
        open_texts(open_artifact(dataset).path)[1],
        chat,
        profile,
        max_contexts=sizes.contexts,
        has_own_tokens=True,
    )
    reading = read_texts(
        load_model(suspect), load_model(reference), corpus.texts, chat, on_progress=ignore_progress
    )
    found: dict[str, Any] = {"contexts": len(reading.soft)}
    statistics = {
        "argmax": reading.argmax,
        "soft": reading.soft,
        "contrast": reading.contrast,
        "root contrast": reading.roots,
    }
    for name, tokens in statistics.items():
        assert tokens is not None
        steps = [size for size in SIZES if size < len(tokens)] + [len(tokens)]
        by_size = {}
        for size in steps:
            result = TokenTest(tokens.first(size), keyed).under(keyed)
            by_size[size] = {"z": result.z, "log10_p": result.log10_p}
        test = TokenTest(tokens, keyed)
        decoys = test.decoys(decoy_scores(profile, sizes.decoys), test.under(keyed))
        found[name] = {
            "by_contexts": by_size,
            "log10_p": test.under(keyed).log10_p,
            "decoy_z_mean": decoys.z_mean,
            "decoy_z_sd": decoys.z_sd,
            "decoys_below_0.01": decoys.num_below,
        }
        if "contrast" in name:
            half = tokens.first(len(tokens) // 2)
            told = TokenTest(half, keyed).under(keyed, times=len(tokens) / len(half))
            found[name]["forecast_from_half_log10_p"] = told.log10_p
    for name in ("contrast", "root contrast"):
        enough = _enough(found, name)
        found[name]["contexts_share_for_p_of_argmax"] = enough and enough / len(reading.soft)
    found["seconds"] = round(time.monotonic() - started_s, 1)
    return found


def _closed(
    sizes: Sizes, texts: Texts, students: Students, arm: str, folder: Path
) -> dict[str, Any]:
    """A student by its answers alone, to instructions that nobody asked before."""
    from stillhouse.models import load_model
    from stillhouse.protect import Inputs, RadioactivityConfig, find_radioactivity
    from stillhouse.watermark import WatermarkKey

    path = students.folder / f"{arm}.closed.json"
    if path.exists():
        return json.loads(path.read_text())
    name = f"closed-{students.layers}-{arm}"
    ids = _generated(load_model(folder), texts.asked, None, sizes.tokens, seed=7)
    chat = _teacher().chat
    rows = [
        (prompt, one, chat.decode_completion(one)[0])
        for prompt, one in zip(texts.asked, ids, strict=True)
    ]
    answers = texts.dataset(name, [row for row in rows if row[2].strip() and "<|" not in row[2]])
    entry: dict[str, Any] = {"tokens": sum(len(one) for one in ids)}
    for kind, known in (("anywhere", None), ("contexts of learnt texts", texts.learnt(arm))):
        found = find_radioactivity(
            Inputs(suspect=str(answers), texts=known, reference=students.base),
            texts.profile,
            WatermarkKey(KEY),
            config=RadioactivityConfig(max_contexts=10**6, decoys=sizes.decoys),
        ).results
        entry[kind] = {name: test.log10_p for name, test in found.tests.items()}
        entry[kind] |= {"contexts": found.counts.contexts, "decoys": _decoys(found.decoys)}
    _write(path, entry)
    told = ", ".join(f"{kind} {entry[kind]}" for kind in entry if kind != "tokens")
    print(f"closed {students.layers} layers, {arm}: {told}", flush=True)
    return entry


def _pooled(entry: dict[str, Any]) -> dict[str, float]:
    """Of the decoys of all open tests of the deciding statistic, for which none may show anything.

    Students and texts are shared by them, so that they are far from independent.
    """
    tests = [
        found["contrast"] for arm in entry.values() for kind, found in arm.items() if "/" in kind
    ]
    means = [test["decoy_z_mean"] for test in tests]
    spreads = [test["decoy_z_sd"] - 1.0 for test in tests]
    return {
        "tests": len(tests),
        "z_mean": float(np.mean(means)),
        "worst_z_mean": float(np.abs(means).max()),
        "worst_z_sd_from_1": float(np.abs(spreads).max()),
        "below_0.01": float(np.mean([test["decoys_below_0.01"] for test in tests])),
    }


def _decoys(check: Any) -> dict[str, float]:
    return {"z_mean": check.z_mean, "z_sd": check.z_sd}


def _enough(found: dict[str, Any], name: str) -> float | None:
    """Contexts that a contrast needs for the p that the argmax test has with all of them.

    Between two measured numbers of contexts by a straight line; None where it never gets there.
    """
    wanted = list(found["argmax"]["by_contexts"].values())[-1]["log10_p"]
    before = (0.0, 0.0)
    for size, result in found[name]["by_contexts"].items():
        here = (float(size), result["log10_p"])
        if here[1] <= wanted:
            share = (wanted - before[1]) / (here[1] - before[1]) if here[1] != before[1] else 1.0
            return before[0] + share * (here[0] - before[0])
        before = here
    return None


_MODELS: dict[str, Any] = {}


def _teacher() -> Any:
    from stillhouse.models import load_model

    if "" not in _MODELS:
        _MODELS[""] = load_model("")
    return _MODELS[""]


def _mark(profile: Any) -> Any:
    from stillhouse.watermark import WatermarkKey, make_mark

    return make_mark(profile, WatermarkKey(KEY))


def _generated(
    model: Any, prompts: Sequence[str], mark: Any, tokens: int, seed: int
) -> list[list[int]]:
    from stillhouse.models import GenerationJob, generate
    from stillhouse.records import Message

    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=model.chat.encode_prompt((Message(role="user", content=prompt),)),
            max_tokens=tokens,
            temperature=1.0,
            seed=100_000 * seed + number,
            mark=mark,
        )
        for number, prompt in enumerate(prompts)
    ]

    def pull(wanted: int) -> list[Any]:
        taken, jobs[:] = jobs[:wanted], jobs[wanted:]
        return taken

    found: list[list[int]] = [[] for _ in prompts]
    for group in generate(model, pull, num_ids=len(model.chat.text_bytes)):
        for one in group:
            found[int(one.key)] = one.ids.tolist()
    return found


def _edited(answers: Sequence[Answer], tokens: int) -> list[list[int]]:
    """With a share of the tokens drawn anew, by what stands before them."""
    return [_redrawn(prompt, ids, number) for number, (prompt, ids, _) in enumerate(answers)]


def _paraphrased(answers: Sequence[Answer], tokens: int) -> list[list[int]]:
    """In other words, as the teacher finds them without its mark; those are often few."""
    prompts = [
        f"Rewrite the following text in other words. Keep what it says.\n\n{text}"
        for _, _, text in answers
    ]
    return _generated(_teacher(), prompts, None, tokens, seed=3)


STATISTICS = ("argmax", "soft", "contrast", "root contrast")
REWRITERS: dict[str, Callable[[Sequence[Answer], int], list[list[int]]]] = {
    "edited": _edited,
    "paraphrased": _paraphrased,
}


def _redrawn(prompt: str, ids: list[int], number: int) -> list[int]:
    """An answer of which a share of the tokens is drawn by the teacher without a mark."""
    import torch

    from stillhouse.records import Message

    model = _teacher()
    before = model.chat.encode_prompt((Message(role="user", content=prompt),))
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([[*before, *ids]])).logits[0]
    generator = np.random.Generator(np.random.Philox(number))
    edited = list(ids)
    for place in range(len(ids) - 1):  # what ends the turn stays
        if generator.random() >= EDITED_SHARE:
            continue
        law = torch.softmax(logits[len(before) - 1 + place].double(), dim=0)
        law[list(model.chat.control_ids)] = 0.0
        law[len(model.chat.text_bytes) :] = 0.0
        sums = torch.cumsum(law, dim=0)
        edited[place] = int(torch.searchsorted(sums, generator.random() * float(sums[-1])))
    return edited


def _instructions(data: Path, count: int) -> list[str]:
    lines = (data / "dolly_hhrlhf_small" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line)["instruction"] for line in lines]
    short = [text for text in found if len(text) <= 400 and "<|" not in text]
    if len(short) < count:
        raise SystemExit(f"{count} instructions are asked for, and there are {len(short)}.")
    return short[:count]


def _titles(data: Path, count: int) -> list[str]:
    """Instructions of another kind than those that students learn."""
    lines = (data / "scitldr" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    titles = [json.loads(line)["title"] for line in lines]
    return [f"Write about: {title}" for title in titles[:count]]


def _human(data: Path, count: int) -> list[Answer]:
    """Headlines and what people wrote under them."""
    lines = (data / "digitalgov_news" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = [(row["title"], row["summary"].strip()) for row in rows if row.get("summary")]
    kept = [(title, text) for title, text in texts if len(text) > 80 and "<|" not in title + text]
    return [(f"Write about: {title}", [], text) for title, text in kept[:count]]


def _say(scheme: str, layers: int, arm: str, entry: dict[str, Any]) -> None:
    for name, found in entry.items():
        last = {statistic: found[statistic]["log10_p"] for statistic in STATISTICS}
        told = ", ".join(f"{statistic} {value:.1f}" for statistic, value in last.items())
        print(
            f"{scheme} {layers} layers, {arm}, {name}: {found['contexts']} contexts, "
            f"log10 p {told}",
            flush=True,
        )


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.replace(path)


def _plain(sizes: Sizes) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(sizes).items()
        if not isinstance(value, Path) and not (isinstance(value, float) and math.isnan(value))
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--data", type=Path, default=DATA)
    for name in ("schemes", "others", "closed"):
        parser.add_argument(f"--{name}", nargs="*", default=list(getattr(Sizes, name)))
    kinds: dict[str, Callable[[str], Any]] = {"layers": int, "shares": float}
    for name, kind in kinds.items():
        parser.add_argument(f"--{name}", nargs="+", type=kind, default=list(getattr(Sizes, name)))
    for name in ("texts", "unseen", "answers", "tokens", "width", "contexts", "decoys"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes, name))
    parser.add_argument("--epochs", type=float, default=Sizes.epochs)
    parser.add_argument("--precision", default=Sizes.precision)
    parser.add_argument("--learning-rate", type=float, default=Sizes.learning_rate)
    parser.add_argument("--json", type=Path, help="file of results, whose entry is replaced")
    parser.add_argument("--entry", default="radioactivity", help="its name in that file")
    return parser


def main() -> None:
    from benchmarks._parts.results import circumstances, keep

    os.environ["STILLHOUSE_TERMS"] = str(Path(__file__).with_name("terms.yaml"))
    given = vars(_parser().parse_args())
    results, name = given.pop("json"), given.pop("entry")
    sizes = Sizes(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
    )
    around = circumstances(("stillhouse", "torch", "transformers", "numpy"))
    entry = {"circumstances": around, **run(sizes)}
    if results:
        keep(name, entry, results)


if __name__ == "__main__":
    main()
