"""The range: attack against defence, end to end, on real small models."""
