"""The parts of the export benchmark."""
