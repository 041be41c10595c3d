"""The guarantee of the cascade, on real data."""
