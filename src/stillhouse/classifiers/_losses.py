"""What the encoder's training minimises, on torch tensors. Letters: B texts, S labels."""

import torch.nn.functional as F
from torch import Tensor


def target_loss(logits_BS: Tensor, targets_BS: Tensor, *, is_multiple: bool) -> Tensor:
    """(B,) cross-entropy with the targets in nats; with several labels, summed over them."""
    if is_multiple:
        per_label_BS = F.binary_cross_entropy_with_logits(logits_BS, targets_BS, reduction="none")
        return per_label_BS.sum(dim=1)
    return F.cross_entropy(logits_BS, targets_BS, reduction="none")


def disagreement(first_BS: Tensor, second_BS: Tensor, *, is_multiple: bool) -> Tensor:
    """(B,) mean of the two KL divergences between two readings of the same texts, in nats.

    Both get gradients. Source: Liang et al. 2021, "R-Drop", arXiv:2106.14448.
    """
    if is_multiple:
        # KL(p || q) + KL(q || p) of two coins is (p - q) times the difference of their log-odds.
        apart_BS = (first_BS.sigmoid() - second_BS.sigmoid()) * (first_BS - second_BS)
        return apart_BS.sum(dim=1) / 2
    first_BS, second_BS = first_BS.log_softmax(dim=1), second_BS.log_softmax(dim=1)
    apart_BS = (first_BS.exp() - second_BS.exp()) * (first_BS - second_BS)
    return apart_BS.sum(dim=1) / 2
