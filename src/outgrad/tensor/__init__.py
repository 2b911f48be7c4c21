"""The data classes: blocks and maps."""
