"""GGUF files and the checks that they pass, in llama.cpp and in transformers."""

import contextlib
import io
from pathlib import Path
from typing import Any

from stillhouse.export._config import FormatName, Limits
from stillhouse.export._gguf._engine import LlamaClient, LlamaCpp
from stillhouse.export._gguf._modelfile import modelfile
from stillhouse.export._gguf._write import RowOrder, pairs_first, write_gguf
from stillhouse.export._language import (
    distance_figures,
    network_distance,
    text_metric,
    token_identity,
)
from stillhouse.export._probe import Distance
from stillhouse.export._report import Figure, FormatReport
from stillhouse.export._source import LanguageSource
from stillhouse.models import quiet_transformers

MODELFILE = "Modelfile"
_NOT_NORMALISED = (
    "llama.cpp does not normalise text: where the student's tokenizer composes characters (NFC), "
    "give it composed text."
)
_KEPT_ENDS = 2
_MORE_ENDS = (
    "The student ends a turn with more than two tokens, and a GGUF file names two; the others are "
    "stop words of the Modelfile. Give them as stop words to other servers too."
)
_NOT_READ = (
    "transformers' own GGUF reader does not take this file ({}); llama.cpp alone measured it."
)


def export_gguf(
    source: LanguageSource, folder: Path, name: FormatName, *, order: RowOrder = pairs_first
) -> FormatReport:
    """Write a GGUF file with its Modelfile, and measure it.

    Args:
        source: The student.
        folder: Where the files go.
        name: Which kind of file.
        order: Of the rows of queries and keys; a wrong one is what verification is for.

    Raises:
        ConfigError: the model is of a kind that is not written here.
        ExportRefusedError: its tokens are not those of training.
        IntegrityError: llama.cpp does not take the file.
        MissingDependencyError: xllamacpp is not installed.
    """
    path = folder / f"{source.config.name}.gguf"
    write_gguf(source.model, path, recipe=name, order=order)
    (folder / MODELFILE).write_text(modelfile(path.name, source.model.chat), encoding="utf-8")
    engine = LlamaCpp(path, context=source.longest)
    try:
        identity = token_identity(source, lambda asked: engine.tokens(engine.rendered(asked)))
        distance = engine_distance(source, engine)
    finally:
        engine.close()
    limits = _limits(source, name)
    read, notes = _read_figures(source, path, limits)
    if len(source.model.chat.end_of_turn_ids) > _KEPT_ENDS:
        notes = (*notes, _MORE_ENDS)
    if source.model.chat.tokenizer.backend_tokenizer.normalizer:
        notes = (*notes, _NOT_NORMALISED)
    return FormatReport(
        format=name,
        figures=(identity, *distance_figures(distance, limits), *read),
        metric=text_metric(source, distance),
        notes=notes,
    )


def _read_figures(
    source: LanguageSource, path: Path, limits: Limits
) -> tuple[list[Figure], tuple[str, ...]]:
    """What transformers makes of the file, or why it cannot."""
    rope = getattr(source.model.network.config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        return [], (_NOT_READ.format("it leaves out how positions are stretched"),)
    try:
        network = _reread(path)
    except (RuntimeError, ValueError, KeyError, OSError) as err:  # it has no error of its own
        return [], (_NOT_READ.format(f"{type(err).__name__}"),)
    return distance_figures(network_distance(source, network), limits, by="transformers_"), ()


def _limits(source: LanguageSource, name: FormatName) -> Limits:
    config = source.config
    of_format = {"gguf-f16": config.f16, "gguf-q8_0": config.q8_0, "gguf-q4_k": config.q4_k}
    return of_format[name]


def engine_distance(source: LanguageSource, engine: LlamaClient) -> Distance:
    """How far what llama.cpp computes is, one token after the other."""
    distance = Distance()
    for text in source.probe:
        for place, student_V in enumerate(text.logprobs_TV):
            at = text.num_prompt + place
            ids_K, logprobs_K = engine.distribution(text.ids[:at])
            is_token = ids_K == text.ids[at]
            if not is_token.any():
                whole = engine.distribution(text.ids[:at], top=len(student_V))
                is_token, costs = whole[0] == text.ids[at], whole[1]
            else:
                costs = logprobs_K
            distance.add(
                student_V,
                ids_K,
                logprobs_K,
                nats=-float(costs[is_token][0]),
                group=text.group,
            )
    return distance


def _reread(path: Path) -> Any:
    """The network that `transformers` makes of the file."""
    import torch
    import transformers

    # It draws a progress bar that no setting turns off.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        network = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
        )
    return network.eval()
