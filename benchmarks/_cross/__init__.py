"""The parts of the cross-tokenizer benchmark."""
