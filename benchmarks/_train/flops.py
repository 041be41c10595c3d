"""The arithmetic that a training step needs, whatever it really does.

A multiplication and an addition are two operations; a backward pass needs twice those of its
forward pass. Counted are positions that some trained token depends on, once where all texts begin
alike; padding and the head on positions that predict nothing are not needed, so a loop that
computes them has a smaller share of the machine's rate.
"""

from collections.abc import Sequence
from typing import Any

from stillhouse.models import predicting_batch
from stillhouse.train._lessons import Lesson

_PASSES = 3  # forward, and backward by inputs and by weights


def step_gflop(network: Any, lessons: Sequence[Lesson]) -> float:
    """Operations of forward and backward passes over lessons that are learnt together, in 1e9."""
    batch = predicting_batch([lesson.example for lesson in lessons])
    embedding = network.get_input_embeddings().weight
    layers = sum(p.numel() for p in network.parameters()) - embedding.numel()
    lengths = [len(lesson.example.ids) - 1 for lesson in lessons]
    read = sum(lengths) - (len(lengths) - 1) * batch.num_shared
    head = embedding.numel() * len(batch.target_ids_N)
    return _PASSES * (2 * layers * read + 2 * head + _attention(network, lengths)) / 1e9


def _attention(network: Any, lengths: Sequence[int]) -> float:
    """Products of queries with keys and of weights with values, causal."""
    config = network.config.get_text_config()
    width = config.num_hidden_layers * config.hidden_size
    return sum(2 * 2 * width * length * length / 2 for length in lengths)
