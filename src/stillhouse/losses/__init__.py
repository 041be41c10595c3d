"""Every divergence once: pure functions, per token, in nats.

`cross_entropy`, `forward_kl` and `forward_kl_topk` take logits and differentiate through autograd.
`fused_head_loss` computes the same losses from hidden states and the head, chunk by chunk, so that
no (batch, time, vocabulary) tensor exists. Shape letters: B batch, T tokens, N valid tokens, V
vocabulary, K top-k, D hidden.
"""

from stillhouse.losses._dense import cross_entropy, forward_kl, forward_kl_topk
from stillhouse.losses._fused import (
    CHUNK_TOKENS,
    HeadTarget,
    TokenTarget,
    TopKTarget,
    fused_head_loss,
    head_loss_and_grad,
)
from stillhouse.losses._score import HeadScores, score_against_head

__all__ = [
    "cross_entropy",
    "forward_kl",
    "forward_kl_topk",
    "TokenTarget",
    "TopKTarget",
    "HeadTarget",
    "fused_head_loss",
    "head_loss_and_grad",
    "CHUNK_TOKENS",
    "HeadScores",
    "score_against_head",
]
