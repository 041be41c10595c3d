"""Recipes for containers without torch: a Dockerfile, what it copies, and what serves it."""
