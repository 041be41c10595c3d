"""A log of who asked what sort of thing, without what was asked; and accounts that stand out.

An account is a key that callers show, under a pseudonym. Rows are made in a thread of their own: a
prompt is hashed there and dropped.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from stillhouse.serve._ask import Ask
from stillhouse.serve._seen import Seen
from stillhouse.servicelog import LogConfig, LogWriter
from stillhouse.traffic import (
    AccessLogConfig,
    AccessRow,
    Featuriser,
    Monitor,
    check_key,
    load_reference,
    open_traffic_key,
    packed,
    read_features,
)

logger = logging.getLogger(__name__)

NO_KEY = "no key"
"""The account of all who ask where no key is needed."""


class Guard:
    """Writes an access log of hashed features, and watches accounts where there is a reference.

    Args:
        config: Where, and under which key.
        on_flag: Told the pseudonym of each account that stands out, in the thread of the log.

    Raises:
        ConfigError: the folder cannot be written, the key is not safe, or the reference is of
            another one.
    """

    def __init__(
        self, config: AccessLogConfig, *, on_flag: Callable[[str], None] | None = None
    ) -> None:
        self._on_flag = on_flag
        self._key = open_traffic_key(config.key)
        self._featuriser = Featuriser(self._key)
        self._monitor: Monitor | None = None
        if config.reference is not None:
            reference = load_reference(config.reference)
            check_key(reference, self._key)
            self._monitor = Monitor(reference, self._key)
        # What it writes holds no text any more.
        self._log = LogWriter(LogConfig(folder=config.folder, content="full", scrub=False))

    def take(self, seen: Seen) -> None:
        """A request has ended."""
        if seen.ask is not None:
            self._log.put(lambda: self._row(seen))

    def close(self) -> None:
        """Write what waits; may be called twice."""
        self._log.close()

    def metrics(self) -> str:
        """How it stands, for Prometheus; no account is named."""
        state = self._log.state
        lines = [
            "# TYPE stillhouse_access_rows_total counter",
            f"stillhouse_access_rows_total {state.written}",
            "# TYPE stillhouse_access_dropped_total counter",
            f"stillhouse_access_dropped_total {state.dropped}",
        ]
        if self._monitor is not None:
            lines += [
                "# TYPE stillhouse_access_flagged_accounts gauge",
                f"stillhouse_access_flagged_accounts {len(self._monitor.flags)}",
            ]
        return "".join(f"{line}\n" for line in lines)

    def _row(self, seen: Seen) -> dict[str, Any]:
        """The row of a request; called in the thread of the log, and nowhere else."""
        assert seen.ask is not None
        row = AccessRow(
            id=seen.id,
            at=datetime.fromtimestamp(seen.at_s, UTC),
            account=seen.caller or NO_KEY,
            prompt=prompt_of(seen.ask),
            model=seen.model[:200],
            prompt_tokens=0 if seen.answering is None else seen.answering.num_prompt_tokens,
            completion_tokens=sum(answer.num_tokens for answer in seen.answers.values()),
            logprobs=seen.ask.top_logprobs is not None,
        )
        if self._monitor is None:
            features = read_features([row], self._featuriser)
        else:
            features, flag = self._monitor.add(row)
            if flag is not None and self._on_flag is not None:
                self._on_flag(flag.account)
            if flag is not None:
                logger.warning(
                    "account %s stands out after %d requests (p = %.2g): run stillhouse watch on "
                    "the access log",
                    flag.account,
                    flag.num_requests,
                    flag.comparison.p_value,
                )
        hashed = next(packed(features, self._key.key_id))
        account = self._key.account(row.account)
        written = row.model_copy(update={"account": account, "prompt": None, "hashed": hashed})
        return written.model_dump(mode="json", exclude_none=True)


def prompt_of(ask: Ask) -> str:
    """All that a caller wrote, one message after the other; answers of the student are left out."""
    if ask.text is not None:
        return ask.text
    return "\n".join(message.content for message in ask.messages if message.role != "assistant")
