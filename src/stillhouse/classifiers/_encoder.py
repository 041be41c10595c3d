"""The best student of this room: a sentence encoder that is trained together with its head.

Letters: N texts, L labels, S labels that can be learnt.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from stillhouse.classifiers._calibration import Calibration
from stillhouse.classifiers._classifier import Common, FitReport, answerable, calibrated
from stillhouse.classifiers._configs import EncoderConfig
from stillhouse.classifiers._epochs import BestEpoch, Epochs, HeldOut
from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._head import fit_head
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._labels import LabelledRows, LabelSpace, labelled_rows
from stillhouse.classifiers._linear import Features
from stillhouse.classifiers._mixture import companion_of
from stillhouse.classifiers._network import Encoder, load_encoder
from stillhouse.classifiers._ngram import fit_ngram_rows
from stillhouse.classifiers._ngrams import learn_vocabulary
from stillhouse.classifiers._others import said_by_others
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._sentence import SentenceClassifier
from stillhouse.classifiers._texts import is_blank
from stillhouse.classifiers._tokens import TokenReader, cut_warning
from stillhouse.classifiers._training import Ids, Lessons, Trainer, read_states
from stillhouse.errors import DataError
from stillhouse.records import content_hash
from stillhouse.runlog import Listener, ignore_progress

Validation = tuple[Sequence[str], npt.ArrayLike]

_FIRST_L2 = 1.0  # of the head before training; not tuned
_UNCALIBRATED = (
    "No validation rows were given: the last epoch was kept, and the probabilities are too sure "
    "until they are calibrated on held-out rows."
)


def fit_encoder(
    texts: Sequence[str],
    targets_NL: npt.ArrayLike,
    *,
    labels: Sequence[str],
    is_multiple: bool = False,
    weights_N: npt.ArrayLike | None = None,
    validation: Validation | None = None,
    config: EncoderConfig | None = None,
    seed: int = 0,
    checkpoint_dir: Path | None = None,
    on_progress: Listener = ignore_progress,
) -> SentenceClassifier:
    """A sentence encoder trained with its head, for soft targets.

    The head begins as the linear model that `fit_embedding` would fit; the student is the running
    average of the weights.

    Args:
        texts: N texts; blank ones are not read, but count in the prior.
        targets_NL: (N, L) probabilities; rows sum to 1 unless a text may have several labels.
        labels: L names.
        is_multiple: Whether a text may have several.
        weights_N: (N,) how much each row counts; None counts all alike.
        validation: Further texts and their targets, not trained on: they choose the epoch and
            calibrate. None keeps the last epoch.
        config: How to make it; None takes the defaults.
        seed: Of the order of texts and of dropout.
        checkpoint_dir: Keeps the last finished epoch, and goes on from it; None keeps nothing.
        on_progress: Is told after each step.

    Raises:
        ConfigError: the encoder is not there, or of an unknown family.
        ShapeError: lengths do not fit together.
        DataError: there are no rows, all have one label or are blank, or targets are no
            probabilities.
        NonFiniteLossError: training diverged.
        CheckpointError: the checkpoint is damaged.
        MissingDependencyError: torch, onnxruntime or the default encoder is not installed.
    """
    config = config or EncoderConfig()
    rows = labelled_rows(
        texts, targets_NL, labels=labels, is_multiple=is_multiple, weights_N=weights_N
    )
    reader, shape, weights = open_base(config.base, max_tokens=config.max_tokens)
    read = _unless_blank(rows)
    if not read.texts:
        raise DataError(f"All {len(rows.texts)} texts are blank. Give texts to learn from.")
    ids, held_out = reader.ids(read.texts), _held_out(validation, rows.space, reader)
    # A token that no text has gets no gradient: it is not in the way of optimiser and average.
    tokens = np.unique([token for text in [*ids, *held_out.ids] for token in text])
    network = load_encoder(
        {**weights, "tokens.weight": weights["tokens.weight"][tokens]},
        shape.model_copy(update={"vocabulary": len(tokens)}),
        dropout=config.dropout,
    )
    epochs = Epochs(
        _trainer(network, _renumbered(ids, tokens), read, config, seed=seed, tell=on_progress),
        config.epochs,
        HeldOut(_renumbered(held_out.ids, tokens), held_out.targets_NS),
        is_multiple=is_multiple,
        on_progress=on_progress,
    )
    best = epochs.run(checkpoint_dir, _identity(rows, ids, held_out, config, seed))
    learnt, head = best.student
    vectors = weights["tokens.weight"]
    vectors[tokens] = learnt["tokens.weight"]
    encoder = FrozenEncoder.of(
        reader, {**learnt, "tokens.weight": vectors}, shape, config.precision
    )
    report = _report(best, rows, held_out, cut_warning(ids, max_tokens=reader.max_tokens))
    student = SentenceClassifier(Common(rows.space, Calibration(), report), config, encoder, head)
    if validation is None or not held_out.ids:
        return student
    # By the student as it is kept: eight bits move the logits a little.
    student = _with_companion(student, rows, validation, seed=seed, on_progress=on_progress)
    return calibrated(student, *validation)


def _held_out(validation: Validation | None, space: LabelSpace, reader: TokenReader) -> HeldOut:
    """The validation rows that have a text and a label that can be learnt."""
    if validation is None:
        return HeldOut([], np.empty((0, int(space.is_learnt_L.sum()))))
    texts, targets_NS = answerable(space, *validation)
    return HeldOut(reader.ids(texts), targets_NS)


def _trainer(
    network: Encoder,
    ids: Ids,
    rows: LabelledRows,
    config: EncoderConfig,
    *,
    seed: int,
    tell: Listener,
) -> Trainer:
    """The training before its first step.

    The head begins as the one that is best on the untrained encoder: a random one would first
    undo the encoder's states.

    Args:
        network: Untrained.
        ids: N texts as token ids.
        rows: N rows, none of which is blank.
        config: How to train.
        seed: Of order and dropout, and of the parts of the rows.
        tell: Is told how far it is.
    """
    states_ND = read_states(network, ids).numpy()
    rows = _taught(rows, states_ND, config, seed=seed, tell=tell)
    first = fit_head(states_ND, rows, l2=_FIRST_L2, seed=seed, stage="fit head", on_progress=tell)
    lessons = Lessons(
        ids,
        torch.from_numpy(rows.learnt_targets_NS).float(),
        torch.from_numpy(rows.weights_N).float(),
        rows.space.is_multiple,
    )
    return Trainer(network, first.head, lessons, config, seed=seed)


def _taught(
    rows: LabelledRows,
    states_ND: npt.NDArray[np.float32],
    config: EncoderConfig,
    *,
    seed: int,
    tell: Listener,
) -> LabelledRows:
    """The same rows with targets that what the other rows say has its share of."""
    if not config.others_share:
        return rows
    kinds: list[Features] = [states_ND]
    if config.ngrams is not None:
        kinds.append(learn_vocabulary(rows.texts, config.ngrams).matrix(rows.texts))
    others_NS = said_by_others(kinds, rows, seed=seed, on_progress=tell)
    targets_NL = rows.targets_NL.copy()
    targets_NL[:, rows.space.is_learnt_L] = (
        1 - config.others_share
    ) * rows.learnt_targets_NS + config.others_share * others_NS
    return replace(rows, targets_NL=targets_NL)


def _unless_blank(rows: LabelledRows) -> LabelledRows:
    """The rows that have a text to read."""
    is_read_N = [not is_blank(text) for text in rows.texts]
    return replace(
        rows,
        texts=tuple(text for text in rows.texts if not is_blank(text)),
        targets_NL=rows.targets_NL[is_read_N],
        weights_N=rows.weights_N[is_read_N],
    )


def _with_companion(
    student: SentenceClassifier,
    rows: LabelledRows,
    validation: Validation,
    *,
    seed: int,
    on_progress: Listener,
) -> SentenceClassifier:
    """The same student with the n-grams' part that the validation rows ask for."""
    if student.config.ngrams is None:
        return student
    texts, targets_NS = answerable(rows.space, *validation)
    ngram, _ = fit_ngram_rows(rows, student.config.ngrams, seed=seed, on_progress=on_progress)
    is_learnt_L = rows.space.is_learnt_L
    ours_NS, theirs_NS = (of.logits(texts)[:, is_learnt_L] for of in (student, ngram))
    companion = companion_of(ngram, ours_NS, theirs_NS, targets_NS)
    if companion is None:
        return student
    both_NS = companion.mixed(ours_NS, theirs_NS)
    judgement = judged(both_NS, targets_NS, is_multiple=rows.space.is_multiple)
    report = student.report.model_copy(
        update={"held_out_nats": judgement.nats, "held_out_agreement": judgement.agreement}
    )
    return replace(student, common=replace(student.common, report=report), companion=companion)


def _identity(
    rows: LabelledRows, ids: Ids, held_out: HeldOut, config: EncoderConfig, seed: int
) -> str:
    """What a checkpoint must share with a training to be taken up by it."""
    return content_hash(
        {
            "config": config.model_dump(mode="json"),
            "seed": seed,
            "ids": ids,
            "targets": rows.targets_NL.tolist(),
            "weights": rows.weights_N.tolist(),
            "held_out_ids": held_out.ids,
            "held_out_targets": held_out.targets_NS.tolist(),
        }
    )


def _report(
    best: BestEpoch, rows: LabelledRows, held_out: HeldOut, warnings: tuple[str, ...]
) -> FitReport:
    uncalibrated = () if held_out.ids else (_UNCALIBRATED,)
    return FitReport(
        num_rows=len(rows.texts),
        num_held_out=len(held_out.ids),
        held_out_nats=best.nats,
        held_out_agreement=best.agreement,
        best_epoch=best.epoch + 1,
        unseen_labels=rows.space.unseen,
        warnings=(*rows.warnings(), *warnings, *uncalibrated),
    )


def _renumbered(ids: Ids, tokens: npt.NDArray[np.int64]) -> list[list[int]]:
    """Token ids as places among those that occur."""
    return [np.searchsorted(tokens, text).tolist() for text in ids]
