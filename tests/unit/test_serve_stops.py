"""Text out of tokens: what is sent is the text before the first stop, however it was cut."""

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.serve._stops import TextStream

TEXTS = st.text(alphabet="abé\U0001f600 ", max_size=30)


def cut_before(text: str, stops: list[str]) -> str:
    """The text before the stop that ends first."""
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)[1]] if found else text


@given(
    text=TEXTS,
    stops=st.lists(st.text(alphabet="abé ", min_size=1, max_size=4), max_size=3),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=40),
)
def test_any_cut_of_the_bytes_gives_the_text_before_the_stop_that_ends_first(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    stream, raw, sent = TextStream(stops), text.encode(), ""
    for size in sizes:
        piece, raw = raw[:size], raw[size:]
        sent += stream.add(piece)
        assert cut_before(text, stops).startswith(sent)
        if stream.is_stopped:
            break
    if not stream.is_stopped:
        sent += stream.add(raw)
    sent += stream.end()
    assert sent == cut_before(text, stops)
    assert stream.is_stopped == any(stop in text for stop in stops)


def test_a_character_is_sent_when_it_is_whole() -> None:
    stream = TextStream(())
    assert [stream.add(bytes([byte])) for byte in "é".encode()] == ["", "é"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    stream = TextStream(())
    assert stream.add(b"a\xff") + stream.end() == "a�"
