"""Rules and texts for tests of cascades."""

from stillhouse.cascade import CascadeRule, Certificate, CoverageEstimate

TOPICS = {
    "card": "my card has not arrived yet and I need the card for shopping",
    "rate": "what exchange rate do you use for euros and other currencies",
    "top_up": "my top up was declined and I cannot add money to the account",
}


def topic_texts(number: int, *, start: int = 0) -> list[str]:
    """Different texts about banking, topic by topic."""
    asked = ("please", "hello", "quickly", "again", "today", "why", "kindly")
    texts = list(TOPICS.values())
    return [
        f"{asked[place % 7]} {texts[place % 3]} {asked[place % 5]} number {place}"
        for place in range(start, start + number)
    ]


def rule(*, threshold: float = 0.6, novelty: float = 0.3, target: float = 0.95) -> CascadeRule:
    """A rule that a certificate of 500 rows comes with."""
    certificate = Certificate(
        target=target,
        confidence=0.95,
        n=500,
        answered=400,
        loss=10,
        bound=0.034,
        method="clopper_pearson",
        coverage=CoverageEstimate(value=0.8, low=0.76, high=0.83),
        refused_unfamiliar=5,
    )
    return CascadeRule(threshold=threshold, novelty_threshold=novelty, certificate=certificate)
