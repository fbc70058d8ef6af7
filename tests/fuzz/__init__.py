"""Fuzzing of the parsers: ``scripts/fuzz``."""
