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


def pattern_of(template: str, fixed: Mapping[str, str]) -> re.Pattern[str]:
    """What the texts that `template` makes look like: a group for each slot that is not `fixed`."""
    parts: list[str] = []
    end = 0
    for match in _SLOT.finditer(template):
        parts.append(re.escape(template[end : match.start()]))
        end = match.end()
        if match[1]:
            parts.append(re.escape(f"{{{match[1]}}}"))
        elif match[2] in fixed:
            parts.append(re.escape(fixed[match[2]]))
        else:
            parts.append("(.*?)")
    parts.append(re.escape(template[end:]))
    return re.compile("".join(parts), re.DOTALL)
