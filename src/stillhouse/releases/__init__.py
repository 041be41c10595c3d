"""Versions of what is served: immutable copies, one pointer to the one in service, a history.

A deployment is a folder. `add` copies a student or cascade into it under the hash of its manifest,
`promote` and `rollback` move the pointer, and `Deployment` tells what is to be served. A process
that is killed at any moment leaves a valid pointer. The format: `docs/releases.md`.
"""

from stillhouse.releases._change import Change, Standing
from stillhouse.releases._deployment import Deployment, Version, is_deployment

__all__ = ["Deployment", "Version", "Change", "Standing", "is_deployment"]
