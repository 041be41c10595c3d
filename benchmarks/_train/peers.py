"""The trainers that are compared: scripts that learn the same, in the Pythons that have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts.pythons import versions_in

SCRIPTS = Path(__file__).parent / "trainers"


@dataclass(frozen=True)
class Trainer:
    """A way to train the student.

    Attributes:
        words: What it learns from.
        packages: Which have to be installed; the first one is the trainer's.
        script: That runs it.
        arguments: More of them.
        is_slow: Takes its turn in the first round only.
    """

    name: str
    words: str
    packages: tuple[str, ...]
    script: str
    arguments: tuple[str, ...] = ()
    is_slow: bool = False


OURS = Trainer(
    "stillhouse",
    "captured top-32",
    ("stillhouse",),
    "train_stillhouse.py",
    ("forward_kl",),
)
OURS_SFT = Trainer("stillhouse SFT", "text alone", ("stillhouse",), "train_stillhouse.py", ("sft",))
OURS_BFLOAT16 = Trainer(
    "stillhouse, bfloat16",
    "captured top-32",
    ("stillhouse",),
    "train_stillhouse.py",
    ("forward_kl", "bfloat16"),
)
_TRL = ("trl", "torch", "accelerate")
GKD = Trainer("TRL GKDTrainer", "teacher beside", _TRL, "train_trl_gkd.py")
GKD_AS_IT_COMES = Trainer(
    "TRL GKDTrainer, as it comes", "teacher beside", _TRL, "train_trl_gkd.py", ("as_it_comes",)
)
TRAINERS = (
    OURS,
    OURS_BFLOAT16,
    OURS_SFT,
    GKD,
    GKD_AS_IT_COMES,
    Trainer(
        "TRL DistillationTrainer",
        "teacher beside, own texts",
        _TRL,
        "train_trl_distillation.py",
        is_slow=True,
    ),
    Trainer("TRL SFTTrainer", "text alone", _TRL, "train_trl_sft.py"),
    Trainer(
        "DistillKit online",
        "teacher beside, top-32",
        ("distillkit", "trl"),
        "train_distillkit_online.py",
    ),
    Trainer(
        "DistillKit offline", "stored top-32", ("distillkit", "trl"), "train_distillkit_offline.py"
    ),
)


@dataclass(frozen=True)
class Installed:
    """A trainer, and where it is."""

    trainer: Trainer
    python: Path
    versions: dict[str, str]

    def command(self, folder: Path, num_steps: int, batch_size: int) -> list[str]:
        """Trains so many steps on what the folder holds and prints what they took."""
        script = str(SCRIPTS / self.trainer.script)
        sizes = (str(num_steps), str(batch_size))
        return [str(self.python), script, str(folder), *sizes, *self.trainer.arguments]


def find_trainers(pythons: Sequence[Path]) -> list[Installed]:
    """Every trainer that one of the Pythons has.

    A Python with distillkit has an old TRL for it, so that TRL's own trainers come from the first
    one without.
    """
    found: dict[str, Installed] = {}
    wanted = sorted({name for one in TRAINERS for name in (*one.packages, "transformers")})
    for python in pythons:
        versions = versions_in(python, wanted)
        for one in TRAINERS:
            is_old_trl = one.packages[0] == "trl" and "distillkit" in versions
            if all(name in versions for name in one.packages) and not is_old_trl:
                kept = {name: versions[name] for name in (*one.packages, "transformers")}
                found.setdefault(one.name, Installed(one, python, kept))
    return [found[one.name] for one in TRAINERS if one.name in found]
