"""The stage of `stillhouse radioactivity`: from files to an evidence artefact."""

from datetime import UTC, datetime
from pathlib import Path

from stillhouse.protect._evidence import Evidence, write_evidence
from stillhouse.protect._observed import Inputs
from stillhouse.protect._radioactivity import find_radioactivity
from stillhouse.protect._radioactivity_evidence import radioactivity_evidence
from stillhouse.protect._results import RadioactivityConfig
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.watermark import find_key, load_watermark_key, read_profile


def radioactivity(
    inputs: Inputs,
    out: Path,
    *,
    profile: Path,
    key: Path | None,
    config: RadioactivityConfig,
    command: str = "",
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Evidence:
    """Test a suspect and write the evidence; see `find_radioactivity`.

    Args:
        inputs: Models, texts and customers.
        out: Folder to write.
        profile: File of the watermark's profile.
        key: File of its key; None looks in the folder of keys.
        config: Sizes and level.
        command: That makes the evidence again.
        replace: Whether a finished artefact in the way is removed.
        on_progress: Told as texts are read.

    Raises:
        SignatureError: the profile was changed.
        ConfigError: a file cannot be read, the key is open to others or of another profile, or
            `out` holds something else.
        DataError, VocabularyMismatchError, IntegrityError: as in `find_radioactivity`.
    """
    known = read_profile(profile, now=datetime.now(UTC)).profile
    secret = find_key(known.key_id) if key is None else load_watermark_key(key)
    found = find_radioactivity(inputs, known, secret, config=config, on_progress=on_progress)
    evidence = radioactivity_evidence(
        found.results,
        inputs={
            "watermark profile": known.profile_id,
            "commitment to the key": known.key_id,
            **found.fingerprints,
        },
        command=command,
    )
    write_evidence(
        evidence,
        out,
        stage="radioactivity",
        config={
            **config.model_dump(mode="json"),
            "suspect": inputs.suspect,
            "reference": inputs.reference,
            "profile_id": known.profile_id,
            "num_customers": len(inputs.customers),
        },
        parents=found.parents,
        seconds=found.results.seconds,
        replace=replace,
    )
    return evidence
