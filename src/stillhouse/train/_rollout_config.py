"""How a student's own texts are drawn: settings that load without torch."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class RolloutConfig(Record):
    """How texts are drawn while the student learns; not read where the source is `dataset`.

    They are drawn from the student's whole distribution, at temperature 1: the gradient of a
    reverse divergence is right on no other draws, so there is no setting for it.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_tokens: int = Field(default=128, ge=1)
    """Of a rollout; one that the student does not end by then is cut."""
    refresh_steps: int = Field(default=1, ge=1)
    """Draw the rollouts of so many steps together, and use them again where a prompt comes back
    within these steps. Fewer draws, in larger batches, from a student that is older."""
    correction: Literal["auto", "none", "truncate", "gate"] = "auto"
    """What is done about older rollouts: weigh a token by how much likelier the text before it has
    become, at most `max_ratio` (`truncate`), or leave it out where that is beyond `max_ratio`
    either way (`gate`). `auto` truncates, but does nothing for forward KL, which can do without;
    objectives of drawn tokens correct by themselves."""
    max_ratio: float = Field(default=2.0, gt=1.0)
    """Of the correction."""
    truncated_weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Weight of a rollout that was cut, so that endless ones do not dominate; 0 drops them."""
    on_policy_fraction: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of rollouts in each batch of the source `mixed`."""
    teacher_top_k: int = Field(default=25, ge=1)
    """Source `speculative`: a token that is not among so many likeliest ones of the teacher is
    replaced by one that the teacher draws (SKD, arXiv:2410.11325)."""
    block_tokens: int = Field(default=16, ge=1)
    """Source `speculative`: tokens that the student proposes before the teacher looks."""
    future_discount: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Policy gradients: how much a token answers for the log-ratios of those after it, as in
    MiniLLM (arXiv:2306.08543); 0 is its own alone."""
    baseline: Literal["none", "position"] = "none"
    """Policy gradients: `position` compares a token's log-ratio with the mean that earlier steps
    had at its position, which lowers the variance of the gradient and leaves its mean."""
