"""Methods for teachers that only answer in text: settings that load without torch."""

from pydantic import ConfigDict, Field

from stillhouse.records import Record


class PreferenceConfig(Record):
    """Objective `preference`: the teacher's text preferred over the student's own (DPO)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    strength: float = Field(default=0.1, gt=0.0)
    """How much it costs to leave the student as it was before; DPO's beta."""
    is_length_normalized: bool = False
    """Compare log-probabilities per token, so that a short text is not preferred for its length."""


class AdversarialConfig(Record):
    """Objective `adversarial`: a discriminator rates what the student writes (GAD)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    samples: int = Field(default=4, ge=2)
    """Texts that the student draws for each prompt; their ratings are compared with each other."""
    warmup_epochs: float = Field(default=1.0, ge=0.0)
    """Before the ratings count: the student learns the teacher's text, the discriminator to tell
    the student's texts from it."""
    learning_rate: float = Field(default=1e-4, gt=0.0)
    """Of the discriminator."""
