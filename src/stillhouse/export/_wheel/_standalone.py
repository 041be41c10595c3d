"""A student that answers texts with labels, with numpy alone or, to read texts, onnxruntime too.

`predict(text)` gives the label (a tuple of labels where a text may have several),
`predict_proba(text)` the probability of each. `python -m PACKAGE "text"` prints both.
"""

# This file is copied into each wheel and imports nothing of what made it. What it computes is
# written a second time here, on purpose; a wheel whose answers differ is not given out.

import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

__all__ = ["labels", "predict", "predict_proba"]

_WORD = re.compile(r"\w+")


def labels() -> tuple[str, ...]:
    """All labels, in the order of `predict_proba`."""
    return tuple(_model()["labels"])


def predict(text: str) -> str | tuple[str, ...]:
    """The label of a text; all that are as likely as not where it may have several."""
    given = predict_proba(text)
    if _model()["is_multiple"]:
        return tuple(label for label, probability in given.items() if probability >= 0.5)
    return max(given, key=given.__getitem__)


def predict_proba(text: str) -> dict[str, float]:
    """The calibrated probability of each label."""
    model = _model()
    prior, is_learnt = np.array(model["prior"]), np.array(model["is_learnt"])
    given = prior.copy()
    if text.strip():
        learnt = _expected(_calibrated(_logits(text), model["calibration"]), model["is_multiple"])
        rest = 1.0 if model["is_multiple"] else 1.0 - prior[~is_learnt].sum()
        given[is_learnt] = learnt * rest
    return dict(zip(model["labels"], given.tolist(), strict=True))


def main() -> None:
    """Print the label of the text on the command line, or of each line on stdin."""
    texts = [" ".join(sys.argv[1:])] if sys.argv[1:] else (line.rstrip("\n") for line in sys.stdin)
    for text in texts:
        shown = {"label": predict(text), "probabilities": predict_proba(text)}
        print(json.dumps(shown, ensure_ascii=False))


def _logits(text: str) -> Any:
    """(S,) of the labels that can be learnt."""
    model = _model()
    if "encoder" not in model:
        return _ngram_logits(text)
    state = _state(text)
    ours = np.asarray(state[None] @ _array("head.weights"), dtype=np.float64) + _array("head.bias")
    companion = model["encoder"]["companion"]
    if companion is None:
        return ours[0]
    ours = _calibrated(ours[0], companion["calibration"])
    theirs = _calibrated(_ngram_logits(text), companion["ngram_calibration"])
    return (1 - companion["share"]) * ours + companion["share"] * theirs


def _ngram_logits(text: str) -> Any:
    ids, values = _features(text)
    if not len(ids):
        model = _model()
        prior = np.array(model["prior"])
        odds = np.log(prior) - (np.log1p(-prior) if model["is_multiple"] else 0.0)
        return odds[np.array(model["is_learnt"])]
    weights = _array("ngram.weights")[ids].astype(np.float32)
    return (values @ weights + _array("ngram.bias")).astype(np.float64)


def _features(text: str) -> tuple[Any, Any]:
    settings = _model()["ngram"]
    chars, words = _vocabulary()
    text = unicodedata.normalize("NFKC", _readable(text)).casefold()
    found = [
        number
        for word in text.split()
        for gram in _char_grams(word, *settings["char_lengths"])
        if (number := chars.get(gram)) is not None
    ]
    grams = _word_grams(text, *settings["word_lengths"])
    found += [number for number in map(words.get, grams) if number is not None]
    ids, times = np.unique(np.array(found, dtype=np.int64), return_counts=True)
    values = (1 + np.log(times)).astype(np.float32)
    values *= _array("ngram.feature_weights")[ids]
    if len(values):
        values /= np.sqrt(values @ values)
    return ids, values


def _char_grams(word: str, shortest: int, longest: int) -> Iterator[str]:
    edged = f" {word} "
    for length in range(shortest, longest + 1):
        for start in range(len(edged) - length + 1):
            yield edged[start : start + length]


def _word_grams(text: str, shortest: int, longest: int) -> Iterator[str]:
    words = _WORD.findall(text)
    for length in range(shortest, longest + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _state(text: str) -> Any:
    ids = _tokenizer().encode(_readable(text)).ids
    return _session().run(None, {"ids": np.array([ids], dtype=np.int64)})[0][0]


def _calibrated(logits: Any, calibration: dict[str, Any]) -> Any:
    if calibration["slopes"]:
        return logits * np.array(calibration["slopes"]) + np.array(calibration["offsets"])
    return logits / calibration["temperature"]


def _expected(logits: Any, is_multiple: bool) -> Any:
    if is_multiple:
        return np.exp(-np.logaddexp(0.0, -logits))
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def _readable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _read(name: str) -> bytes:
    return (resources.files(__name__) / name).read_bytes()


@cache
def _model() -> Any:
    return json.loads(_read("model.json"))


@cache
def _vocabulary() -> tuple[dict[str, int], dict[str, int]]:
    lists = json.loads(_read("vocabulary.json"))
    chars = {gram: number for number, gram in enumerate(lists["chars"])}
    words = {gram: number for number, gram in enumerate(lists["words"], len(chars))}
    return chars, words


@cache
def _array(name: str) -> Any:
    return np.load(io.BytesIO(_read(f"{name}.npy")), allow_pickle=False)


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(_read("tokenizer.json").decode("utf-8"))


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A text is too short to share out, and threads that wait for more keep cores busy.
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        _read("encoder.onnx"), options, providers=["CPUExecutionProvider"]
    )
