"""The parts of the serving benchmark that judge: goals, tables, and the client that asks."""

import asyncio
from pathlib import Path

import pytest
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._serve.load import flood, paced, requests_of
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.tables import GOALS, streams_table, tables
from serve_cases import RunningServer
from test_serve_limits import EchoEngine


@pytest.mark.parametrize(("speed", "met"), [(2000, "yes"), (1999, "**no**")])
def test_a_goal_holds_down_to_its_limit(speed: float, met: str) -> None:
    document = {"labels": {"ngram": {"flood": {"requests_per_s": speed}}}}
    assert rows(document, GOALS)[0].cells[3] == met


def test_speeds_are_shown_as_multiples() -> None:
    best = {"stillhouse": {"tokens_per_s": 90.0, "first_token_s": 0.25}}
    best["transformers"] = {"tokens_per_s": 60.0}
    table = streams_table({"best": best})
    assert "| stillhouse | 1.50 | 0.25 |" in table
    assert "| transformers | 1.00 |  |" in table


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "serve", tables(read(ServeOptions().json))) == page, (
        "run: python benchmarks/serve.py --table"
    )


def test_the_client_counts_answers_and_refuses_errors(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"input": "x"}\n')
    requests = [
        request.replace(b"/v1/decisions", b"/v1/responses") for request in requests_of(bodies)
    ]
    with RunningServer(EchoEngine()) as server:
        took = asyncio.run(paced(server.port, requests, 100, 0.1))
        assert len(took) == 10
        assert min(took) > 0
        assert len(asyncio.run(flood(server.port, requests, 2, 0.1))) > 2
        with pytest.raises(RuntimeError, match="404"):  # the echo writes text
            asyncio.run(flood(server.port, requests_of(bodies), 1, 0.1))
