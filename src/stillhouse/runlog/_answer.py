"""What came back on one call: a few facts read at once, and the raw bytes for later."""

from dataclasses import dataclass, field
from datetime import datetime

from stillhouse.records import FinishReason, ItemError, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one call, as it goes into the ledger.

    The text is not read out of `body` here: readings of raw bytes can be changed and repeated
    without asking, and paying, again.

    Attributes:
        request_id: What was asked.
        dialect: Whose words `body` is in: the name of a wire dialect, or `completion` for the
            JSON of a `Completion` of our own.
        body: The response; a streamed one is put together to what the endpoint would have sent
            in one piece. Empty where none came.
        finish_reason: Why the text ended, or `error`.
        model: What the endpoint says answered.
        usage: Tokens, cost and seconds of the call.
        response_id: The endpoint's own name of the response, empty where it gives none.
        error: Why there is no answer; such calls are asked again.
        answered_utc: When it was recorded; None while it is not.
    """

    request_id: str
    dialect: str
    body: bytes
    finish_reason: FinishReason
    model: str
    usage: Usage = field(default_factory=Usage)
    response_id: str = ""
    error: ItemError | None = None
    answered_utc: datetime | None = field(default=None, compare=False)
