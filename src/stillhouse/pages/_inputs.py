"""What a page shows of the run behind its results, as small records.

A page does not open artefacts: whoever asks for it hands over what they found in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageCost:
    """What one stage took. `cost_usd` None means unknown; 0.0 means it cost nothing."""

    stage: str
    seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True)
class CountRow:
    """Rows that one stage took in, kept, and dropped by reason."""

    stage: str
    num_in: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LineageNode:
    """One artefact, or something that one was made from, in the graph of who came from whom.

    Attributes:
        name: Unique in the graph.
        kind: The artefact's kind, or a word such as "teacher".
        stage: The stage that wrote it; empty for what came from outside.
        sha256: Hash in hex; empty where there is none.
        parents: Names of other nodes.
        detail: A few words, such as "1,200 rows".
    """

    name: str
    kind: str
    stage: str
    sha256: str
    parents: tuple[str, ...] = ()
    detail: str = ""
