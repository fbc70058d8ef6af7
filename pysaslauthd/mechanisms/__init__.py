"""The ways of checking a password against a directory."""
