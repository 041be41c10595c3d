"""What all students do to a text before they read it."""


def readable(text: str) -> str:
    """The text with half surrogates, which no encoding has, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_blank(text: str) -> bool:
    """Whether a text says nothing: it is empty or all white space."""
    return not text.strip()
