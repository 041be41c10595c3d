"""From a dataset with answers to a student that answers with labels."""

from stillhouse.fit._committee import Committee, dawid_skene

__all__ = [
    "Committee",
    "dawid_skene",
]
