"""The parts of the collect benchmark that judge: goals, shares of limits, traces, tables."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks._collect.clients import answer_of, timeout_s, write_prompts
from benchmarks._collect.cost import slope
from benchmarks._collect.goals import GOALS
from benchmarks._collect.limits import Reading, refused_fraction, settled_s, used_fraction
from benchmarks._collect.options import RESULTS, Options
from benchmarks._collect.startup import other_addresses
from benchmarks._collect.tables import peers_table, tables
from benchmarks._parts import BENCHMARKS, pages, results
from benchmarks._parts.goals import goals_table, rows
from benchmarks._parts.processes import measure
from benchmarks._parts.pythons import versions_in
from benchmarks._parts.spread import spread
from tests.mock_provider.lifelike import lifelike_content

SPREAD = {"min": 1.0, "median": 2.0, "max": 3.0}


def readings(*refused_per_s: int, served_per_s: int = 5, tokens: int = 1_000) -> list[Reading]:
    """One a second, with so many refusals in each."""
    counts = [sum(refused_per_s[:second]) for second in range(len(refused_per_s) + 1)]
    return [
        Reading(100.0 + second, served_per_s * second, tokens * second, refused)
        for second, refused in enumerate(counts)
    ]


def value_at(document: dict[str, Any], words: str) -> tuple[str, str, str, str]:
    (row,) = (row for row in rows(document, GOALS) if row.goal.words == words)
    return row.cells


def test_a_goal_is_met_at_its_limit_and_missed_beyond() -> None:
    words = "CPU per durable completion"
    ours = {"num_prompts": 20_000, "durable_cpu_ms": {"median": 0.25}}
    document: dict[str, Any] = {"cost": {"clients": {"stillhouse": ours}}}
    assert value_at(document, words) == (words, "at most 0.25 ms", "0.25 ms", "yes")
    ours["durable_cpu_ms"] = {"median": 0.26}
    assert value_at(document, words)[2:] == ("0.26 ms", "**no**")


def test_a_share_is_shown_in_percent_and_must_not_be_lower() -> None:
    document = {"limits": {"steady_s": 180.0, "requests": {"used_fraction": 0.9652}}}
    assert value_at(document, "limit used, requests short")[1:] == (
        "at least 97 %",
        "96.5 %",
        "**no**",
    )


def test_a_run_smaller_than_the_goal_speaks_of_proves_nothing() -> None:
    document = {"resume": {"num_done": 999_999, "first_request_s": {"median": 0.1}}}
    words = "first new request with 1,000,000 done"
    assert value_at(document, words)[2:] == ("not measured", "")
    document["resume"]["num_done"] = 1_000_000
    assert value_at(document, words)[2:] == ("0.1 s", "yes")


def test_what_never_came_is_a_goal_missed() -> None:
    document = {"limits": {"steady_s": 180.0, "tokens": {"settled_s": None}}}
    words = "settled after a halved limit, tokens short"
    assert value_at(document, words)[2:] == ("never", "**no**")


def test_no_two_goals_have_the_same_words_or_figure() -> None:
    assert len({goal.words for goal in GOALS}) == len(GOALS)
    assert len({goal.path for goal in GOALS}) == len(GOALS)


def test_the_limit_that_is_used_most_counts() -> None:
    # 5 requests and 1,000 tokens a second over 60 seconds.
    seen = readings(*[0] * 60)
    assert used_fraction(seen, rpm=600, tpm=1e9) == pytest.approx(0.5)
    assert used_fraction(seen, rpm=600, tpm=66_000) == pytest.approx(60 / 66)


def test_refusals_are_a_share_of_all_requests() -> None:
    assert refused_fraction(readings(0, 5, 0)) == pytest.approx(5 / 20)
    assert refused_fraction(readings(0)) == 0.0


def test_a_rate_settles_when_what_follows_has_hardly_a_refusal() -> None:
    assert settled_s(readings(*[0] * 40)) == 0.0
    assert settled_s(readings(3, 2, 2, *[0] * 40)) == 3.0
    # One refusal among 2 x 200 later requests is within half a percent.
    assert settled_s(readings(9, *[0] * 39, 1, *[0] * 60)) == 1.0
    assert settled_s(readings(*[1] * 40)) is None


def test_addresses_in_a_trace_are_counted_but_for_the_teacher() -> None:
    inet = 'connect(5, {sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("%s")}, 16) = 0'
    inet6 = (
        "connect(7, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), "
        'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH'
    )
    trace = "\n".join(
        [
            '12 connect(3, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1 ENOENT',
            "12 " + inet % (8080, "127.0.0.1"),
            "12 " + inet % (53, "192.0.2.7"),
            "13 " + inet % (53, "192.0.2.7"),
            "13 " + inet6,
        ]
    )
    assert other_addresses(trace, "127.0.0.1:8080") == {"192.0.2.7:53": 2, "2001:db8::1:443": 1}


def test_what_one_more_costs_is_the_difference_of_two_sizes() -> None:
    assert slope(1.5, 3.5, 100) == pytest.approx(0.02)
    with pytest.raises(RuntimeError, match="larger sizes"):
        slope(2.0, 2.0, 100)


def test_a_spread_has_the_middle_of_its_values() -> None:
    assert spread([3.0, 1.0, 2.5]) == {"min": 1.0, "median": 2.5, "max": 3.0}


def test_a_measured_process_says_what_it_used_and_printed() -> None:
    code = "import time, json; end = time.process_time() + 0.1\n"
    code += "while time.process_time() < end: pass\n"
    code += 'print("a line"); print(json.dumps({"num_answers": 3}))'
    ended = measure([sys.executable, "-c", code])
    assert answer_of(ended.checked()) == {"num_answers": 3}
    assert 0.1 <= ended.cpu_s <= ended.seconds + 0.5
    assert ended.peak_rss_mb > 1
    with pytest.raises(RuntimeError, match="ended with 1:\nno"):
        measure([sys.executable, "-c", "raise SystemExit('no')"]).checked()


def test_a_process_that_does_not_end_is_killed() -> None:
    ended = measure([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    assert ended.exit_code == -9
    assert ended.seconds < 10


def test_prompts_are_all_different_and_equally_long(tmp_path: Path) -> None:
    lines = write_prompts(tmp_path / "prompts.jsonl", 50).read_text().splitlines()
    texts = {json.loads(line)["prompt"] for line in lines}
    assert len(texts) == 50
    assert len({len(text) for text in texts}) == 1


def test_many_prompts_may_take_longer(tmp_path: Path) -> None:
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    few.write_text("{}\n" * 10_000)
    many.write_text("{}\n" * 1_000_000)
    assert timeout_s(few) == 900.0
    assert timeout_s(many) == pytest.approx(3_000.0)


def test_a_part_replaces_its_own_entry_only(tmp_path: Path) -> None:
    path = tmp_path / "collect.json"
    results.keep("kills", {"kills": 3}, path)
    results.keep("cost", {"rounds": 1}, path)
    results.keep("kills", {"kills": 20}, path)
    assert results.read(path) == {"cost": {"rounds": 1}, "kills": {"kills": 20}}
    assert [each.name for each in tmp_path.iterdir()] == ["collect.json"]


def test_peers_stand_beside_each_other_with_what_is_known_of_them() -> None:
    figures = {"version": "1.2", "cpu_ms": SPREAD, "per_s": SPREAD, "peak_rss_mb": SPREAD}
    kill = {"paid_twice": 2_501, "num_prompts": 5_000, "has_finished": False}
    document = {
        "cost": {"clients": {"curator": figures, "openai": figures}},
        "kills": {"one_kill": {"curator": kill}},
        "startup": {"import_s": {"openai": SPREAD}},
    }
    *_, curator, openai = peers_table(document).splitlines()
    assert curator == ("| curator 1.2 | 2.00 ms | 2 | 2 MB |  | 2,501 of 5,000, did not finish |")
    assert openai == "| openai 1.2 | 2.00 ms | 2 | 2 MB | 2.00 s | starts anew |"


def test_the_tables_of_the_page_are_in_step_with_the_results() -> None:
    page = pages.PAGE.read_text()
    assert pages.with_tables(page, "collect", tables(results.read(RESULTS))) == page, (
        "run: python benchmarks/collect.py --table"
    )


def test_writing_tables_twice_changes_nothing_more() -> None:
    once = pages.with_tables(pages.PAGE.read_text(), "collect", tables({}))
    assert pages.with_tables(once, "collect", tables({})) == once
    assert goals_table({}, GOALS) in once
    with pytest.raises(ValueError, match="no place for the table 'goals'"):
        pages.with_tables("# A page", "collect", tables({}))


def test_versions_are_those_of_the_interpreter_that_is_asked() -> None:
    found = versions_in(Path(sys.executable), ["pytest", "no-such-package"])
    assert found == {"pytest": pytest.__version__}


def test_lifelike_logprobs_are_a_distribution_and_never_the_same() -> None:
    text, content = lifelike_content(50, 20, 1)
    assert "".join(one["token"] for one in content) == text
    for one in content:
        tops = [top["logprob"] for top in one["top_logprobs"]]
        assert tops == sorted(tops, reverse=True)
        assert 0.8 < math.fsum(map(math.exp, tops)) <= 1.0
        assert len({top["token"] for top in one["top_logprobs"]}) == 20
        assert all(bytes(top["bytes"]).decode() == top["token"] for top in one["top_logprobs"])
    assert lifelike_content(50, 20, 1) == (text, content)
    assert lifelike_content(50, 20, 2)[0] != text


def test_every_part_can_be_asked_for_and_every_size_set() -> None:
    command = [sys.executable, str(BENCHMARKS / "collect.py"), "--help"]
    shown = measure(command).checked().stdout
    parts = {goal.path[0] for goal in GOALS}
    assert all(part in shown for part in parts)
    names = [field.name for field in dataclasses.fields(Options)]
    assert all("--" + name.replace("_", "-") in shown for name in names if name != "pythons")
