"""Templates of prompts: `{name}` is a slot, and all other braces are text.

Prompts for extraction quote JSON, so only an identifier between braces is a slot. `{{name}}` is the
text `{name}`.
"""

import re
from collections.abc import Mapping

_SLOT = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def slots_of(template: str) -> tuple[str, ...]:
    """The names of the slots of `template`, each once, in the order of their first use."""
    return tuple(dict.fromkeys(match[2] for match in _SLOT.finditer(template) if match[2]))


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with its slots filled; what a value holds is never read as a slot.

    Raises:
        KeyError: `values` lacks a slot.
    """
    return _SLOT.sub(lambda match: values[match[2]] if match[2] else f"{{{match[1]}}}", template)


def unfill(template: str, fixed: Mapping[str, str], text: str) -> tuple[str, ...] | None:
    """What stands for the slots of `template` in `text`, leaving out those that are `fixed`.

    Where the text could be parted in several ways, slots end at the first place that they can.
    Takes time linear in the length of the text.

    Returns:
        None where the template makes no such text.
    """
    first, *further = _literals(template, fixed)
    if not text.startswith(first):
        return None
    values: list[str] = []
    start = len(first)
    for literal in further[:-1]:
        end = text.find(literal, start)
        if end < 0:
            return None
        values.append(text[start:end])
        start = end + len(literal)
    if not further:
        return () if text == first else None
    last = further[-1]
    if len(text) - len(last) < start or not text.endswith(last):
        return None
    return (*values, text[start : len(text) - len(last)])


def _literals(template: str, fixed: Mapping[str, str]) -> list[str]:
    """The text before, between and after the slots that are not `fixed`."""
    literals = [""]
    end = 0
    for match in _SLOT.finditer(template):
        literals[-1] += template[end : match.start()]
        end = match.end()
        if match[1]:
            literals[-1] += f"{{{match[1]}}}"
        elif match[2] in fixed:
            literals[-1] += fixed[match[2]]
        else:
            literals.append("")
    literals[-1] += template[end:]
    return literals
