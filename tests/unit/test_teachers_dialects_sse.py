from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.teachers._dialects import SseEvent, SseParser


def parse(stream: bytes) -> list[tuple[str, str]]:
    return [(event.name, event.data) for event in SseParser().feed(stream)]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_line_end_ends_a_line(end: str) -> None:
    lines = ["event: a", "data: 1", "", "data: 2", ""]
    assert parse(end.join([*lines, ""]).encode()) == [("a", "1"), ("message", "2")]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\ndata: b\n\n", [("message", "a\nb")]),
        (b"data\n\n", [("message", "")]),
        (b"data:\ndata:\n\n", [("message", "\n")]),
        (b"data:x\n\n", [("message", "x")]),
        (b"data:  x\n\n", [("message", " x")]),
        (b"data: a:b\n\n", [("message", "a:b")]),
        (b": keep-alive\n\n", []),
        (b"\n\n\n", []),
        (b"event: gone\n\ndata: x\n\n", [("message", "x")]),
        (b"id: 1\nretry: 10\nother: y\ndata: x\n\n", [("message", "x")]),
        (b" data: x\n\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [("message", "x")]),
        (b"data: \xef\xbb\xbfx\n\n", [("message", "\ufeffx")]),
        (b"data: \xff\n\n", [("message", "\udcff")]),
        ("data: a\u2028b\x85c\x0bd\n\n".encode(), [("message", "a\u2028b\x85c\x0bd")]),
        (b"data: without its blank line\n", []),
    ],
)
def test_events_are_read_as_the_specification_says(
    stream: bytes, events: list[tuple[str, str]]
) -> None:
    assert parse(stream) == events


def test_a_cr_and_an_lf_in_two_pieces_are_one_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\r\n") == []
    assert parser.feed(b"\r") == [SseEvent(name="message", data="a\nb")]
    assert parser.feed(b"\ndata: c\n\n") == [SseEvent(name="message", data="c")]


PIECES = st.sampled_from(
    [
        *(b"data: ", b"event: ", b"data", b":", b" ", b"x"),
        *(b"\r", b"\n", b"\r\n", b"\n\n"),
        *(b"\xef\xbb\xbf", b"\xff", b"\xf0\x9f", "\u00e9".encode(), "\U0001f600".encode()),
    ]
)


@given(st.lists(PIECES, max_size=30).map(b"".join), st.data())
def test_no_split_of_the_bytes_changes_the_events(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    parser = SseParser()
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    events = [event for piece in pieces for event in parser.feed(piece)]
    assert events == SseParser().feed(stream)
