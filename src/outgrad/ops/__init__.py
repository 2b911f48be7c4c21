"""The operations: docstring, check, call."""
