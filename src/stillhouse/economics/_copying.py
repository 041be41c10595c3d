"""What copying a model's answers costs beside what training the model did."""

from stillhouse.economics._range import check_amount
from stillhouse.errors import DataError

_PER_MILLION = 1_000_000


def harvest_usd(exchanges: float, tokens_per_exchange: float, usd_per_million: float) -> float:
    """Price of so many answers: exchanges x tokens x price of a million / 1,000,000.

    It is what who copies pays, and what the teacher's owner earns by it.

    Raises:
        DataError: a number is negative or not finite.
    """
    check_amount("The number of exchanges", exchanges)
    check_amount("The tokens of an exchange", tokens_per_exchange)
    check_amount("The price of a million tokens", usd_per_million)
    return exchanges * tokens_per_exchange * usd_per_million / _PER_MILLION


def copying_ratio(copy_usd: float, training_usd: float) -> float:
    """Cost of copying as a share of the cost of training: 0.01 is a hundredth.

    Raises:
        DataError: an amount is negative or not finite, or training cost nothing.
    """
    check_amount("The cost of copying", copy_usd)
    check_amount("The cost of training", training_usd)
    if training_usd == 0:
        raise DataError(
            "The training run is said to have cost nothing, so that no copy is cheaper. Give what "
            "it cost, or leave it out."
        )
    return copy_usd / training_usd
