"""Every objective once: per token or sequence, in nats, without a (batch, time, vocabulary) tensor.

`head_loss_and_grad` takes hidden states, a head, a target (what the teacher said, in one of eight
forms) and an `Objective` (how to match it), and computes loss and gradient tile by tile.
`sequence_loss_and_grad` does so for objectives of summed log-probabilities. `docs/objectives.md`
has the formulas. Shape letters: B batch, T tokens, N valid tokens, V vocabulary, K top-k, D student
hidden, E teacher hidden, C rows of a tile, O outcomes, J ids per position, S segments.
"""

from stillhouse.losses._distillm2 import Distillm2, Part, Samples, loss_and_grad_in_parts
from stillhouse.losses._fused import (
    TILE_TOKENS,
    fused_head_loss,
    head_loss_and_grad,
    loss_of_logits,
    token_logprobs,
)
from stillhouse.losses._head import Head, HeadForm
from stillhouse.losses._hidden import HIDDEN_DISTANCES, hidden_state_loss
from stillhouse.losses._objectives import OBJECTIVES, Objective, ObjectiveSpec, Parameter
from stillhouse.losses._score import HeadScores, score_against_head
from stillhouse.losses._sequence import (
    ChunkLikelihood,
    Preference,
    Segments,
    sequence_loss_and_grad,
)
from stillhouse.losses._targets import (
    DenseTarget,
    HeadTarget,
    HiddenTarget,
    MixtureTarget,
    ProjectedTarget,
    SampledTarget,
    ScoredTarget,
    TokenTarget,
    TopKTarget,
    WholeTarget,
    draw_target,
)

__all__ = [
    "Objective",
    "OBJECTIVES",
    "ObjectiveSpec",
    "Parameter",
    "Head",
    "HeadForm",
    "HeadTarget",
    "TokenTarget",
    "TopKTarget",
    "DenseTarget",
    "HiddenTarget",
    "MixtureTarget",
    "WholeTarget",
    "SampledTarget",
    "ScoredTarget",
    "ProjectedTarget",
    "draw_target",
    "head_loss_and_grad",
    "fused_head_loss",
    "loss_of_logits",
    "token_logprobs",
    "TILE_TOKENS",
    "Segments",
    "sequence_loss_and_grad",
    "ChunkLikelihood",
    "Preference",
    "Distillm2",
    "Samples",
    "Part",
    "loss_and_grad_in_parts",
    "hidden_state_loss",
    "HIDDEN_DISTANCES",
    "HeadScores",
    "score_against_head",
]
