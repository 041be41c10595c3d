"""The wire dialects: each reads a request into an `Ask` and writes `Reply`s in its words."""
