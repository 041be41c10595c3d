"""Tests, as a package so that `python -m tests.mock_provider` and its importers agree on a name."""
