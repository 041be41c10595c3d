"""Who is answered how: the file, how it is renewed, and what it is not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_cases import KEY

from stillhouse.artifacts import FolderLock
from stillhouse.errors import ConfigError, DataError, FolderBusyError
from stillhouse.records import canonical_json
from stillhouse.traffic import (
    RESPONSES,
    AccountResult,
    Clearing,
    Response,
    Responses,
    ResponsesConfig,
    StepResult,
    TrafficConfig,
    WatchResults,
    add_clearing,
    change_responses,
    read_appeal,
    read_responses,
    write_appeals,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
RATES = {"log": 0.2, "customer_key": 0.1, "throttle": 0.05, "verify": 0.02}


def name(number: int) -> str:
    return f"{number:016x}"


def results(steps: dict[str, Any]) -> WatchResults:
    """Of a log in which these accounts are found."""
    accounts = [
        AccountResult(
            account=account,
            num_requests=60,
            p_value=1e-6,
            adjusted=RATES[step] / 2,
            step=step,
            evidence=(),
        )
        for account, step in steps.items()
    ]
    return WatchResults(
        num_requests=900,
        num_malformed=0,
        num_repeated=0,
        num_backwards=0,
        num_too_old=0,
        num_accounts=30,
        num_small=0,
        first=NOW - DAY,
        last=NOW,
        key=KEY.key_id,
        reference="0" * 64,
        num_reference_accounts=300,
        num_clusters=2,
        steps=tuple(
            StepResult(step=step, rate=rate, num_accounts=0, expected_benign=0.0)
            for step, rate in RATES.items()
        ),
        accounts=tuple(accounts),
        config=TrafficConfig(),
    )


def empty(key: str = KEY.key_id) -> Responses:
    return Responses(key=key, at=NOW)


def told(responses: Responses) -> dict[str, str]:
    return {one.account: one.step for one in responses.accounts}


def test_the_newest_run_decides_and_what_is_not_found_again_ends() -> None:
    first = empty().renewed(results({name(1): "throttle", name(2): "log"}), now=NOW)
    assert told(first) == {name(1): "throttle", name(2): "log"}
    one = first.accounts[0]
    assert (one.since, one.until, one.rate) == (NOW, NOW + 7 * DAY, 0.05)
    assert (one.p_value, one.adjusted) == (1e-6, 0.025)
    second = first.renewed(results({name(1): "log", name(3): "verify"}), now=NOW + 3 * DAY)
    assert told(second) == {name(1): "log", name(2): "log", name(3): "verify"}
    assert second.accounts[0].since == NOW
    assert second.accounts[0].until == NOW + 10 * DAY
    assert second.accounts[1] == first.accounts[1]
    third = second.renewed(results({}), now=NOW + 8 * DAY)
    assert told(third) == {name(1): "log", name(3): "verify"}
    assert told(third.renewed(results({}), now=NOW + 11 * DAY)) == {}


def test_a_cleared_account_is_not_answered_until_its_days_are_over() -> None:
    found = results({name(1): "verify"})
    first = empty().renewed(found, now=NOW)
    cleared = first.without(name(1), reason="  a test\n of ours ", now=NOW + DAY, days=30)
    assert told(cleared) == {}
    assert cleared.cleared[0] == Clearing(
        account=name(1), at=NOW + DAY, until=NOW + 31 * DAY, reason="a test of ours", step="verify"
    )
    assert told(cleared.renewed(found, now=NOW + 30 * DAY)) == {}
    again = cleared.renewed(found, now=NOW + 31 * DAY)
    assert (told(again), again.cleared) == ({name(1): "verify"}, ())
    assert again.accounts[0].since == NOW + 31 * DAY
    before = empty().without(name(5), reason="known", now=NOW, days=1)
    assert before.cleared[0].step is None


@pytest.mark.parametrize(
    ("account", "reason"), [("anna", "x"), (name(1), " \n"), (name(1), "x" * 1001), ("", "x")]
)
def test_nobody_is_cleared_without_a_name_or_a_reason(account: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="cannot be cleared"):
        empty().without(account, reason=reason, now=NOW, days=1)


@given(
    runs=st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 5).map(name), st.sampled_from(RESPONSES)),
            st.integers(1, 9),
        ),
        max_size=6,
    ),
    cleared=st.integers(0, 5).map(name),
)
def test_what_is_written_can_be_read_and_each_account_is_in_it_once(
    runs: list[tuple[dict[str, Any], int]], cleared: str
) -> None:
    now, responses = NOW, empty()
    for steps, days in runs:
        now += days * DAY
        responses = responses.renewed(results(steps), now=now)
        assert {account: told(responses)[account] for account in steps} == steps
        assert all(now < one.until for one in responses.accounts)
    responses = responses.without(cleared, reason="known", now=now, days=1)
    assert cleared not in told(responses)
    raw = canonical_json(responses)
    assert canonical_json(Responses.model_validate_json(raw)) == raw


def write(path: Path) -> Responses:
    return change_responses(
        path, KEY.key_id, lambda one: one.renewed(results({name(1): "verify"}), now=NOW)
    )


def test_the_file_is_its_owners_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    path, other = tmp_path / "responses.json", tmp_path / "other.json"
    written = write(path)
    write(other)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_responses(path) == written
    assert path.read_bytes() == other.read_bytes() == canonical_json(written) + b"\n"
    assert {one.name for one in tmp_path.iterdir()} == {"responses.json", "other.json"}
    with pytest.raises(ConfigError, match="cannot be read"):
        change_responses(tmp_path / "none.json", None, lambda one: one)
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path / "none" / "responses.json")


def test_one_process_at_a_time_changes_it_and_a_failure_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "responses.json"
    write(path)
    before = path.read_bytes()
    lock = FolderLock(tmp_path / ".responses.json.lock", owner=path)
    with pytest.raises(FolderBusyError):
        write(path)
    lock.release()
    with pytest.raises(ConfigError, match="are to accounts under key"):
        change_responses(
            path,
            KEY.key_id,
            lambda one: one.model_copy(update={"key": "1" * 64}).renewed(results({}), now=NOW),
        )
    assert path.read_bytes() == before


def document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        canonical_json(empty().renewed(results({name(1): "verify", name(2): "log"}), now=NOW))
    )
    return {**found, **changes}


def account(**changes: Any) -> dict[str, Any]:
    return {**document()["accounts"][0], **changes}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "holds no responses"),
        (b"[]", "holds no responses"),
        (json.dumps(document()).encode()[:-40], "holds no responses"),
        (b"\xff\xfe" + json.dumps(document()).encode(), "holds no responses"),
        (json.dumps(document(version=2)).encode(), "version"),
        (json.dumps(document(kind="other")).encode(), "kind"),
        (json.dumps(document(colour="red")).encode(), "colour"),
        (json.dumps(document(key="a")).encode(), "key"),
        (json.dumps(document(accounts=[account(), account()])).encode(), "each once"),
        (json.dumps(document(accounts=[account(account="anna")])).encode(), "account"),
        (json.dumps(document(accounts=[account(step="ban")])).encode(), "step"),
        (json.dumps(document(accounts=[account(step="none")])).encode(), "step"),
        (json.dumps(document(accounts=[account(until=NOW.isoformat())])).encode(), "not after"),
        (json.dumps(document(accounts=[account(since="2026-11-29T12:00:00")])).encode(), "since"),
        (json.dumps(document(accounts=[account(rate=2)])).encode(), "rate"),
        (b'{"accounts": ' + b"[" * 100_000, "holds no responses"),
    ],
)
def test_what_is_no_file_of_responses_is_refused_in_one_line(
    tmp_path: Path, raw: bytes, words: str
) -> None:
    path = tmp_path / "responses.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(DataError, match=words) as caught:
        read_responses(path)
    assert "\n" not in str(caught.value)


def test_an_account_is_not_answered_and_cleared() -> None:
    both = {"account": name(1), "at": NOW, "until": NOW + DAY, "reason": "x"}
    one = Response(
        account=name(1), step="log", since=NOW, until=NOW + DAY, p_value=0, adjusted=0, rate=0.1
    )
    with pytest.raises(ValueError, match="is answered and cleared"):
        Responses(key=KEY.key_id, at=NOW, accounts=(one,), cleared=(Clearing(**both),))


@pytest.mark.parametrize("rights", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused(tmp_path: Path, rights: int) -> None:
    path = tmp_path / "responses.json"
    write(path)
    path.chmod(rights)
    with pytest.raises(ConfigError, match=f"has rights {rights:o}: others may decide"):
        read_responses(path)
    path.chmod(0o644)
    read_responses(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigError, match="symbolic link"):
        read_responses(tmp_path / "link")


def test_a_clearing_stays_in_the_record_of_the_account(tmp_path: Path) -> None:
    found = results({name(1): "verify", name(2): "log"})
    (path, other) = write_appeals(found, tmp_path)
    clearing = Clearing(account=name(1), at=NOW, until=NOW + DAY, reason="a study")
    assert add_clearing(tmp_path, clearing) == path
    write_appeals(found, tmp_path)
    assert read_appeal(path).clearings == (clearing,)
    assert read_appeal(other).clearings == ()
    with pytest.raises(ConfigError, match="cannot be read"):
        add_clearing(tmp_path, clearing.model_copy(update={"account": name(3)}))
    path.write_text("{")
    with pytest.raises(DataError, match="is no appeal record"):
        write_appeals(found, tmp_path)
    assert path.read_text() == "{"


@pytest.mark.parametrize("contact", ["", "  ", "a\nb", "x" * 501, "a\0b"])
def test_who_is_refused_is_told_whom_to_ask(tmp_path: Path, contact: str) -> None:
    with pytest.raises(ValueError, match="contact must be a line"):
        ResponsesConfig(file=tmp_path, key=tmp_path, contact=contact)
