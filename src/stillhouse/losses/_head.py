"""The output head: hidden states to logits, tile by tile, and the gradient on the way back."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from stillhouse.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class HeadForm:
    """What a model does to the product of hidden states and head before the softmax.

    Attributes:
        scale: Multiplies the product.
        softcap: Then softcap * tanh(logit / softcap); None for none.

    Raises:
        ConfigError: a value is not positive.
    """

    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("softcap", self.softcap)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value} of the head; it must be positive.")

    def apply_(self, logits_CV: Tensor) -> Tensor | None:
        """Turn products into logits in place.

        Returns:
            The derivative (C, V) by the scaled product, None where it is 1 throughout.
        """
        if self.scale != 1.0:
            logits_CV.mul_(self.scale)
        if self.softcap is None:
            return None
        logits_CV.div_(self.softcap).tanh_()
        slope_CV = logits_CV.square().neg_().add_(1.0)
        logits_CV.mul_(self.softcap)
        return slope_CV


PLAIN = HeadForm()


@dataclass(frozen=True)
class Head:
    """An output head and the place of its gradient.

    Attributes:
        weight_VD: The matrix; no gradient is recorded through it.
        grad_VD: Where its gradient is added; None for a frozen head.
        form: What follows the product.
    """

    weight_VD: Tensor
    grad_VD: Tensor | None = None
    form: HeadForm = field(default=PLAIN)

    def __post_init__(self) -> None:
        if self.grad_VD is not None and self.grad_VD.shape != self.weight_VD.shape:
            raise ShapeError(
                f"a head of shape {tuple(self.weight_VD.shape)} with a gradient of shape "
                f"{tuple(self.grad_VD.shape)}; they must be equal."
            )

    @property
    def vocabulary_size(self) -> int:
        """V, the number of ids that the head knows."""
        return int(self.weight_VD.shape[0])

    def cut(self, vocabulary_size: int) -> "Head":
        """The head of the first ids alone, sharing memory: padding ids get no probability.

        Raises:
            ShapeError: the head has fewer ids.
        """
        if not 0 < vocabulary_size <= self.vocabulary_size:
            raise ShapeError(
                f"a head of {self.vocabulary_size} ids cannot be cut to {vocabulary_size}."
            )
        grad_VD = None if self.grad_VD is None else self.grad_VD[:vocabulary_size]
        return Head(self.weight_VD[:vocabulary_size], grad_VD, self.form)

    def logits_(self, hidden_CD: Tensor, out_CV: Tensor) -> Tensor | None:
        """Write a tile's logits into `out_CV`; returns what `HeadForm.apply_` does."""
        torch.mm(hidden_CD, self.weight_VD.T, out=out_CV)
        return self.form.apply_(out_CV)

    def backward(
        self, grad_CV: Tensor, slope_CV: Tensor | None, hidden_CD: Tensor, out_CD: Tensor
    ) -> None:
        """Write the gradient by the hidden states into `out_CD`; add the head's own.

        Args:
            grad_CV: Gradient by the logits, but for `form.scale`; changed in place.
            slope_CV: What `logits_` returned.
            hidden_CD: What the logits were made from.
            out_CD: Gets the result.
        """
        if slope_CV is not None:
            grad_CV.mul_(slope_CV)
        torch.mm(grad_CV, self.weight_VD, out=out_CD)
        if self.grad_VD is not None:
            self.grad_VD.addmm_(grad_CV.T, hidden_CD)
