"""Which stage first wrote an artefact."""

from stillhouse.artifacts import Artifact


def origin_of(artifact: Artifact) -> tuple[str, dict[str, object]]:
    """Which stage first wrote an artefact, and with which settings, before rows were taken out."""
    manifest = artifact.manifest
    before = manifest.config.get("of") if manifest.stage == "forget" else None
    if isinstance(before, dict):
        return str(before["stage"]), dict(before["config"])
    return manifest.stage, manifest.config
