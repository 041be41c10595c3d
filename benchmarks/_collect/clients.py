"""The clients that are compared: scripts that all do the same, in the Pythons that have them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts.processes import Measured, measure
from benchmarks._parts.pythons import versions_in

SCRIPTS = Path(__file__).parent / "clients"
CLIENT_TIMEOUT_S = 900.0  # at least; not tuned
PROMPT_TIMEOUT_S = 0.003  # six times what one takes at 2,000 a second


@dataclass(frozen=True)
class Client:
    """A way to ask a teacher many prompts.

    Attributes:
        distribution: The installed package that it is.
        imports: The line with which its users import it.
        is_resumable: Whether it promises to go on where it was killed.
    """

    name: str
    distribution: str
    imports: str
    is_resumable: bool = True


OURS = Client("stillhouse", "stillhouse", "import stillhouse.collect")
CLIENTS = (
    OURS,
    Client("aiohttp", "aiohttp", "import aiohttp", is_resumable=False),
    Client("openai", "openai", "from openai import AsyncOpenAI", is_resumable=False),
    Client("curator", "bespokelabs-curator", "from bespokelabs import curator"),
    Client("data_designer", "data-designer", "from data_designer.interface import DataDesigner"),
    # Its second start asks nothing and hangs.
    Client("distilabel", "distilabel", "import distilabel.pipeline", is_resumable=False),
)


@dataclass(frozen=True)
class Installed:
    """A client, and where it is."""

    client: Client
    python: Path
    version: str

    def command(self, url: str, prompts: Path, out: Path, concurrency: int) -> list[str]:
        """Asks all prompts of the file and leaves the answers in `out`."""
        script = SCRIPTS / f"ask_{self.client.name}.py"
        return [str(self.python), str(script), url, str(prompts), str(out), str(concurrency)]

    def ask(self, url: str, prompts: Path, out: Path, concurrency: int) -> Measured:
        """Run it to the end in a new folder, within a time that grows with the prompts."""
        out.mkdir(parents=True)
        return measure(
            self.command(url, prompts, out, concurrency), timeout_s=timeout_s(prompts)
        ).checked()


def timeout_s(prompts: Path) -> float:
    """How long a client may take for a file of prompts, one in each line."""
    with prompts.open("rb") as lines:
        return max(CLIENT_TIMEOUT_S, PROMPT_TIMEOUT_S * sum(1 for _ in lines))


def find_clients(pythons: Sequence[Path]) -> list[Installed]:
    """Every client that one of the Pythons has; the first one that has it counts."""
    found: dict[str, Installed] = {}
    names = [client.distribution for client in CLIENTS]
    for python in pythons:
        versions = versions_in(python, names)
        for client in CLIENTS:
            if client.distribution in versions:
                one = Installed(client, python, versions[client.distribution])
                found.setdefault(client.name, one)
    return [found[client.name] for client in CLIENTS if client.name in found]


def find_ours(pythons: Sequence[Path]) -> Installed:
    """Our own client."""
    return next(one for one in find_clients(pythons) if one.client is OURS)


def answer_of(measured: Measured) -> dict[str, float]:
    """The figures that a client printed as its last line."""
    figures: dict[str, float] = json.loads(measured.stdout.strip().rpartition("\n")[2])
    return figures


def write_prompts(path: Path, num_prompts: int) -> Path:
    """A file of so many different prompts, of 100 characters each."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_prompts):
            town = f"town number {number:07d}"
            text = f"Write a headline about {town}, where something new has happened on Monday."
            file.write(json.dumps({"id": f"p{number:07d}", "prompt": text}) + "\n")
    return path
