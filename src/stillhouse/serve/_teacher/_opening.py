"""From the settings of a cascade's teacher to what can be asked."""

from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.serve._teacher._asking import asking_of
from stillhouse.serve._teacher._book import Book
from stillhouse.serve._teacher._engine import TeacherSource
from stillhouse.serve._teacher_config import TeacherConfig
from stillhouse.teachers import Access, open_teacher, read_prices


def open_source(config: TeacherConfig, *, ledger: Path, deadline_s: float) -> TeacherSource:
    """A teacher with its ledger; close it.

    Args:
        config: Who it is, and how it is asked.
        ledger: Where calls are recorded where `config` names no file.
        deadline_s: The longest that one call may take with its repeats.

    Raises:
        ConfigError: the spec is wrong, a key is missing, or there is a budget and no price.
        StillhouseError: the teacher or the ledger cannot be opened.
    """
    access = Access(
        prices=read_prices(config.prices) if config.prices else {},
        timeout_s=deadline_s,
        deadline_s=deadline_s,
        is_streamed=True,
    )
    teacher = open_teacher(config.spec, access)
    try:
        if config.budget_usd is not None and teacher.allowance.price is None:
            raise ConfigError(
                f"A budget is set, but the price of {teacher.info.id} is unknown. Give it with "
                "--prices, or serve without a budget."
            )
        book = Book(
            config.ledger or ledger,
            worst_cost_usd=teacher.worst_cost_usd,
            budget_usd=config.budget_usd,
        )
        asking = asking_of(teacher)
        book.open()
    except BaseException:
        teacher.close()
        raise
    return TeacherSource(teacher.info, asking, book)
