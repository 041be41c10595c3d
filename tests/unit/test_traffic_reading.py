"""Access logs: every line counted once, and no prompt quoted."""

import json
from pathlib import Path

import numpy as np
import pytest
from traffic_cases import BEGIN, KEY, areas, row, table_of

from stillhouse.errors import ConfigError, DataError, TooManyFailuresError
from stillhouse.traffic import (
    AccessLog,
    AccessRow,
    Featuriser,
    TrafficKey,
    open_access_log,
    packed,
    read_table,
)

TEXTS = areas("fit")["topic0/all"].texts


def line(number: int, **fields: object) -> str:
    document = row(number).model_dump(mode="json", exclude_none=True) | fields
    return json.dumps(document) + "\n"


def log_of(tmp_path: Path, *lines: str) -> AccessLog:
    path = tmp_path / "access.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return open_access_log(path)


def test_every_line_is_counted_once(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        line(1),
        "no json\n",
        "\n",
        "[1]\n",
        line(2, at="yesterday"),
        line(1, prompt="another"),
        line(3, colour="red"),
        line(4, prompt=None),
        line(5, at="2026-06-01T00:00:00"),
        line(6),
        line(7)[:30],
    )
    assert [one.id for one in log] == ["r1", "r6"]
    assert (log.num_rows, log.num_repeated, log.num_malformed) == (2, 1, 8)
    assert [one.id for one in log] == ["r1", "r6"]  # and again the same
    assert log.num_rows + log.num_repeated + log.num_malformed == 11


def test_what_is_wrong_is_told_without_the_prompt(tmp_path: Path) -> None:
    log = log_of(tmp_path, line(1, prompt="confidential", at="then"), line(2, prompt=["private"]))
    assert list(log) == []
    told = " ".join(log.malformed)
    assert "line 1: at:" in told
    assert "confidential" not in told
    assert "private" not in told


def test_an_empty_log_and_one_of_rubbish_are_errors(tmp_path: Path) -> None:
    for lines in ((), ("x\n", "y\n")):
        log = log_of(tmp_path, *lines)
        list(log)
        with pytest.raises(DataError, match="holds no request"):
            log.check(1.0)


def test_too_many_malformed_lines_end_it(tmp_path: Path) -> None:
    log = log_of(tmp_path, *(line(n) for n in range(9)), "x\n")
    list(log)
    log.check(0.1)
    with pytest.raises(TooManyFailuresError, match="1 of 10 lines"):
        log.check(0.05)


def test_a_line_of_any_length_is_one_line(tmp_path: Path) -> None:
    huge = json.dumps({"id": "x" * (9 << 20)}) + "\n"
    log = log_of(tmp_path, line(1), huge, line(2))
    assert [one.id for one in log] == ["r1", "r2"]
    assert log.num_malformed == 1


def test_a_newer_log_and_no_log_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Install a newer one"):
        list(log_of(tmp_path, line(1, v=2)))
    with pytest.raises(ConfigError, match="does not exist"):
        open_access_log(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="holds no"):
        open_access_log(tmp_path / "folder")


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(line(2))
    (tmp_path / "a.jsonl").write_text(line(1) + line(2))
    log = open_access_log(tmp_path)
    assert [one.id for one in log] == ["r1", "r2"]
    assert log.num_repeated == 1


def test_hashed_rows_give_the_columns_of_the_prompts() -> None:
    rows = [row(n, account=f"a{n % 3}", prompt=TEXTS[n % 40]) for n in range(90)]
    features = Featuriser(KEY).features([one.prompt or "" for one in rows])
    hashed = [
        AccessRow.model_validate(
            one.model_dump(exclude={"prompt", "account"})
            | {"account": KEY.account(one.account), "hashed": kept}
        )
        for one, kept in zip(rows, packed(features, KEY.key_id), strict=True)
    ]
    plain, read = table_of(rows), table_of(hashed)
    for name in ("frame_NB", "content_NC", "cues_N", "words_N", "account_N", "time_N"):
        assert np.array_equal(getattr(plain, name), getattr(read, name)), name
    assert plain.accounts == read.accounts == tuple(KEY.account(f"a{n}") for n in range(3))
    mixed = table_of([*rows[:45], *hashed[45:]])
    assert np.array_equal(mixed.cues_N, plain.cues_N)
    with pytest.raises(DataError, match="Give the key"):
        read_table(hashed, Featuriser(TrafficKey(bytes(32))))


def test_clocks_that_go_back_are_counted_and_accounts_are_in_order() -> None:
    rows = [row(n, seconds=s) for n, s in enumerate((50.0, 10.0, 70.0, 60.0, 80.0), start=1)]
    table = table_of(rows)
    assert table.num_backwards == 2
    assert np.diff(table.time_N[table.by_account()[0]]).min() > 0


def test_no_rows_make_an_empty_table() -> None:
    table = table_of([])
    assert len(table) == 0
    assert table.accounts == ()


def test_requests_soon_after_a_release_are_early_and_those_of_the_first_day_are_not() -> None:
    def with_model(number: int, model: str, hours: float) -> AccessRow:
        return row(number, seconds=3600 * hours + 1).model_copy(update={"model": model})

    table = table_of(
        [
            with_model(1, "old", 0),
            with_model(2, "old", 50),
            with_model(3, "new", 60),
            with_model(4, "new", 83),
            with_model(5, "new", 85),
        ]
    )
    assert table.early_N.tolist() == [False, False, True, True, False]
    assert table.time_N[0] - BEGIN.timestamp() == 1
